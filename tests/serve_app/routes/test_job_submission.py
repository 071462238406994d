"""POST /v1/jobs submits every public kind of job, and GET /v1/jobs/kinds publishes what each takes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from jsonschema import Draft202012Validator
from psycopg_pool import ConnectionPool

from cluster.settings import Settings
from tests.conftest import new_organisation
from tests.serve_app.conftest import Server, serving
from tests.serve_app.raw_requests import new_bytes, upload
from tests.waiting import LONGEST_WAIT_S


@pytest.fixture(scope="module")
def own_server(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of an organisation of its own."""
    with serving(settings.model_copy(update={"organisation": new_organisation(pool)})) as server:
        yield server


@pytest.fixture
def client(own_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=own_server.url, timeout=LONGEST_WAIT_S) as client:
        yield client


@pytest.fixture
def ids(client: httpx.Client) -> dict[str, str]:
    """The input of a job that indexes a new file in a new store."""
    store = client.post("/v1/vector_stores", json={}).json()["id"]
    return {"vector_store_id": store, "file_id": upload(client, new_bytes()).json()["id"]}


def refused(response: httpx.Response, status: int, param: str | None) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (status, param), error
    return str(error["message"])


def test_a_submitted_index_file_is_the_job_of_the_attached_file(
    client: httpx.Client, ids: dict[str, str]
) -> None:
    job = client.post(
        "/v1/jobs",
        json={
            "kind": "process_document",
            "input": {**ids, "attributes": {"year": 2026}},
            "priority_class": "low",
            "priority": 7,
        },
    ).json()
    assert (job["kind"], job["state"], job["priority_class"], job["priority"]) == (
        "index_file",
        "queued",
        "low",
        7,
    )
    attached = client.get(f"/v1/vector_stores/{ids['vector_store_id']}/files/{ids['file_id']}").json()
    assert (attached["job_id"], attached["attributes"]) == (job["id"], {"year": 2026})
    assert client.get(f"/v1/jobs/{job['id']}").json()["input"] == {
        "vector_store": ids["vector_store_id"],
        "file": ids["file_id"],
    }


def test_a_job_begins_no_earlier_than_asked_and_within_a_year(
    client: httpx.Client, ids: dict[str, str]
) -> None:
    begins = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    body: dict[str, Any] = {"kind": "index_file", "input": ids}
    job = client.post("/v1/jobs", json={**body, "not_before": begins.isoformat()}).json()
    assert job["retry_at"] == begins.timestamp()
    for wrong in (begins.replace(tzinfo=None), begins - timedelta(days=1), begins + timedelta(days=400)):
        message = refused(
            client.post("/v1/jobs", json={**body, "not_before": wrong.isoformat()}), 400, "not_before"
        )
        assert "time with its zone" in message or "366 days" in message


def test_a_job_with_a_window_waits_for_it_and_says_so(client: httpx.Client, ids: dict[str, str]) -> None:
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=2)
    window = {"from": f"{opens:%H:%M}", "to": f"{opens + timedelta(hours=1):%H:%M}"}
    body: dict[str, Any] = {"kind": "index_file", "input": ids}
    job = client.post("/v1/jobs", json={**body, "window": window}).json()
    every_day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    assert job["window"] == {**window, "time_zone": "UTC", "days": every_day}
    assert job["retry_at"] == opens.timestamp()
    waiting = client.get(f"/v1/jobs/{job['id']}").json()["waiting"]
    assert (waiting["reason"], waiting["until"]) == ("window", opens.timestamp())
    for change, param in (
        ({"from": "22h"}, "window.from"),
        ({"time_zone": "Mars"}, "window.time_zone"),
        ({"days": ["monday"]}, "window.days[0]"),
        ({"zone": "UTC"}, "window"),
    ):
        refused(client.post("/v1/jobs", json={**body, "window": {**window, **change}}), 400, param)


def test_a_repeated_submission_with_a_key_is_one_job(client: httpx.Client, ids: dict[str, str]) -> None:
    key = {"idempotency-key": uuid4().hex}
    body = {"kind": "index_file", "input": ids}
    first, second = (client.post("/v1/jobs", json=body, headers=key) for _ in range(2))
    assert first.json() == second.json()
    assert client.get("/v1/jobs", params={"subject": ids["file_id"]}).json()["data"] == [first.json()]


def test_an_unknown_kind_is_refused_with_the_list_of_kinds(client: httpx.Client) -> None:
    kinds = [one["kind"] for one in client.get("/v1/jobs/kinds").json()["data"]]
    for name, words in {
        "compute_daily_analytics": "a task of the older platform",
        "expire": "must be one of",
        "nonsense": "must be one of",
    }.items():
        message = refused(client.post("/v1/jobs", json={"kind": name, "input": {}}), 400, "kind")
        assert words in message
        assert message.endswith(", ".join(kinds))


def test_a_wrong_input_names_its_field(client: httpx.Client, ids: dict[str, str]) -> None:
    def post(**changes: Any) -> httpx.Response:
        return client.post("/v1/jobs", json={"kind": "index_file", "input": {**ids, **changes}})

    assert "either file_id or url" in refused(post(file_id=None), 400, "input")
    refused(post(file_id=5), 400, "input.file_id")
    refused(post(vector_store_id="a\0b"), 400, "input.vector_store_id")
    refused(post(attributes={"a": [1]}), 400, "input.attributes.a")
    refused(post(chunking_strategy={"type": "other"}), 400, "input.chunking_strategy.type")
    refused(post(ocr="always"), 400, "input.ocr")
    refused(post(ocr_languages="deu eng"), 400, "input.ocr_languages")
    misspelt = client.post("/v1/jobs", json={"kind": "index_file", "input": ids, "not_befor": "x"})
    refused(misspelt, 400, "not_befor")
    ignored = post(colour="red")
    assert (ignored.status_code, ignored.headers["x-ignored-fields"]) == (200, "input.colour")


def test_a_job_gives_its_options_of_recognition_to_the_file(
    client: httpx.Client, ids: dict[str, str]
) -> None:
    options = {"ocr": "force", "ocr_languages": "deu"}
    job = client.post("/v1/jobs", json={"kind": "index_file", "input": {**ids, **options}}).json()
    path = f"/v1/vector_stores/{ids['vector_store_id']}/files/{ids['file_id']}"
    file = client.get(path).json()
    assert {name: file[name] for name in ("job_id", *options)} == {"job_id": job["id"], **options}


def test_a_job_is_about_things_of_its_own_organisation_only(
    client: httpx.Client, http: httpx.Client, ids: dict[str, str]
) -> None:
    theirs = {
        "vector_store_id": http.post("/v1/vector_stores", json={}).json()["id"],
        "file_id": upload(http, new_bytes()).json()["id"],
    }
    for name in ids:
        body = {"kind": "index_file", "input": {**ids, name: theirs[name]}}
        assert theirs[name] in refused(client.post("/v1/jobs", json=body), 404, None)


def test_an_ingest_of_files_is_a_low_job_and_names_a_missing_file(
    client: httpx.Client, http: httpx.Client, ids: dict[str, str]
) -> None:
    input = {"vector_store_id": ids["vector_store_id"], "file_ids": [ids["file_id"]]}
    job = client.post("/v1/jobs", json={"kind": "ingest", "input": input}).json()
    assert (job["kind"], job["priority_class"], job["subject"]) == (
        "ingest_files",
        "low",
        ids["vector_store_id"],
    )
    theirs = upload(http, new_bytes()).json()["id"]
    body = {"kind": "ingest", "input": {**input, "file_ids": [ids["file_id"], theirs]}}
    assert theirs in refused(client.post("/v1/jobs", json=body), 404, None)
    body = {"kind": "ingest", "input": {**input, "chunking_strategy": {"type": "other"}}}
    refused(client.post("/v1/jobs", json=body), 400, "input.chunking_strategy.type")


def test_every_kind_publishes_a_schema_that_its_requests_follow(
    client: httpx.Client, ids: dict[str, str]
) -> None:
    kinds = {one["kind"]: one for one in client.get("/v1/jobs/kinds").json()["data"]}
    assert kinds["index_file"]["aliases"] == ["process_document"]
    for kind in kinds.values():
        Draft202012Validator.check_schema(kind["input_schema"])
        assert kind["description"], kind
    schema = Draft202012Validator(kinds["index_file"]["input_schema"])
    assert schema.is_valid(ids)
    assert not schema.is_valid({**ids, "file_id": 5})
    shown = client.get("/openapi.json").json()["components"]["schemas"]["SubmitRequest"]["properties"]
    assert shown["input"]["anyOf"] == [kind["input_schema"] for kind in kinds.values()]
