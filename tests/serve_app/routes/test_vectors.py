"""A store without a model holds vectors that callers give, and its searches bring their own vector."""

import math
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import OpenAI

from cluster.documents.vector_stores.stores import VectorStore
from tests.serve_app.conftest import MODEL
from tests.serve_app.raw_requests import new_bytes, upload
from tests.waiting import LONGEST_WAIT_S

PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\n"
BIRDS = [
    {
        "id": "heron",
        "vector": [3, 0, 0],
        "text": "Herons stand still.",
        "attributes": {"page": 1, "wet": True},
    },
    {"id": "swift", "vector": [0, 2, 0], "text": "Swifts sleep in flight.", "attributes": {"page": "ii"}},
    {"id": "stork", "vector": [1, 1, 0]},
]


def created(http: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = http.post("/v1/vector_stores", json={"embedding_model": "none", "dimensions": 3, **fields})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


@pytest.fixture
def store(http: httpx.Client) -> str:
    """Id of a store with three rows."""
    id: str = created(http)["id"]
    inserted = http.post(f"/v1/vector_stores/{id}/vectors", json={"vectors": BIRDS}).json()
    assert (inserted["written"], inserted["failed"]) == (3, 0), inserted
    return id


def search(http: httpx.Client, store: str, **body: Any) -> httpx.Response:
    return http.post(f"/v1/vector_stores/{store}/search", json=body)


def refused(response: httpx.Response, status: int, param: str | None) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    return str(error["message"])


def test_a_store_without_a_model_has_dimensions_and_takes_no_files(http: httpx.Client, store: str) -> None:
    shown = http.get(f"/v1/vector_stores/{store}").json()
    assert (shown["embedding_model"], shown["dimensions"]) == (None, 3)
    file = upload(http, new_bytes()).json()["id"]
    for path, body in {
        f"/v1/vector_stores/{store}/files": {"file_id": file},
        f"/v1/vector_stores/{store}/file_batches": {"file_ids": [file]},
        "/v1/jobs": {"kind": "index_file", "input": {"vector_store_id": store, "file_id": file}},
    }.items():
        assert "search with `vector`" in refused(http.post(path, json=body), 409, None)
    for fields, param in (
        ({"embedding_model": "none"}, "dimensions"),
        ({"dimensions": 3}, "dimensions"),
        ({"embedding_model": "none", "dimensions": 16_001}, "dimensions"),
        ({"embedding_model": "none", "dimensions": 3, "file_ids": [file]}, "file_ids"),
    ):
        refused(http.post("/v1/vector_stores", json=fields), 400, param)


def test_rows_are_written_unchanged_or_named(http: httpx.Client, store: str) -> None:
    rows = [*BIRDS[:2], {"id": "new", "vector": [1, 2, 3]}]
    wrong: list[Any] = [
        {"id": "short", "vector": [1, 2]},
        {"id": "null", "vector": [1, None, 3]},
        {"id": "zero", "vector": [0, 0, 0]},
        {"id": "new", "vector": [3, 2, 1]},
        {"id": "long", "vector": [1, 2, 3], "text": "x" * 300_000},
        {"id": "list", "vector": [1, 2, 3], "attributes": {"a": [1]}},
        {"vector": [1, 2, 3]},
        "row",
        {"id": "more", "vector": [1, 2, 3], "metadata": {"a": 1}},
    ]
    response = http.post(f"/v1/vector_stores/{store}/vectors", json={"vectors": rows + wrong})
    answer = response.json()
    assert (answer["written"], answer["unchanged"], answer["failed"]) == (2, 2, 8)
    assert [(one["row"], one["id"], one["kind"]) for one in answer["failures"]] == [
        (4, "short", "dimension"),
        (5, "null", "not_finite"),
        (6, "zero", "zero_length"),
        (7, "new", "duplicate_id"),
        (8, "long", "text"),
        (9, "list", "attributes"),
        (10, None, "id"),
        (11, None, "row"),
    ]
    assert response.headers["x-ignored-fields"] == "vectors[].metadata"
    too_many = [{"id": str(number), "vector": [1, 2, 3]} for number in range(1_001)]
    refused(http.post(f"/v1/vector_stores/{store}/vectors", json={"vectors": too_many}), 400, "vectors")


def test_a_repeated_insertion_with_a_key_has_one_answer(http: httpx.Client, store: str) -> None:
    key = {"idempotency-key": uuid4().hex}
    body = {"vectors": [{"id": "once", "vector": [1, 2, 3]}]}
    path = f"/v1/vector_stores/{store}/vectors"
    answers = [http.post(path, json=body, headers=key).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["written"] == 1
    assert http.post(path, json=body).json()["unchanged"] == 1


def test_rows_are_deleted_by_id(http: httpx.Client, store: str, birds: VectorStore) -> None:
    path = f"/v1/vector_stores/{store}/vectors/delete"
    assert http.post(path, json={"ids": ["heron", "stork", "none"]}).json()["deleted"] == 2
    assert [one["chunk_id"] for one in search(http, store, vector=[1, 1, 0]).json()["data"]] == ["swift"]
    response = http.post(f"/v1/vector_stores/{birds.id}/vectors/delete", json={"ids": ["heron"]})
    assert MODEL in refused(response, 409, None)
    refused(http.post(path, json={"ids": []}), 400, "ids")


def test_a_search_brings_its_own_vector_and_words_may_help(http: httpx.Client, store: str) -> None:
    found = search(http, store, vector=[10, 1, 0]).json()
    assert found["search_query"] == []
    heron, stork, swift = found["data"]
    assert [one["chunk_id"] for one in (heron, stork, swift)] == ["heron", "stork", "swift"]
    assert heron["score"] == pytest.approx(10 / math.sqrt(101), abs=1e-6)
    assert (heron["file_id"], heron["page"], heron["attributes"]) == ("heron", 1, {"page": 1, "wet": True})
    assert (swift["page"], swift["attributes"]) == (None, {"page": "ii"})
    assert stork["content"] == [{"type": "text", "text": ""}]
    wet = {"type": "eq", "key": "wet", "value": True}
    assert [one["chunk_id"] for one in search(http, store, vector=[0, 1, 0], filters=wet).json()["data"]] == [
        "heron"
    ]
    words = search(http, store, vector=[1, 1, 0], query="who sleeps in flight?").json()
    assert words["search_query"] == ["who sleeps in flight?"]
    assert words["data"][0]["chunk_id"] == "swift"
    alone = search(http, store, vector=[1, 1, 0], query="sleep", ranking_options={"ranker": "none"}).json()
    assert alone["data"][0]["chunk_id"] == "stork"


def test_a_search_that_cannot_be_compared_is_refused(http: httpx.Client, store: str) -> None:
    assert "search with `vector`" in refused(search(http, store, query="a heron"), 409, None)
    assert "the store's vectors have 3" in refused(search(http, store, vector=[1, 2]), 400, "vector")
    assert "length zero" in refused(search(http, store, vector=[0, 0, 0]), 400, "vector")
    refused(search(http, store, vector=[1, 2, "3"]), 400, "vector[2]")
    refused(search(http, store, vector=[1, 2, 3], query=["a", "b"]), 400, "query")
    refused(search(http, store), 400, "query")


def test_a_store_with_a_model_can_be_searched_by_vector_and_takes_no_given_rows(
    http: httpx.Client, openai_client: OpenAI, birds: VectorStore
) -> None:
    vector = openai_client.embeddings.create(model=MODEL, input="the pump", encoding_format="float").data[0]
    by_vector = search(http, birds.id, vector=vector.embedding, ranking_options={"ranker": "none"}).json()
    by_text = search(http, birds.id, query="the pump", ranking_options={"ranker": "none"}).json()
    assert [(one["chunk_id"], round(one["score"], 5)) for one in by_vector["data"]] == [
        (one["chunk_id"], round(one["score"], 5)) for one in by_text["data"]
    ]
    response = http.post(f"/v1/vector_stores/{birds.id}/vectors", json={"vectors": BIRDS})
    assert MODEL in refused(response, 409, None)


def test_rows_and_jobs_of_others_are_not_there(http: httpx.Client, store: str, small: Any) -> None:
    with httpx.Client(base_url=small.url, timeout=LONGEST_WAIT_S) as other:
        rows = {"vectors": [{"id": "a", "vector": [1, 2, 3]}]}
        assert other.post(f"/v1/vector_stores/{store}/vectors", json=rows).status_code == 404
        assert search(other, store, vector=[1, 0, 0]).status_code == 404
        path = f"/v1/vector_stores/{store}/vectors/delete"
        assert other.post(path, json={"ids": ["heron"]}).status_code == 404
        theirs = upload(other, b'{"id": "a"}\n' + new_bytes(), name="rows.jsonl").json()["id"]
        for ids in (
            {"vector_store_id": store, "file_id": theirs},
            {"vector_store_id": created(http)["id"], "file_id": theirs},
        ):
            body = {"kind": "bulk_insert_vectors", "input": ids}
            for client in (http, other):
                refused(client.post("/v1/jobs", json=body), 404, None)
        mine = created(other)["id"]
        rows = {"vectors": [{"id": "heron", "vector": [1, 2, 3]}]}
        assert other.post(f"/v1/vector_stores/{mine}/vectors", json=rows).json()["written"] == 1
        assert len(search(http, store, vector=[1, 0, 0]).json()["data"]) == 3
        assert len(search(other, mine, vector=[1, 0, 0]).json()["data"]) == 1


def test_a_bulk_insertion_is_submitted_as_a_low_job_about_its_store(http: httpx.Client, store: str) -> None:
    file = upload(http, b'{"id": "a", "vector": [1, 2, 3]}\n', name=f"{uuid4().hex}.jsonl").json()["id"]
    ids = {"vector_store_id": store, "file_id": file}
    job = http.post("/v1/jobs", json={"kind": "bulk_insert_vectors", "input": ids}).json()
    assert (job["kind"], job["priority_class"], job["last_attempt"], job["subject"]) == (
        "bulk_insert_vectors",
        "low",
        5,
        store,
    )
    pdf = upload(http, PDF).json()["id"]
    body = {"kind": "bulk_insert_vectors", "input": {**ids, "file_id": pdf}}
    assert "JSON lines or Parquet" in refused(http.post("/v1/jobs", json=body), 400, "input.file_id")
