"""OpenAI's unmodified client uses /v1/vector_stores."""

from typing import Any
from uuid import uuid4

import httpx
import openai
import pytest
from openai import OpenAI
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.documents.vector_stores.stores import get_store
from cluster.jobs import jobs
from cluster.settings import Settings
from tests.indexed_files import make_files
from tests.openai_contract import complaints

WEEK = {"anchor": "last_active_at", "days": 7}


@pytest.fixture
def files(pool: ConnectionPool, settings: Settings) -> list[str]:
    """Three files of the server's organisation."""
    with pool.connection() as connection:
        return make_files(connection, settings.organisation, 3)


def test_the_openai_client_creates_gets_changes_lists_and_deletes_a_store(
    openai_client: OpenAI, files: list[str]
) -> None:
    stores = openai_client.vector_stores
    name = f"manuals {uuid4()}"
    made = stores.create(
        name=name,
        file_ids=files,
        metadata={"a": "b"},
        expires_after={"anchor": "last_active_at", "days": 7},
        description="of pumps",
    )
    assert (made.name, made.metadata, made.status) == (name, {"a": "b"}, "in_progress")
    assert (made.file_counts.in_progress, made.file_counts.total) == (3, 3)
    assert made.expires_at == made.last_active_at + 7 * 86_400  # type: ignore[operator]
    assert stores.retrieve(made.id) == made
    assert {file.id for file in stores.files.list(made.id)} == set(files)
    changed = stores.update(made.id, name=None, metadata=None, expires_after=None)
    assert (changed.name, changed.metadata, changed.expires_after, changed.expires_at) == ("", {}, None, None)
    assert changed.model_extra is not None
    assert changed.model_extra["description"] == "of pumps"
    assert made.id in {store.id for store in stores.list()}
    deleted = stores.delete(made.id)
    assert (deleted.id, deleted.deleted) == (made.id, True)
    assert made.id not in {store.id for store in stores.list()}
    for gone in (stores.retrieve, stores.delete, stores.files.list, lambda id: stores.search(id, query="a")):
        with pytest.raises(openai.NotFoundError):
            gone(made.id)


def test_a_new_chunking_strategy_queues_a_job_that_cuts_the_files_again(http: httpx.Client) -> None:
    store = http.post("/v1/vector_stores", json={"chunking_strategy": {"type": "semantic"}}).json()
    path = f"/v1/vector_stores/{store['id']}"

    def changed(fields: dict[str, Any]) -> tuple[Any, list[str]]:
        answer = http.post(path, json=fields).raise_for_status().json()
        jobs = http.get("/v1/jobs", params={"kind": "rechunk_store", "subject": store["id"]}).json()["data"]
        return answer["chunking_strategy"], [job["state"] for job in jobs]

    assert changed({"description": "new"}) == ({"type": "semantic"}, [])
    assert changed({"chunking_strategy": {"type": "headings"}}) == ({"type": "headings"}, ["queued"])
    assert changed({"chunking_strategy": {"type": "headings"}}) == ({"type": "headings"}, ["queued"])
    assert changed({"chunking_strategy": None}) == ({"type": "auto"}, ["queued", "queued"])
    refused = http.post(path, json={"chunking_strategy": {"type": "sentences"}})
    assert refused.json()["error"]["param"] == "chunking_strategy.type"


def test_the_options_of_recognition_are_shown_and_a_change_reads_the_files_again(http: httpx.Client) -> None:
    asked = {"ocr": "force", "ocr_languages": "deu+eng"}
    store = http.post("/v1/vector_stores", json=asked).json()
    path = f"/v1/vector_stores/{store['id']}"

    def changed(fields: dict[str, Any]) -> tuple[Any, Any, int]:
        answer = http.post(path, json=fields).raise_for_status().json()
        jobs = http.get("/v1/jobs", params={"kind": "rechunk_store", "subject": store["id"]}).json()["data"]
        return answer["ocr"], answer["ocr_languages"], len(jobs)

    assert {name: http.get(path).json()[name] for name in asked} == asked
    assert changed(asked) == ("force", "deu+eng", 0)
    assert changed({"ocr": None}) == (None, "deu+eng", 1)
    assert changed({"ocr_languages": "fra"}) == (None, "fra", 2)
    for name, value in (("ocr", "always"), ("ocr_languages", "deu,eng"), ("ocr_languages", "-l")):
        refused = http.post("/v1/vector_stores", json={name: value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)


def test_answers_are_as_openai_describes_them(http: httpx.Client, files: list[str]) -> None:
    bare = http.post("/v1/vector_stores", json={}).json()
    full = http.post(
        "/v1/vector_stores",
        json={"name": "a", "metadata": {"k": "v"}, "expires_after": WEEK, "file_ids": files},
    ).json()
    for store in (bare, full, http.get(f"/v1/vector_stores/{full['id']}").json()):
        assert complaints("VectorStoreObject", store) == []
    assert bare["name"] == ""
    assert (
        complaints(
            "VectorStoreObject", http.post(f"/v1/vector_stores/{bare['id']}", json={"name": "b"}).json()
        )
        == []
    )
    assert complaints("ListVectorStoresResponse", http.get("/v1/vector_stores").json()) == []
    assert (
        complaints("DeleteVectorStoreResponse", http.delete(f"/v1/vector_stores/{bare['id']}").json()) == []
    )
    refused = [http.get("/v1/vector_stores/vs_none"), http.post("/v1/vector_stores", json={"metadata": 3})]
    assert [complaints("ErrorResponse", response.json()) for response in refused] == [[], []]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"metadata": {str(n): "v" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"metadata": {"k\0": "v"}}, "NUL"),
        ({"name": "\ud800"}, "surrogate"),
        ({"expires_after": {"anchor": "last_active_at", "days": 366}}, "days"),
        ({"expires_after": {"anchor": "last_active_at", "days": 0}}, "days"),
        ({"expires_after": {"anchor": "created_at", "days": 1}}, "anchor"),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 99, "chunk_overlap_tokens": 0},
                }
            },
            "max_chunk",
        ),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 4097, "chunk_overlap_tokens": 0},
                }
            },
            "max_chunk",
        ),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51},
                }
            },
            "half",
        ),
        ({"chunking_strategy": {"type": "static"}}, "static"),
        ({"chunking_strategy": {"type": "other"}}, "type"),
        ({"priority": "urgent"}, "priority"),
        ({"priority": 10}, "priority"),
        ({"file_ids": ["file"] * 501}, "file_ids"),
    ],
)
def test_a_malformed_request_is_refused_and_the_field_named(
    http: httpx.Client, body: dict[str, Any], complaint: str
) -> None:
    import json

    response = http.post(
        "/v1/vector_stores", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert response.status_code == 400, response.text
    assert complaint in response.json()["error"]["message"]


def test_a_store_with_a_missing_file_is_not_created(http: httpx.Client, files: list[str]) -> None:
    name = f"none {uuid4()}"
    response = http.post("/v1/vector_stores", json={"name": name, "file_ids": [*files, "file-none"]})
    assert (response.status_code, "file-none" in response.text) == (404, True)
    assert http.post(f"/v1/vector_stores/{name}/search", json={"query": "a"}).status_code == 404


def test_two_stores_may_have_one_name_and_a_repeated_key_creates_one(http: httpx.Client) -> None:
    name = f"twice {uuid4()}"
    key = {"idempotency-key": str(uuid4())}
    ids = [
        http.post("/v1/vector_stores", json={"name": name}, headers=headers).json()["id"]
        for headers in ({}, {}, key, key)
    ]
    assert len(set(ids)) == 3
    assert ids[2] == ids[3]
    assert http.post("/v1/vector_stores", json={"name": "other"}, headers=key).status_code == 400


def test_partial_and_priority_have_their_effect(
    openai_client: OpenAI, pool: ConnectionPool, settings: Settings, files: list[str]
) -> None:
    store = openai_client.vector_stores.create(
        file_ids=files[:1], extra_body={"partial": True, "priority": "high"}
    )
    assert store.model_extra is not None
    assert store.model_extra["partial"] is True
    file = openai_client.vector_stores.files.retrieve(files[0], vector_store_id=store.id)
    assert file.model_extra is not None
    with pool.connection() as connection:
        assert get_store(connection, settings.organisation, store.id).partial is True
        job = jobs.get_job(connection, settings.organisation, file.model_extra["job_id"])
    assert (job.priority_class, job.priority, job.last_attempt) == ("high", 5, settings.job_attempts)


def test_a_client_that_deletes_listed_stores_sees_each_once(
    openai_client: OpenAI, pool: ConnectionPool, settings: Settings
) -> None:
    made = [openai_client.vector_stores.create(name=f"page {n}").id for n in range(7)]
    seen = []
    for store in openai_client.vector_stores.list(limit=3):
        seen.append(store.id)
        if store.id in made:
            openai_client.vector_stores.delete(store.id)
            with pool.connection() as connection:
                connection.autocommit = True
                while delete_store_rows(connection, settings.organisation, store.id):
                    pass
                connection.autocommit = False
    assert [id for id in seen if id in made] == made[::-1]
    assert len(set(seen)) == len(seen)


def test_pages_have_limits_orders_and_cursors(http: httpx.Client) -> None:
    made = [http.post("/v1/vector_stores", json={}).json()["id"] for _ in range(4)]

    def page(**params: Any) -> list[str]:
        return [store["id"] for store in http.get("/v1/vector_stores", params=params).json()["data"]]

    assert page(limit=2) == [made[3], made[2]]
    assert page(limit=2, after=made[2]) == [made[1], made[0]]
    assert page(before=made[2], limit=1) == [made[3]]
    assert page(order="asc", after=made[1]) == made[2:]
    last = http.get("/v1/vector_stores", params={"order": "asc", "after": made[3]}).json()
    assert (last["data"], last["has_more"], last["first_id"]) == ([], False, "")
    assert complaints("ListVectorStoresResponse", last) == []
    for wrong in ({"limit": 0}, {"limit": 101}, {"order": "up"}, {"after": "vs_none"}, {"before": "\0"}):
        assert http.get("/v1/vector_stores", params=wrong).status_code == 400


def test_an_expired_store_cannot_be_searched_or_changed(
    http: httpx.Client, pool: ConnectionPool, files: list[str]
) -> None:
    store = http.post("/v1/vector_stores", json={"expires_after": WEEK}).json()
    with pool.connection() as connection:
        connection.execute("UPDATE vector_stores SET expires_at = now() WHERE id = %s", [store["id"]])
    path = f"/v1/vector_stores/{store['id']}"
    expired = http.get(path).json()
    assert (expired["status"], complaints("VectorStoreObject", expired)) == ("expired", [])
    assert http.post(f"{path}/search", json={"query": "a"}).status_code == 404
    assert http.post(f"{path}/files", json={"file_id": files[0]}).status_code == 409
    assert http.post(f"{path}/file_batches", json={"file_ids": files}).status_code == 409
    assert http.post(path, json={"name": "b"}).status_code == 409
    assert http.delete(path).status_code == 200


def test_a_new_store_can_be_searched_and_is_empty(http: httpx.Client) -> None:
    store = http.post("/v1/vector_stores", json={"name": f"empty {uuid4()}"}).json()
    assert store["status"] == "completed"
    found = http.post(f"/v1/vector_stores/{store['name']}/search", json={"query": "anything"})
    assert (found.status_code, found.json()["data"]) == (200, [])


def test_a_store_shows_its_index_and_an_unknown_index_is_refused(openai_client: OpenAI) -> None:
    made = openai_client.vector_stores.create(extra_body={"index": "pgvector"})
    assert made.model_extra is not None
    assert made.model_extra["index"] == "pgvector"
    with pytest.raises(
        openai.BadRequestError, match="no vector index 'main' is configured; there are: pgvector"
    ):
        openai_client.vector_stores.create(extra_body={"index": "main"})


def test_a_store_whose_index_is_not_configured_is_refused_listed_and_deleted(
    openai_client: OpenAI, connection: Connection[Any], files: list[str]
) -> None:
    stores = openai_client.vector_stores
    made = stores.create(name="left", file_ids=files[:1])
    connection.execute("UPDATE vector_stores SET index = 'gone' WHERE id = %s", [made.id])
    for call in (
        lambda: stores.search(made.id, query="a"),
        lambda: stores.files.create(made.id, file_id=files[1]),
        lambda: stores.file_batches.create(made.id, file_ids=files[1:]),
    ):
        with pytest.raises(
            openai.ConflictError, match=r"the index 'gone', which is not configured.*CLUSTER_INDEXES"
        ):
            call()
    assert (stores.files.update(files[0], vector_store_id=made.id, attributes={"a": 1}).attributes) == {
        "a": 1
    }
    assert made.id in {store.id for store in stores.list()}
    assert stores.delete(made.id).deleted
