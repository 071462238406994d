"""GET /v1/vector_stores/{id}/files/{file_id}/pages/{page_number} returns the text of a page once."""

from typing import Any

import httpx
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.stores import VectorStore
from cluster.settings import Settings
from cluster.vector_index.attributes import CONTEXT_CHARACTERS, LISTED
from serve_app.routes.stores import page_text
from tests.serve_app.conftest import Server
from tests.serve_app.routes.conftest import PAGES

PAGE = "Herons stand still for hours before they strike.\nSwifts sleep on the wing."


@pytest.fixture
def overlapping(
    store: VectorStore, settings: Settings, pool: ConnectionPool, server: Server
) -> dict[str, tuple[int, int]]:
    """A document whose page 2 is in three chunks; the first two share text. The places by chunk id."""
    places = {"c": (0, 30), "a": (20, 48), "b": (49, len(PAGE))}
    engine, index = server.service.models.default.engine, open_chunk_index(settings, pool)
    texts = {id: PAGE[start:end] for id, (start, end) in places.items()}
    vectors = engine.embed([*texts.values()]).vectors
    rows = [
        ChunkRecord(
            id=id,
            document="doc_0123",
            text=f"# A heading\n{text}",
            attributes={"page": 2, "filename": "birds.txt", "start": places[id][0], "end": places[id][1]}
            | {CONTEXT_CHARACTERS: 12, LISTED: [CONTEXT_CHARACTERS]},
            vector=vector,
        )
        for (id, text), vector in zip(texts.items(), vectors, strict=True)
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)
    return places


def test_a_page_of_an_attached_file_names_its_neighbours(
    http: httpx.Client, store: VectorStore, file: str, done: Any
) -> None:
    path = f"/v1/vector_stores/{store.id}/files/{file}"
    http.post(f"/v1/vector_stores/{store.id}/files", json={"file_id": file})
    assert http.get(f"{path}/pages/1").status_code == 404
    done(store, file)
    second = http.get(f"{path}/pages/2").json()
    assert [part["text"] for part in second["data"]] == [PAGES[1]]
    assert (second["previous_page"], second["next_page"], second["next_start"]) == (1, 3, None)
    assert (second["file_id"], second["filename"]) == (file, "0.txt")
    missing = http.get(f"{path}/pages/4")
    assert missing.status_code == 404
    assert missing.json()["error"]["message"].endswith("pages with text: 1-3")
    assert http.get(f"{path}/pages/0").status_code == 400
    assert http.get(f"{path}/pages/one").status_code == 400


def test_text_that_two_chunks_share_is_shown_once_and_without_its_context(
    http: httpx.Client, store: VectorStore, overlapping: dict[str, tuple[int, int]]
) -> None:
    answer = http.get(f"/v1/vector_stores/{store.id}/files/doc_0123/pages/2").json()
    parts = [(part["chunk_id"], part["start"], part["end"]) for part in answer["data"]]
    assert parts == [("c", 0, 30), ("a", 30, 48), ("b", 49, len(PAGE))]
    assert (
        "\n".join([answer["data"][0]["text"] + answer["data"][1]["text"], answer["data"][2]["text"]]) == PAGE
    )
    assert answer["filename"] == "birds.txt"


def test_a_long_page_comes_in_several_answers(
    http: httpx.Client,
    store: VectorStore,
    overlapping: dict[str, tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_text, "MAX_CHARACTERS", 25)
    path, start, text = f"/v1/vector_stores/{store.id}/files/doc_0123/pages/2", 0, ""
    for _ in range(10):
        answer = http.get(path, params={"start": start}).json()
        text += "".join(part["text"] for part in answer["data"])
        start = answer["next_start"]
        if start is None:
            break
    assert text == PAGE.replace("\n", "")


def test_an_unknown_document_is_not_found(
    http: httpx.Client, store: VectorStore, connection: Connection[Any]
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    assert [http.get(f"{path}/{id}/pages/1").status_code for id in ("doc_none", "file-none")] == [404, 404]
