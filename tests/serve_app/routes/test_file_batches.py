"""OpenAI's unmodified client uses /v1/vector_stores/{id}/file_batches."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import OpenAI
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.store_files import get_store_file
from cluster.documents.vector_stores.stores import VectorStore
from cluster.settings import Settings
from tests.cluster.jobs.turns import jobs_of
from tests.indexed_files import begin, fail, make_files, process
from tests.openai_contract import complaints
from tests.serve_app.conftest import Server
from tests.waiting import Stopwatch


def test_the_openai_client_attaches_fifty_files_and_waits_for_them(
    openai_client: OpenAI,
    store: VectorStore,
    connection: Connection[Any],
    settings: Settings,
    pool: ConnectionPool,
    server: Server,
) -> None:
    files = make_files(connection, settings.organisation, 50)
    batches = openai_client.vector_stores.file_batches
    batch = batches.create(store.id, file_ids=files, attributes={"year": 2020})
    assert (batch.status, batch.file_counts.in_progress, batch.file_counts.total) == ("in_progress", 50, 50)
    index = open_chunk_index(settings, pool)
    for n, file in enumerate(files[1:]):
        process(
            connection,
            index,
            store,
            file,
            [f"text number {n}"],
            embed=lambda texts: server.service.models.default.engine.embed(texts).vectors,
        )
    fail(connection, store, files[0], "encrypted", "protected by a password")
    polled = batches.poll(batch.id, vector_store_id=store.id)
    assert (polled.status, polled.file_counts.completed, polled.file_counts.failed) == ("completed", 49, 1)
    listed = list(batches.list_files(batch.id, vector_store_id=store.id, limit=20))
    assert {file.id for file in listed} == set(files)
    assert len(listed) == 50
    (failed,) = batches.list_files(batch.id, vector_store_id=store.id, filter="failed")
    assert failed.last_error is not None
    assert (failed.id, failed.last_error.code) == (files[0], "invalid_file")
    filters: Any = {"type": "eq", "key": "year", "value": 2020}
    assert (
        len(
            openai_client.vector_stores.search(
                store.id, query="text", filters=filters, max_num_results=50
            ).data
        )
        == 49
    )


def test_answers_are_as_openai_describes_them(
    http: httpx.Client, store: VectorStore, connection: Connection[Any], settings: Settings
) -> None:
    path = f"/v1/vector_stores/{store.id}/file_batches"
    batch = http.post(path, json={"file_ids": make_files(connection, settings.organisation, 2)}).json()
    assert complaints("VectorStoreFileBatchObject", batch) == []
    assert complaints("VectorStoreFileBatchObject", http.get(f"{path}/{batch['id']}").json()) == []
    assert complaints("ListVectorStoreFilesResponse", http.get(f"{path}/{batch['id']}/files").json()) == []
    assert complaints("VectorStoreFileBatchObject", http.post(f"{path}/{batch['id']}/cancel").json()) == []
    assert complaints("ErrorResponse", http.get(f"{path}/vsfb_none").json()) == []


def test_each_file_of_a_batch_may_have_its_own_attributes(
    http: httpx.Client, store: VectorStore, connection: Connection[Any], settings: Settings
) -> None:
    first, second = make_files(connection, settings.organisation, 2)
    short = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    files = [
        {"file_id": first, "attributes": {"a": 1}, "ocr": "off"},
        {"file_id": second, "chunking_strategy": short},
        {"file_id": second},
    ]
    body = {"files": files, "attributes": {"ignored": True}, "priority": "low"}
    batch = http.post(f"/v1/vector_stores/{store.id}/file_batches", json=body).json()
    assert batch["file_counts"]["total"] == 2
    listed = http.get(f"/v1/vector_stores/{store.id}/file_batches/{batch['id']}/files").json()["data"]
    by_id = {file["id"]: file for file in listed}
    assert (by_id[first]["attributes"], by_id[second]["attributes"]) == ({"a": 1}, {})
    assert by_id[second]["chunking_strategy"] != short  # the file is named twice, and the last entry counts
    assert {file["priority_class"] for file in listed} == {"low"}
    assert (by_id[first]["ocr"], by_id[second]["ocr"]) == ("off", None)
    together = {"file_ids": [second], "ocr_languages": "deu"}
    batch = http.post(f"/v1/vector_stores/{store.id}/file_batches", json=together).json()
    (file,) = http.get(f"/v1/vector_stores/{store.id}/file_batches/{batch['id']}/files").json()["data"]
    assert file["ocr_languages"] == "deu"


def test_a_batch_says_when_to_ask_again_and_cancels_queued_files_at_once(
    http: httpx.Client, store: VectorStore, connection: Connection[Any], settings: Settings
) -> None:
    files = make_files(connection, settings.organisation, 3)
    path = f"/v1/vector_stores/{store.id}/file_batches"
    batch = f"{path}/{http.post(path, json={'file_ids': files}).json()['id']}"
    assert http.get(batch).headers["openai-poll-after-ms"] == "1000"
    begin(
        connection, store.organisation, get_store_file(connection, store.organisation, store.id, files[0]).job
    )
    assert http.get(batch).headers["openai-poll-after-ms"] == "500"
    cancelled = http.post(f"{batch}/cancel").json()
    assert (cancelled["status"], cancelled["file_counts"]["cancelled"]) == ("in_progress", 2)
    connection.execute(
        "UPDATE jobs SET state = 'cancelled' WHERE state = 'running' AND subject = %s", [files[0]]
    )
    ended = http.get(batch)
    assert ended.json()["status"] == "cancelled"
    assert "openai-poll-after-ms" not in ended.headers


def test_a_batch_sent_twice_with_one_key_is_created_once(
    http: httpx.Client, store: VectorStore, connection: Connection[Any], settings: Settings
) -> None:
    files = make_files(connection, settings.organisation, 3)
    path, key = f"/v1/vector_stores/{store.id}/file_batches", {"idempotency-key": str(uuid4())}
    first, second = (http.post(path, json={"file_ids": files}, headers=key).json() for _ in range(2))
    assert first == second
    jobs = [job for job in jobs_of(connection, store.organisation) if job.subject in files]
    assert len(jobs) == 3


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "either"),
        ({"file_ids": ["a"], "files": [{"file_id": "a"}]}, "either"),
        ({"file_ids": []}, "file_ids"),
        ({"file_ids": ["a"] * 2_001}, "file_ids"),
        ({"files": [{}]}, "file_id"),
        ({"files": [{"file_id": "a", "attributes": {"k": []}}]}, "attributes"),
    ],
)
def test_a_malformed_batch_is_refused(
    http: httpx.Client, store: VectorStore, body: dict[str, Any], word: str
) -> None:
    response = http.post(f"/v1/vector_stores/{store.id}/file_batches", json=body)
    assert (response.status_code, word in response.text) == (400, True)


def test_a_batch_with_a_missing_file_attaches_nothing(
    http: httpx.Client, store: VectorStore, connection: Connection[Any], settings: Settings
) -> None:
    files = make_files(connection, settings.organisation, 3)
    response = http.post(
        f"/v1/vector_stores/{store.id}/file_batches", json={"file_ids": [*files, "file-none"]}
    )
    assert (response.status_code, "file-none" in response.text) == (404, True)
    assert http.get(f"/v1/vector_stores/{store.id}/files").json()["data"] == []


def test_two_thousand_files_are_accepted_in_about_a_second(
    http: httpx.Client, store: VectorStore, connection: Connection[Any], settings: Settings
) -> None:
    files = make_files(connection, settings.organisation, 2_000)
    began = Stopwatch()
    response = http.post(f"/v1/vector_stores/{store.id}/file_batches", json={"file_ids": files})
    took = began.seconds()
    assert (response.status_code, response.json()["file_counts"]["in_progress"]) == (200, 2_000)
    assert took < 10, f"{took:.2f} s"  # 1.5 s on two idle cores
    http.post(f"/v1/vector_stores/{store.id}/file_batches/{response.json()['id']}/cancel")
