"""OpenAI's unmodified client uses /v1/vector_stores/{id}/files; the test does the worker's part."""

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.documents.vector_stores.stores import VectorStore
from cluster.jobs import queue
from cluster.settings import Settings
from tests.indexed_files import begin, fail, make_files
from tests.openai_contract import complaints
from tests.serve_app.conftest import Server
from tests.serve_app.raw_requests import new_bytes, upload
from tests.serve_app.routes.conftest import PAGES

SIZES = {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}
STATIC = {"type": "static", "static": SIZES}


def checked_file(http: httpx.Client, store: VectorStore, file: str) -> dict[str, Any]:
    """The file's answer, checked against OpenAI's schema."""
    answer: dict[str, Any] = http.get(f"/v1/vector_stores/{store.id}/files/{file}").json()
    assert complaints("VectorStoreFileObject", answer) == []
    return answer


def test_the_openai_client_attaches_polls_reads_and_detaches(
    openai_client: OpenAI, store: VectorStore, file: str, done: Any
) -> None:
    files = openai_client.vector_stores.files
    attached = files.create(store.id, file_id=file, attributes={"year": 2020, "draft": True, "by": "me"})
    assert (attached.id, attached.status, attached.last_error) == (file, "in_progress", None)
    done(store, file)
    polled = files.poll(file, vector_store_id=store.id)
    assert (polled.status, polled.attributes) == ("completed", {"year": 2020, "draft": True, "by": "me"})
    assert polled.usage_bytes == sum(map(len, PAGES))
    assert [part.text for part in files.content(file, vector_store_id=store.id)] == PAGES
    (found,) = openai_client.vector_stores.search(
        store.id, query="which bird sleeps while it flies?", max_num_results=1
    )
    assert (found.file_id, found.filename, found.attributes) == (
        file,
        "0.txt",
        {"year": 2020, "draft": True, "by": "me"},
    )
    assert found.model_extra is not None
    assert (found.model_extra["page"], found.model_extra["start"], found.model_extra["end"]) == (
        2,
        0,
        len(PAGES[1]),
    )
    assert files.delete(file, vector_store_id=store.id).deleted
    assert openai_client.vector_stores.search(store.id, query="swifts").data == []
    with pytest.raises(openai.NotFoundError):
        files.retrieve(file, vector_store_id=store.id)


def test_answers_are_as_openai_describes_them(
    http: httpx.Client, store: VectorStore, file: str, done: Any
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    assert complaints("ListVectorStoreFilesResponse", http.get(path).json()) == []
    assert complaints("VectorStoreFileObject", http.post(path, json={"file_id": file}).json()) == []
    assert checked_file(http, store, file)["status"] == "in_progress"
    done(store, file)
    assert checked_file(http, store, file)["status"] == "completed"
    assert complaints("ListVectorStoreFilesResponse", http.get(path).json()) == []
    assert complaints("VectorStoreFileContentResponse", http.get(f"{path}/{file}/content").json()) == []
    assert (
        complaints("VectorStoreFileObject", http.post(f"{path}/{file}", json={"attributes": {"a": 1}}).json())
        == []
    )
    assert complaints("DeleteVectorStoreFileResponse", http.delete(f"{path}/{file}").json()) == []
    assert complaints("ErrorResponse", http.get(f"{path}/{file}").json()) == []


def test_a_file_shows_its_job_and_when_to_ask_again(
    http: httpx.Client, store: VectorStore, file: str, connection: Connection[Any], done: Any
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    job = http.post(path, json={"file_id": file, "priority": "high"}).json()["job_id"]
    queued = http.get(f"{path}/{file}")
    seen = queued.json()
    assert (seen["job_id"], seen["stage"], seen["priority_class"], seen["attempt"]) == (
        job,
        "queued",
        "high",
        1,
    )
    assert seen["progress"] == {"done": 0, "total": 100, "unit": "percent"}
    assert queued.headers["openai-poll-after-ms"] == "1000"
    assert http.get(f"/v1/jobs/{job}").json()["kind"] == "index_file"
    connection.execute("UPDATE jobs SET retry_at = now() + interval '3 seconds' WHERE id = %s", [job])
    assert 2_000 < int(http.get(f"{path}/{file}").headers["openai-poll-after-ms"]) <= 3_000
    begin(connection, store.organisation, job)
    running = http.get(f"{path}/{file}")
    assert (running.json()["stage"], running.headers["openai-poll-after-ms"]) == ("parse", "500")
    done(store, file)
    ended = http.get(f"{path}/{file}")
    assert (ended.json()["stage"], ended.json()["pages"], ended.json()["chunks"]) == (None, 3, 3)
    assert "openai-poll-after-ms" not in ended.headers


@pytest.mark.parametrize(
    ("code", "theirs"),
    [("unsupported", "unsupported_file"), ("encrypted", "invalid_file"), ("timeout", "server_error")],
)
def test_a_failed_file_says_why_and_can_be_retried(
    http: httpx.Client,
    store: VectorStore,
    file: str,
    connection: Connection[Any],
    done: Any,
    code: str,
    theirs: str,
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    job = http.post(path, json={"file_id": file}).json()["job_id"]
    fail(connection, store, file, code, "it cannot be read")
    failed = checked_file(http, store, file)
    assert (failed["status"], failed["last_error"]) == (
        "failed",
        {"code": theirs, "message": "it cannot be read"},
    )
    assert http.get(f"/v1/vector_stores/{store.id}").json()["file_counts"]["failed"] == 1
    queue.replay(connection, store.organisation, job)
    assert checked_file(http, store, file)["last_error"] is None
    done(store, file)
    assert checked_file(http, store, file)["status"] == "completed"


def test_a_file_read_in_part_says_which_part_is_missing(
    http: httpx.Client, store: VectorStore, file: str, connection: Connection[Any], done: Any
) -> None:
    http.post(f"/v1/vector_stores/{store.id}/files", json={"file_id": file})
    seen = checked_file(http, store, file)
    assert (seen["outcome"], seen["detail"], seen["facts"]) == (None, None, {})
    done(store, file)
    assert checked_file(http, store, file)["outcome"] == "ok"
    connection.execute(
        "UPDATE documents SET outcome = 'partial_text', detail = 'page 2 is a picture', facts = %s"
        " WHERE organisation = %s AND source = %s",
        [Jsonb({"unread_pages": 1}), store.organisation, file],
    )
    seen = checked_file(http, store, file)
    assert (seen["status"], seen["last_error"], seen["attributes"]) == ("completed", None, {})
    assert (seen["outcome"], seen["detail"], seen["facts"]) == (
        "partial_text",
        "page 2 is a picture",
        {"unread_pages": 1},
    )


def test_attaching_again_makes_a_new_job_once_the_first_has_ended(
    http: httpx.Client, store: VectorStore, file: str, done: Any
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    first, again = (http.post(path, json={"file_id": file}).json() for _ in range(2))
    assert first == again
    done(store, file)
    assert http.post(path, json={"file_id": file}).json()["job_id"] != first["job_id"]
    assert http.get(path).json()["data"][0]["status"] == "in_progress"


@pytest.mark.parametrize(
    ("fields", "priority_class", "priority"),
    [
        ({"priority_class": "high", "priority": 7}, "high", 7),
        ({"priority_class": "low"}, "low", 5),
        ({"priority": 9}, "medium", 9),
        ({"priority": 0}, "medium", 0),
        ({"priority": None}, "medium", 5),
        ({"priority": "low"}, "low", 5),
        ({"priority": "low", "priority_class": "low"}, "low", 5),
    ],
)
def test_an_answer_calls_priority_and_its_class_as_the_request_does(
    http: httpx.Client,
    store: VectorStore,
    file: str,
    fields: dict[str, Any],
    priority_class: str,
    priority: int,
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    answer = http.post(path, json={"file_id": file, **fields}).json()
    assert (answer["priority_class"], answer["priority"]) == (priority_class, priority)
    job = http.get(f"/v1/jobs/{answer['job_id']}").json()
    assert (job["priority_class"], job["priority"]) == (priority_class, priority)


def test_two_priority_classes_in_one_request_are_refused(
    http: httpx.Client, store: VectorStore, file: str
) -> None:
    fields = {"file_id": file, "priority": "low", "priority_class": "high"}
    refused = http.post(f"/v1/vector_stores/{store.id}/files", json=fields)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "priority")


def test_a_file_shows_the_requested_and_the_used_chunk_sizes(
    http: httpx.Client, store: VectorStore, file: str, server: Server
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    most = server.service.models.default.max_content_tokens
    used = {"max_chunk_size_tokens": most, "chunk_overlap_tokens": 0}
    auto = http.post(path, json={"file_id": file}).json()
    assert (auto["chunking_strategy"], auto["chunking"]) == ({"type": "static", "static": used}, used)
    asked = http.post(path, json={"file_id": file, "chunking_strategy": STATIC}).json()
    halved = {**used, "chunk_overlap_tokens": most // 2}
    assert (asked["chunking_strategy"], asked["chunking"]) == (STATIC, halved)
    named = http.post(path, json={"file_id": file, "chunking_strategy": {"type": "headings"}}).json()
    assert (named["chunking_strategy"], named["chunking"]) == ({"type": "headings"}, used)
    short = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    assert (
        http.post(path, json={"file_id": file, "chunking_strategy": short}).json()["chunking"]
        == short["static"]
    )


def test_a_stores_chunking_strategy_applies_to_files_without_one(http: httpx.Client, file: str) -> None:
    store = http.post("/v1/vector_stores", json={"chunking_strategy": STATIC}).json()
    path = f"/v1/vector_stores/{store['id']}/files"
    assert http.post(path, json={"file_id": file}).json()["chunking_strategy"] == STATIC
    assert (
        http.post(path, json={"file_id": file, "chunking_strategy": {"type": "auto"}}).json()[
            "chunking_strategy"
        ]
        != STATIC
    )


def test_a_file_shows_its_own_options_of_recognition_before_those_of_its_store(
    http: httpx.Client, file: str
) -> None:
    store = http.post("/v1/vector_stores", json={"ocr": "off", "ocr_languages": "deu"}).json()
    path = f"/v1/vector_stores/{store['id']}/files"

    def attached(**fields: Any) -> tuple[Any, Any, str]:
        answer = http.post(path, json={"file_id": file, **fields}).raise_for_status().json()
        return answer["ocr"], answer["ocr_languages"], answer["job_id"]

    first = attached()
    assert first[:2] == ("off", "deu")
    own = attached(ocr="force")
    assert own[:2] == ("force", "deu")
    assert own[2] != first[2]  # the open job may have read the old option
    assert attached(ocr="force") == own


def test_lists_can_be_filtered_by_status_and_paged(
    openai_client: OpenAI, store: VectorStore, connection: Connection[Any], settings: Settings, done: Any
) -> None:
    made = make_files(connection, settings.organisation, 5)
    files = openai_client.vector_stores.files
    for file in made:
        files.create(store.id, file_id=file)
    done(store, made[0])
    fail(connection, store, made[1], "corrupt", "no")
    assert [file.id for file in files.list(store.id, limit=2)] == made[::-1]
    assert [file.id for file in files.list(store.id, order="asc", limit=2)] == made
    assert [file.id for file in files.list(store.id, filter="completed")] == [made[0]]
    assert [file.id for file in files.list(store.id, filter="failed")] == [made[1]]
    assert [file.id for file in files.list(store.id, filter="in_progress", limit=1)] == made[:1:-1]
    for file in files.list(store.id, limit=2):
        files.delete(file.id, vector_store_id=store.id)
    assert files.list(store.id).data == []


def test_missing_files_and_stores_are_not_found(http: httpx.Client, store: VectorStore, file: str) -> None:
    for path, body in (
        (f"/v1/vector_stores/{store.id}/files", {"file_id": "file-none"}),
        ("/v1/vector_stores/vs_none/files", {"file_id": file}),
    ):
        assert http.post(path, json=body).status_code == 404
        assert http.get(f"{path}/{file}").status_code == 404
        assert http.get(f"{path}/{file}/content").status_code == 404
        assert http.post(f"{path}/{file}", json={"attributes": {}}).status_code == 404
        assert http.delete(f"{path}/{file}").status_code == 404
    assert http.get("/v1/vector_stores/vs_none/files").status_code == 404


@pytest.mark.parametrize("purpose", ["batch", "fine-tune", "evals", "vision"])
def test_a_file_for_another_purpose_cannot_be_attached(http: httpx.Client, purpose: str) -> None:
    """A search for text must not find the lines of a batch of requests."""
    content = b"\x89PNG\r\n\x1a\n" if purpose == "vision" else b'{"custom_id": "1", "body": {}}\n'
    file = upload(http, new_bytes(content), "a.jsonl", purpose=purpose).json()["id"]
    good = upload(http, new_bytes()).json()["id"]
    store = http.post("/v1/vector_stores", json={"name": "documents alone"}).json()["id"]
    unseen = new_bytes(content)
    for refused in (
        http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file}),
        http.post(f"/v1/vector_stores/{store}/file_batches", json={"file_ids": [good, file]}),
        http.post("/v1/vector_stores", json={"file_ids": [file]}),
        upload(http, unseen, "b.jsonl", purpose=purpose, vector_store_id=store),
    ):
        assert refused.status_code == 400, refused.text
        said = refused.json()["error"]["message"]
        assert f"is for '{purpose}', and a vector store takes files for assistants or user_data" in said
    assert http.get(f"/v1/vector_stores/{store}/files").json()["data"] == []
    assert [
        one["filename"] for one in http.get("/v1/files", params={"purpose": purpose}).json()["data"]
    ].count("b.jsonl") == 0
