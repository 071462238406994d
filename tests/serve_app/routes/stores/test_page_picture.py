"""GET /v1/vector_stores/{id}/files/{file_id}/pages/{page_number}/picture draws a page of an attached PDF."""

from typing import Any

import httpx
import pytest

from cluster.documents.vector_stores.stores import VectorStore
from tests.cluster.page_pictures.pdf_pages import pdf_of, yellow_box
from tests.serve_app.raw_requests import upload
from tests.serve_app.routes.conftest import PAGES


@pytest.fixture
def attached(http: httpx.Client, store: VectorStore, done: Any) -> str:
    """The path of an attached PDF whose pages have the texts of ``PAGES``."""
    file = upload(http, pdf_of([[text] for text in PAGES]), name="birds.pdf").json()["id"]
    http.post(f"/v1/vector_stores/{store.id}/files", json={"file_id": file}).raise_for_status()
    done(store, file)
    return f"/v1/vector_stores/{store.id}/files/{file}"


def test_a_page_of_a_pdf_is_drawn_with_the_passage_highlighted(http: httpx.Client, attached: str) -> None:
    page = http.get(f"{attached}/pages/2").json()
    assert page["has_picture"]
    part = page["data"][0]
    place = {"start": part["start"] + len("Swifts "), "end": part["end"]}
    drawn = http.get(f"{attached}/pages/2/picture", params=place)
    assert (drawn.status_code, drawn.headers["content-type"]) == (200, "image/png")
    box = yellow_box(drawn.content)
    assert box is not None
    assert 0.12 < box[0] < 0.25  # the word before the passage, which begins at a tenth, is not highlighted
    assert yellow_box(http.get(f"{attached}/pages/2/picture").content) is None


def test_files_and_pages_without_a_picture_are_refused_with_a_reason(
    http: httpx.Client, store: VectorStore, attached: str, done: Any
) -> None:
    missing = http.get(f"{attached}/pages/4/picture")
    assert (missing.status_code, missing.json()["error"]["message"]) == (404, "the document has no page 4")
    text = upload(http, b"Herons eat fish.").json()["id"]
    http.post(f"/v1/vector_stores/{store.id}/files", json={"file_id": text}).raise_for_status()
    done(store, text)
    path = f"/v1/vector_stores/{store.id}/files/{text}/pages/1"
    assert not http.get(path).json()["has_picture"]
    refused = http.get(f"{path}/picture")
    assert refused.status_code == 404
    assert "only PDF documents" in refused.json()["error"]["message"]
