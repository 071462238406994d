"""OpenAI's unmodified client runs a batch from its file to its answers; organisations see only their own."""

import json
import math
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from openai import BadRequestError, ConflictError, NotFoundError, OpenAI
from psycopg_pool import ConnectionPool

from cluster.blobs import open_blob_store
from cluster.settings import Settings
from data_jobs.kinds.embed_batch import EmbedBatch
from data_jobs.kinds.resources import Resources
from tests.conftest import new_organisation
from tests.data_jobs.batch_client import Answerer, make_parts_small
from tests.data_jobs.running_consumer import LocalAnswerer, consuming
from tests.openai_contract import complaints
from tests.serve_app.conftest import MODEL, Server, serving
from tests.waiting import LONGEST_WAIT_S, until


@pytest.fixture(scope="module")
def own_server(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of an organisation of its own."""
    with serving(settings.model_copy(update={"organisation": new_organisation(pool)})) as server:
        yield server


@pytest.fixture(scope="module")
def client(own_server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{own_server.url}/v1", api_key="none needed", max_retries=0) as client:
        yield client


@pytest.fixture
def answerer(settings: Settings, pool: ConnectionPool) -> Iterator[Answerer]:
    """A worker that runs batches only."""
    local, unused = LocalAnswerer(settings), cast(Any, None)
    answerer = Answerer(local)
    resources = Resources(
        blobs=open_blob_store(settings), indexes=unused, parsers=unused, embed=unused, answer=answerer
    )
    with consuming(settings, pool, kinds={"embed_batch": EmbedBatch(resources)}):
        yield answerer
        answerer.permitted = math.inf
    local.close()


def requests(count: int, *, name: str) -> bytes:
    """The input file: every tenth request has no input."""
    return b"\n".join(
        json.dumps(
            {
                "custom_id": f"{name}-{number}",
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": MODEL, "input": f"{name} {number}" if number % 10 else ""},
            }
        ).encode()
        for number in range(count)
    )


def created(client: OpenAI, *, count: int = 3, name: str = "request", **options: Any) -> Any:
    file = client.files.create(file=(f"{name}.jsonl", requests(count, name=name)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h", **options
    )


@pytest.mark.usefixtures("answerer")
def test_the_openai_client_runs_a_batch(client: OpenAI) -> None:
    batch = created(client, count=20, name="whole", metadata={"night": "1"})
    assert (batch.object, batch.endpoint, batch.metadata) == ("batch", "/v1/embeddings", {"night": "1"})
    assert batch.expires_at == batch.created_at + 24 * 3600

    def retrieved() -> Any:
        found = client.batches.retrieve(batch.id)
        assert found.status in {"validating", "in_progress", "finalizing", "completed"}
        return found

    batch = until(retrieved, lambda found: found.status == "completed")

    assert complaints("Batch", batch.to_dict()) == []
    assert batch.request_counts.model_dump() == {"total": 20, "completed": 18, "failed": 2}
    assert (batch.model, batch.errors, batch.cancelled_at) == (MODEL, None, None)
    output = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    error = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert [line["custom_id"] for line in output] == [f"whole-{n}" for n in range(20) if n % 10]
    assert [line["custom_id"] for line in error] == ["whole-0", "whole-10"]
    direct = client.embeddings.create(model=MODEL, input="whole 7", encoding_format="float")
    assert output[6]["response"]["body"]["usage"] == direct.usage.model_dump()
    assert output[6]["response"]["body"]["data"][0]["embedding"] == pytest.approx(
        direct.data[0].embedding, abs=1e-5
    )
    with pytest.raises(BadRequestError) as refused:
        client.embeddings.create(model=MODEL, input="")
    assert error[0]["response"] | {"request_id": ""} == {
        "status_code": 400,
        "request_id": "",
        "body": refused.value.response.json(),
    }
    assert batch.usage.total_tokens == sum(
        line["response"]["body"]["usage"]["total_tokens"] for line in output
    )
    file = client.files.retrieve(batch.output_file_id)
    assert (file.purpose, file.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    with pytest.raises(ConflictError):
        client.batches.cancel(batch.id)


@pytest.mark.parametrize("status", ["cancelled", "expired"])
def test_the_openai_client_sees_what_is_done_and_a_batch_that_ends_early_keeps_it(
    client: OpenAI,
    answerer: Answerer,
    pool: ConnectionPool,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
) -> None:
    make_parts_small(monkeypatch)
    answerer.permitted = 1
    made = created(client, count=12, name=status, metadata={"night": "2"})
    now = until(lambda: client.batches.retrieve(made.id), lambda batch: batch.request_counts.completed > 0)
    assert (now.status, now.output_file_id) == ("in_progress", None)
    assert now.request_counts.model_dump() == {"total": 12, "completed": 4, "failed": 1}
    assert now.usage.total_tokens > 0
    if status == "cancelled":
        assert client.batches.cancel(made.id).status == "cancelling"
    else:
        with pool.connection() as connection:  # the completion window ends
            connection.execute("UPDATE batches SET expires_at = now() WHERE id = %s", [made.id])
    ended = until(lambda: client.batches.retrieve(made.id), lambda batch: batch.status == status)

    assert complaints("Batch", ended.to_dict()) == []
    assert getattr(ended, f"{status}_at") >= ended.in_progress_at >= ended.created_at
    assert ended.request_counts.model_dump() == {"total": 12, "completed": 4, "failed": 8}
    assert (ended.usage, ended.metadata) == (now.usage, {"night": "2"})
    output, error = (
        [json.loads(line) for line in client.files.content(file).text.splitlines()]
        for file in (ended.output_file_id, ended.error_file_id)
    )
    assert [line["custom_id"] for line in output] == [f"{status}-{n}" for n in range(1, 5)]
    assert [line["custom_id"] for line in error] == [f"{status}-{n}" for n in (0, *range(5, 12))]
    assert {line["error"]["code"] for line in error[1:]} == {f"batch_{status}"}


def test_a_batch_with_one_idempotency_key_is_created_once(client: OpenAI) -> None:
    file = client.files.create(file=("once.jsonl", requests(1, name="once")), purpose="batch")

    def create(**metadata: str) -> Any:
        return client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/embeddings",
            completion_window="24h",
            metadata=metadata,
            extra_headers={"Idempotency-Key": f"of {file.id}"},
        )

    made = create(night="3")
    assert create(night="3") == made
    with pytest.raises(BadRequestError) as refused:
        create(night="4")
    assert refused.value.code == "idempotency_key_reused"
    assert [batch.id for batch in client.batches.list(limit=2) if batch.input_file_id == file.id] == [made.id]
    client.batches.cancel(made.id)


def test_batches_are_listed_in_pages(client: OpenAI) -> None:
    made = [created(client, name=f"listed {number}").id for number in range(3)]
    first = client.batches.list(limit=2)
    assert [batch.id for batch in first.data] == [made[2], made[1]]
    assert first.has_more
    assert complaints("ListBatchesResponse", first.to_dict()) == []
    second = client.batches.list(limit=2, after=first.data[-1].id)
    assert second.data[0].id == made[0]
    assert [batch.id for batch in client.batches.list(limit=1)][:3] == made[::-1]


def test_a_batch_whose_job_waits_is_cancelled_at_once(client: OpenAI) -> None:
    batch = created(client, name="cancelled")
    cancelled = client.batches.cancel(batch.id)
    assert (cancelled.status, cancelled.output_file_id, cancelled.error_file_id) == ("cancelled", None, None)
    assert cancelled.cancelling_at is not None
    assert client.batches.cancel(batch.id) == cancelled


def test_a_batch_needs_a_file_of_requests(client: OpenAI) -> None:
    wrong = client.files.create(file=("a.txt", b"a text"), purpose="assistants")
    with pytest.raises(BadRequestError, match=r"'assistants'.*'batch'"):
        client.batches.create(input_file_id=wrong.id, endpoint="/v1/embeddings", completion_window="24h")
    with pytest.raises(NotFoundError):
        client.batches.create(input_file_id="file-1", endpoint="/v1/embeddings", completion_window="24h")


@pytest.mark.parametrize("window", ["", "24", "0h", "31d", "1w", "24 h", "١h"])
def test_a_wrong_completion_window_is_refused(client: OpenAI, window: str) -> None:
    file = client.files.create(file=("a.jsonl", requests(1, name="window")), purpose="batch")
    with pytest.raises(BadRequestError) as refused:
        client.batches.create(
            input_file_id=file.id, endpoint="/v1/embeddings", completion_window=cast(Any, window)
        )
    assert refused.value.param == "completion_window"


def test_other_organisations_see_no_batch(client: OpenAI, http: httpx.Client) -> None:
    batch = created(client, name="secret")
    for method, path in (("GET", ""), ("POST", "/cancel")):
        assert http.request(method, f"/v1/batches/{batch.id}{path}").status_code == 404
    asked = {"input_file_id": batch.input_file_id, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    assert http.post("/v1/batches", json=asked).status_code == 404
    assert batch.id not in http.get("/v1/batches").text
    assert http.get("/v1/batches", params={"after": batch.id}).status_code == 400


def test_a_batch_is_submitted_as_a_job_too(client: OpenAI, own_server: Server) -> None:
    file = client.files.create(file=("a.jsonl", requests(1, name="job")), purpose="batch")
    asked = {"kind": "generate_embeddings_batch", "input": {"input_file_id": file.id, "metadata": {"a": "b"}}}
    with httpx.Client(base_url=own_server.url, timeout=LONGEST_WAIT_S) as http:
        job = http.post("/v1/jobs", json=asked).json()
    assert (job["kind"], job["priority_class"]) == ("embed_batch", "low")
    batch = client.batches.retrieve(job["subject"])
    assert (batch.input_file_id, batch.completion_window, batch.metadata) == (file.id, "24h", {"a": "b"})
    assert batch.to_dict()["job_id"] == job["id"]
