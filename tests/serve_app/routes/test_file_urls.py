"""A URL is accepted where the id of a file is: files of vector stores, file batches, jobs, agents."""

import httpx
import pytest
from psycopg import Connection

from cluster.documents.linked_files import INTERNET_SHORTCUT, shortcut_of
from cluster.documents.vector_stores.stores import VectorStore
from tests.openai_contract import complaints
from tests.serve_app.conftest import Server

URL = "https://docs.test/guide/install%20it.html?v=2"


def media_type_of(connection: Connection, file: str) -> str:
    """The media type of a file."""
    row = connection.execute("SELECT media_type FROM files WHERE id = %s", [file]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_url_is_attached_as_a_file_with_the_url_as_its_attribute(
    http: httpx.Client, store: VectorStore, connection: Connection, server: Server
) -> None:
    path = f"/v1/vector_stores/{store.id}/files"
    attached = http.post(path, json={"url": URL, "attributes": {"kind": "guide"}}).json()
    assert complaints("VectorStoreFileObject", attached) == []
    assert (attached["filename"], attached["status"]) == ("install it.html", "in_progress")
    assert attached["attributes"] == {"kind": "guide", "url": URL}
    assert media_type_of(connection, attached["id"]) == INTERNET_SHORTCUT
    assert http.get(f"/v1/files/{attached['id']}/content").content == shortcut_of(URL)
    assert http.post(path, json={"url": URL}).json()["id"] == attached["id"]


def test_urls_and_ids_stand_side_by_side_in_a_batch(
    http: httpx.Client, store: VectorStore, file: str
) -> None:
    files = [{"file_id": file}, {"url": URL}, {"url": "https://docs.test/"}]
    batch = http.post(f"/v1/vector_stores/{store.id}/file_batches", json={"files": files}).json()
    assert batch["file_counts"]["total"] == 3
    listed = http.get(f"/v1/vector_stores/{store.id}/files").json()["data"]
    assert {one["attributes"].get("url") for one in listed} == {None, URL, "https://docs.test/"}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"file_id": "file-1", "url": URL},
        {"url": "http://127.0.0.2/"},
        {"url": "http://[::ffff:10.0.0.1]/"},
        {"url": "file:///etc/passwd"},
        {"url": "https://me:secret@docs.test/"},
        {"url": "https://docs.test:22/"},
        {"url": "https://docs.test/" + "a" * 2_000},
        {"url": ""},
    ],
)
def test_a_url_that_may_not_be_fetched_is_refused_at_once(
    http: httpx.Client, store: VectorStore, wrong: dict[str, str]
) -> None:
    answer = http.post(f"/v1/vector_stores/{store.id}/files", json=wrong)
    assert answer.status_code == 400
    assert http.get(f"/v1/vector_stores/{store.id}/files").json()["data"] == []


def test_a_job_and_a_schedule_take_a_url(
    http: httpx.Client, store: VectorStore, connection: Connection
) -> None:
    body = {"kind": "index_file", "input": {"vector_store_id": store.id, "url": URL}}
    file = http.post("/v1/jobs", json=body).json()["subject"]
    attached = http.get(f"/v1/vector_stores/{store.id}/files/{file}").json()
    assert (attached["filename"], attached["attributes"]) == ("install it.html", {"url": URL})
    assert media_type_of(connection, file) == INTERNET_SHORTCUT
    made = http.post("/v1/schedules", json={**body, "cron": "0 2 * * *"}).json()
    assert made["input"] == {"vector_store_id": store.id, "file_id": file, "attributes": {"url": URL}}
    for wrong in ({"url": "http://127.0.0.2/"}, {"file_id": file}, {"url": ""}):
        refused = http.post("/v1/jobs", json={**body, "input": {**body["input"], **wrong}})
        assert refused.status_code == 400


def test_an_agent_knows_a_url(http: httpx.Client, connection: Connection) -> None:
    made = http.post("/v1/agents", json={"external_id": "reader", "knowledge": [{"url": URL}]}).json()
    [known] = http.get(f"/v1/agents/{made['id']}").json()["knowledge"]
    assert media_type_of(connection, known["file_id"]) == INTERNET_SHORTCUT
    assert http.patch(f"/v1/agents/{made['id']}", json={"knowledge": [known]}).status_code == 200
