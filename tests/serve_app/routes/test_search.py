"""POST /v1/vector_stores/{id}/search on a real store."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes, open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores import attaching
from cluster.documents.vector_stores.stores import VectorStore, ensure_store, get_store
from cluster.settings import Settings
from tests.conftest import kill_postmaster
from tests.indexed_files import Embed, make_files, process
from tests.openai_contract import complaints
from tests.serve_app.conftest import BIRDS, PROMPTED, PROMPTS, Server
from tests.waiting import LONGEST_WAIT_S

#: Our own fields in search results; OpenAI's schema allows no others.
OURS = {"chunk_id", "page", "start", "end", "snippet", "keywords", "vector_store_id"}


def search(http: httpx.Client, store: str, **body: Any) -> httpx.Response:
    """Search the store."""
    return http.post(f"/v1/vector_stores/{store}/search", json={"query": "who may stop the pump", **body})


def ids(response: httpx.Response) -> list[str]:
    """Ids of the chunks found."""
    assert response.status_code == 200, response.text
    return [item["chunk_id"] for item in response.json()["data"]]


def test_the_openai_client_finds_the_chunk_its_page_and_its_file(
    openai_client: OpenAI, birds: VectorStore
) -> None:
    page = openai_client.vector_stores.search(
        birds.id, query="which bird sleeps while it flies?", max_num_results=2
    )
    first, second = page.data
    assert first.content[0].text == BIRDS["swift"][0]
    assert (first.filename, first.file_id) == ("birds.pdf", "doc_1")
    assert first.attributes == {"page": 2, "filename": "birds.pdf"}
    assert 1 >= first.score >= second.score >= 0


def test_a_store_is_found_by_name_and_the_ranker_decides_the_score(
    http: httpx.Client, server: Server, birds: VectorStore
) -> None:
    assert ids(search(http, "birds")) == ids(search(http, birds.id))
    dense = search(http, "birds", ranking_options={"ranker": "none"}, mode="exact").json()["data"][0]
    query, pump = server.service.models.default.engine.embed(
        ["who may stop the pump", BIRDS["pump"][0]]
    ).vectors
    assert dense["chunk_id"] == "pump"
    assert dense["score"] == pytest.approx(float(query @ pump), abs=1e-5)


@pytest.mark.usefixtures("birds")
def test_filters_limits_thresholds_and_several_queries(http: httpx.Client) -> None:
    late = {
        "type": "and",
        "filters": [
            {"type": "gte", "key": "page", "value": 2},
            {"type": "ne", "key": "filename", "value": "x"},
        ],
    }
    assert set(ids(search(http, "birds", filters=late))) == {"pump", "swift"}
    assert ids(search(http, "birds", max_num_results=1)) == ["pump"]
    assert ids(search(http, "birds", ranking_options={"score_threshold": 1.0, "ranker": "none"})) == []
    assert set(ids(search(http, "birds", query=["stop the pump", "sleeping swifts"], max_num_results=2))) == {
        "pump",
        "swift",
    }


@pytest.mark.usefixtures("birds")
@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        ({"query": ""}, 400, "query"),
        ({"query": []}, 400, "query"),
        ({"query": ["a"] * 33}, 400, "query"),
        ({"max_num_results": 51}, 400, "max_num_results"),
        ({"filters": {"type": "like", "key": "a", "value": 1}}, 400, "filters.type"),
        ({"filters": {"type": "eq", "key": "a"}}, 400, "filters.value"),
        ({"ranking_options": {"ranker": "best"}}, 400, "ranker"),
    ],
)
def test_an_invalid_search_is_refused(
    http: httpx.Client, body: dict[str, Any], status: int, complaint: str
) -> None:
    response = search(http, "birds", **body)
    assert response.status_code == status
    assert complaint in response.json()["error"]["message"]


def test_a_store_is_searched_with_its_own_model_whatever_the_default_is(
    http: httpx.Client, pool: ConnectionPool, settings: Settings, server: Server
) -> None:
    engine = server.service.models[PROMPTED].engine
    texts = [text for text, _ in BIRDS.values()]
    index = open_chunk_index(settings, pool)
    with pool.connection() as connection:
        store = ensure_store(
            connection, settings.organisation, "of the second model", fingerprint=engine.fingerprint
        )
    index.ensure(store.collection, dim=store.fingerprint.dim)
    rows = [
        ChunkRecord(id=text, document="doc_1", text=text, attributes={}, vector=vector)
        for text, vector in zip(
            texts, engine.embed([PROMPTS["document"] + text for text in texts]).vectors, strict=True
        )
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)
    found = search(http, store.id, ranking_options={"ranker": "none"}, mode="exact").json()["data"][0]
    query = engine.embed([PROMPTS["query"] + "who may stop the pump"]).vectors[0]
    pump = engine.embed([PROMPTS["document"] + BIRDS["pump"][0]]).vectors[0]
    assert found["content"][0]["text"] == BIRDS["pump"][0]
    assert found["score"] == pytest.approx(float(query @ pump), abs=1e-5)


def test_stores_of_other_organisations_and_models_are_not_searched(
    http: httpx.Client, pool: ConnectionPool, organisation: str, settings: Settings, server: Server
) -> None:
    fingerprint = server.service.models.default.engine.fingerprint
    with pool.connection() as connection:
        theirs = ensure_store(connection, organisation, "secret", fingerprint=fingerprint)
        ensure_store(
            connection, settings.organisation, "other model", fingerprint=replace(fingerprint, model="other")
        )
    for name in ("secret", theirs.id, "nowhere"):
        assert search(http, name).status_code == 404
    refused = search(http, "other model")
    assert refused.status_code == 409
    assert "other@" in refused.json()["error"]["message"]


@pytest.fixture(params=["pgvector", "folder"])
def attached(
    request: pytest.FixtureRequest,
    http: httpx.Client,
    pool: ConnectionPool,
    settings: Settings,
    server: Server,
) -> tuple[VectorStore, list[str]]:
    """A store with two files, each with a page for each bird; the second file has attributes.

    The store's vectors are in our Postgres, or in an index outside it.
    """
    id = http.post("/v1/vector_stores", json={"index": request.param}).json()["id"]
    with pool.connection() as connection:
        connection.autocommit = True
        store = get_store(connection, settings.organisation, id)
        index = ChunkIndexes(server.service.settings, pool).of(store)
        index.ensure(store.collection, dim=store.fingerprint.dim)
        files = make_files(connection, settings.organisation, 2)
        for file, attributes in zip(
            files, ({}, {"year": 2020, "kind": "guide", "draft": False}), strict=True
        ):
            attaching.attach(connection, store, file, attributes=attributes)
            process(
                connection,
                index,
                store,
                file,
                [f"{text} {file}" for text, _ in BIRDS.values()],
                embed=embedding(server),
            )
        connection.autocommit = False
    return store, files


def embedding(server: Server) -> Embed:
    """Embeds with the server's model."""
    return lambda texts: server.service.models.default.engine.embed(texts).vectors


Attached = tuple[VectorStore, list[str]]


def files_of(response: httpx.Response) -> set[str]:
    """Ids of the files found."""
    assert response.status_code == 200, response.text
    return {item["file_id"] for item in response.json()["data"]}


def test_a_chunk_of_an_attached_file_has_the_file_and_only_its_owners_attributes(
    http: httpx.Client, attached: Attached
) -> None:
    store, (plain, guide) = attached
    answer = search(http, store.id, query="which bird sleeps while it flies?", max_num_results=2).json()
    assert complaints("VectorStoreSearchResultsPage", answer, ours=OURS) == []
    by_file = {item["file_id"]: item for item in answer["data"]}
    assert by_file.keys() == {plain, guide}
    assert (by_file[plain]["attributes"], by_file[guide]["attributes"]) == (
        {},
        {"year": 2020, "kind": "guide", "draft": False},
    )
    found = by_file[guide]
    assert (found["filename"], found["page"], found["start"], found["end"]) == (
        "1.txt",
        2,
        0,
        len(found["content"][0]["text"]),
    )


@pytest.mark.parametrize(
    ("filters", "which"),
    [
        ({"type": "eq", "key": "kind", "value": "guide"}, {1}),
        ({"type": "ne", "key": "kind", "value": "guide"}, {0}),
        ({"type": "gt", "key": "year", "value": 2019}, {1}),
        ({"type": "gte", "key": "year", "value": 2021}, set()),
        ({"type": "lt", "key": "year", "value": 2021}, {1}),
        ({"type": "lte", "key": "year", "value": 2019}, set()),
        ({"type": "in", "key": "year", "value": [2019, 2020]}, {1}),
        ({"type": "nin", "key": "year", "value": [2020]}, {0}),
        ({"type": "eq", "key": "draft", "value": False}, {1}),
        (
            {
                "type": "or",
                "filters": [
                    {
                        "type": "and",
                        "filters": [
                            {"type": "eq", "key": "year", "value": 2020},
                            {"type": "eq", "key": "page", "value": 2},
                        ],
                    },
                    {
                        "type": "and",
                        "filters": [
                            {"type": "eq", "key": "year", "value": 1999},
                            {"type": "eq", "key": "page", "value": 1},
                        ],
                    },
                ],
            },
            {1},
        ),
    ],
    ids=["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "boolean", "nested"],
)
def test_every_filter_of_openais_works_on_an_owners_attributes(
    openai_client: OpenAI, attached: Attached, filters: Any, which: set[int]
) -> None:
    store, files = attached
    found = openai_client.vector_stores.search(
        store.id, query="birds", filters=filters, max_num_results=50
    ).data
    assert {item.file_id for item in found} == {files[n] for n in which}


def test_a_filter_can_name_the_file(http: httpx.Client, attached: Attached) -> None:
    store, (plain, _) = attached
    assert files_of(search(http, store.id, filters={"type": "eq", "key": "file_id", "value": plain})) == {
        plain
    }


def test_a_search_is_activity_of_its_store(
    http: httpx.Client, attached: Attached, pool: ConnectionPool
) -> None:
    store, _ = attached
    with pool.connection() as connection:
        connection.execute(
            "UPDATE vector_stores SET last_active_at = now() - interval '1 hour' WHERE id = %s", [store.id]
        )
    before = http.get(f"/v1/vector_stores/{store.id}").json()["last_active_at"]
    search(http, store.id)
    assert http.get(f"/v1/vector_stores/{store.id}").json()["last_active_at"] >= before + 3_599


def test_several_queries_all_find_the_old_or_all_the_new_version_of_a_document(
    http: httpx.Client, attached: Attached, pool: ConnectionPool, settings: Settings, server: Server
) -> None:
    store, (file, other) = attached
    index = ChunkIndexes(server.service.settings, pool).of(store)
    versions = [[f"{name} herons stand {n}" for n in range(3)] for name in ("old", "new")]
    vectors = {texts[0]: embedding(server)(texts) for texts in versions}
    begun, done = threading.Event(), threading.Event()

    def replace_again_and_again() -> None:
        with pool.connection() as connection:
            connection.autocommit = True
            while not done.is_set():
                for texts in versions:
                    attaching.attach(connection, store, file)
                    process(connection, index, store, file, texts, embed=lambda texts: vectors[texts[0]])
                    begun.set()
            connection.autocommit = False

    thread = threading.Thread(target=replace_again_and_again)
    thread.start()
    begun.wait(LONGEST_WAIT_S)
    body = {
        "query": ["herons", "old", "new"],
        "max_num_results": 50,
        "filters": {"type": "ne", "key": "file_id", "value": other},
    }
    found: list[list[dict[str, Any]]] = []
    ends = time.monotonic() + LONGEST_WAIT_S
    while len(found) < 60 or (len(_versions(found)) == 1 and time.monotonic() < ends):
        found.append(search(http, store.id, **body).json()["data"])
    done.set()
    thread.join()
    assert {len(items) for items in found} == {3}
    assert {len({item["content"][0]["text"][:3] for item in items}) for items in found} == {1}
    assert len(_versions(found)) > 1


def _versions(found: list[list[dict[str, Any]]]) -> set[str]:
    """The versions of the document of which the answers have chunks."""
    return {items[0]["content"][0]["text"][:3] for items in found}


def test_filters_see_new_attributes_at_once(http: httpx.Client, attached: Attached) -> None:
    store, (plain, _) = attached
    url = f"/v1/vector_stores/{store.id}/files/{plain}"
    assert http.post(url, json={"attributes": {"year": 2031}}).status_code == 200
    filters = {"type": "gte", "key": "year", "value": 2031}
    assert files_of(search(http, store.id, filters=filters, ranking_options={"ranker": "none"})) == {plain}


def test_chunks_of_detached_files_and_deleted_stores_are_not_found(
    http: httpx.Client, attached: Attached
) -> None:
    store, (plain, guide) = attached
    http.delete(f"/v1/vector_stores/{store.id}/files/{plain}")
    assert files_of(search(http, store.id)) == {guide}
    http.delete(f"/v1/vector_stores/{store.id}")
    assert search(http, store.id).status_code == 404


def test_a_snippet_is_the_part_with_the_querys_words(
    http: httpx.Client, pool: ConnectionPool, settings: Settings, server: Server, attached: Attached
) -> None:
    store, (file, _) = attached
    text = (
        "Herons stand in ponds. " * 20
        + "Swifts are sleeping on the wing. "
        + "Geese fly south in autumn. " * 20
    )
    with pool.connection() as connection:
        connection.autocommit = True
        attaching.attach(connection, store, file)
        index = ChunkIndexes(server.service.settings, pool).of(store)
        process(connection, index, store, file, [text], embed=embedding(server))
        connection.autocommit = False
    filters = {"type": "eq", "key": "file_id", "value": file}
    (found,) = search(http, store.id, query="which bird sleeps on the wing?", filters=filters).json()["data"]
    assert "Swifts are sleeping on the wing." in found["snippet"]
    assert found["snippet"] in text
    assert len(found["snippet"]) <= 240


def test_the_cross_encoder_ranks_where_the_request_names_it(
    reranking: httpx.Client, http: httpx.Client, birds: VectorStore, cross_encoder: Path
) -> None:
    query = "which bird sleeps?"
    ranked = search(reranking, birds.id, query=query, ranking_options={"ranker": cross_encoder.name}).json()[
        "data"
    ]
    documents = [text for text, _ in BIRDS.values()]
    scored = reranking.post("/v1/rerank", json={"query": query, "documents": documents}).json()["results"]
    assert [item["content"][0]["text"] for item in ranked] == [documents[one["index"]] for one in scored]
    assert [item["score"] for item in ranked] == pytest.approx(
        [one["relevance_score"] for one in scored], abs=1e-6
    )
    (best,) = search(
        reranking, birds.id, query=query, max_num_results=1, ranking_options={"ranker": cross_encoder.name}
    ).json()["data"]
    assert best["chunk_id"] == ranked[0]["chunk_id"]
    threshold = {"ranker": cross_encoder.name, "score_threshold": ranked[0]["score"] - 1e-6}
    assert ids(search(reranking, birds.id, query=query, ranking_options=threshold)) == [ranked[0]["chunk_id"]]
    refused = search(http, birds.id, ranking_options={"ranker": cross_encoder.name})
    assert (refused.status_code, "ranker" in refused.text) == (400, True)


@pytest.mark.usefixtures("birds")
def test_a_search_restarts_a_killed_postgres(http: httpx.Client, settings: Settings) -> None:
    kill_postmaster(settings)
    assert ids(search(http, "birds", max_num_results=1)) == ["pump"]


def test_several_stores_are_searched_together(http: httpx.Client, birds: VectorStore) -> None:
    made = http.post("/v1/vector_stores", json={"name": "empty beside the birds"}).json()["id"]
    body = {"query": "who may stop the pump", "vector_stores": [birds.name, made]}
    found = http.post(f"/v1/vector_stores/{made}/search", json=body).json()["data"]
    assert found[0]["chunk_id"] == "pump"
    assert {one["vector_store_id"] for one in found} == {birds.id}
    http.delete(f"/v1/vector_stores/{made}")
