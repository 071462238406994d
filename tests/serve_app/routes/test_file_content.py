"""GET /v1/vector_stores/{id}/files/{file_id}/content returns the chunks of a file."""

from typing import Any

import httpx
import pytest

from cluster.documents.vector_stores.stores import VectorStore
from serve_app.routes import file_content
from tests.serve_app.routes.conftest import PAGES


def test_a_long_text_is_returned_in_pages(
    http: httpx.Client, store: VectorStore, file: str, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_content, "CONTENT_CHUNKS", 2)
    path = f"/v1/vector_stores/{store.id}/files"
    http.post(path, json={"file_id": file})
    assert http.get(f"{path}/{file}/content").json()["data"] == []
    done(store, file)
    first = http.get(f"{path}/{file}/content").json()
    assert ([part["page"] for part in first["data"]], first["has_more"]) == ([1, 2], True)
    rest = http.get(f"{path}/{file}/content", params={"page": first["next_page"]}).json()
    assert ([part["text"] for part in rest["data"]], rest["has_more"], rest["next_page"]) == (
        PAGES[2:],
        False,
        None,
    )
    assert http.get(f"{path}/{file}/content", params={"page": "-1"}).status_code == 400
