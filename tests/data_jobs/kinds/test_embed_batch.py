"""A batch answers each request once, in one of two files, whatever happens while it runs."""

import math
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.budgets.budgets import change_budget
from cluster.doctor.ailment import SQL as DOCTOR
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.documents.batches.batch_files import end_abandoned
from cluster.documents.batches.batches import RequestBatch
from cluster.documents.files import delete_file, get_file, release_blobs
from cluster.engines import Engine, Registry, open_engine
from cluster.errors import Misconfigured, Throttled, Unavailable
from cluster.jobs import queue
from cluster.jobs.jobs import JobState
from cluster.retrying import Backoff
from cluster.settings import Settings
from data_jobs.kinds import answer_requests, embed_batch
from data_jobs.worker import job_attempt
from tests.cluster.budgets.spender import Spender
from tests.data_jobs.batch_client import MODEL, Answerer, BatchClient, ids, make_parts_small, request
from tests.data_jobs.running_consumer import LocalAnswerer, consuming
from tests.waiting import until


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module")
def running(settings: Settings, pool: ConnectionPool, engine: Engine) -> Iterator[Answerer]:
    local = LocalAnswerer(settings)
    answerer = Answerer(local)
    with consuming(settings, pool, engine, answer=answerer):
        yield answerer
    local.close()


@pytest.fixture
def answerer(running: Answerer) -> Iterator[Answerer]:
    running.calls.clear()
    yield running
    running.permitted = math.inf


@pytest.fixture
def client(
    settings: Settings, pool: ConnectionPool, engine: Engine, organisation: str, answerer: Answerer
) -> BatchClient:
    return BatchClient(settings, pool, engine, organisation)


def test_every_request_is_answered_in_the_file_where_it_belongs(client: BatchClient) -> None:
    lines = [
        request("one"),
        request("several", ["heron", "swift"], encoding_format="base64"),
        request("unknown model", model="nobody"),
        request("no input", input=""),
        request("an unknown field", misspelt=1),
        request("wrong type", dimensions="many"),
        b"",
        request("tokens", [[64, 1495], [64]]),
    ]
    batch = client.create(lines, metadata={"a": "b"})
    ended = client.ended_batch(batch.id)

    assert (ended.status, ended.total, ended.completed, ended.failed) == ("completed", 7, 4, 3)
    output, error = client.files(ended)
    assert ids(output) == ["one", "several", "an unknown field", "tokens"]
    assert {line["custom_id"]: line["response"]["status_code"] for line in error} == {
        "unknown model": 404,
        "no input": 400,
        "wrong type": 400,
    }
    assert error[0]["response"]["body"]["error"]["code"] == "model_not_found"
    assert error[2]["response"]["body"]["error"]["param"] == "dimensions"
    body = output[1]["response"]["body"]
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert isinstance(body["data"][0]["embedding"], str)
    assert all(line["error"] is None for line in output + error)
    tokens = sum(line["response"]["body"]["usage"]["total_tokens"] for line in output)
    assert client.usage() == [(MODEL, "batch", tokens)]
    assert client.usage("request") == [(MODEL, "batch", 4)]
    assert ended.tokens == {MODEL: tokens}
    job = client.ended(batch.job)
    assert (job.state, job.done, job.total, job.priority_class) == (JobState.SUCCEEDED, 7, 7, "low")
    assert job.result is not None
    assert (job.result["status"], job.result["output_file"]) == ("completed", ended.output_file)


def test_an_answer_is_that_of_the_endpoint(client: BatchClient, engine: Engine) -> None:
    batch = client.ended_batch(client.create([request("a", "Herons stand still.")]).id)
    output, _ = client.files(batch)

    vector = engine.embed(["Herons stand still."]).vectors[0]
    assert output[0]["response"]["body"]["data"][0]["embedding"] == pytest.approx(vector.tolist(), abs=1e-5)


def test_a_line_that_is_not_a_request_fails_the_batch_with_its_number(client: BatchClient) -> None:
    bad = {
        2: (b"{not json", "invalid_json_line"),
        3: (request("a"), "duplicate_custom_id"),
        4: ({**request("b"), "url": "/v1/chat/completions"}, "url_mismatch"),
        5: ({**request("c"), "method": "GET"}, "invalid_method"),
        6: ({**request("d"), "body": []}, "invalid_body"),
        7: ({**request("e"), "custom_id": None}, "missing_required_parameter"),
        8: ({**request("f"), "custom_id": 7}, "invalid_custom_id"),
        9: (b"[]", "invalid_json_line"),
    }
    batch = client.create([request("a"), *(line for line, _ in bad.values())])
    ended = client.ended_batch(batch.id)

    assert ended.status == "failed"
    assert {error.line: error.code for error in ended.errors} == {n: code for n, (_, code) in bad.items()}
    assert (ended.total, ended.output_file, ended.error_file) == (0, None, None)
    job = client.ended(batch.job)
    assert (job.state, job.error_code) == (JobState.FAILED, "invalid_batch")
    assert client.usage() == []


def test_a_file_without_requests_fails_the_batch(client: BatchClient) -> None:
    ended = client.ended_batch(client.create([b"\n\n"]).id)

    assert [(error.code, error.line) for error in ended.errors] == [("empty_file", None)]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit parts and calls to five requests, with two calls at once."""
    make_parts_small(monkeypatch)


def paused(client: BatchClient, answerer: Answerer, *, calls: int, **options: Any) -> RequestBatch:
    """Create a batch of 30 requests. ``calls`` calls of five requests each are answered, and the other calls
    wait.
    """
    answerer.permitted = calls
    batch = client.create([request(f"{number}", f"text {number}") for number in range(30)], **options)
    until(lambda: client.batch(batch.id), lambda now: now.completed == 5 * calls)
    return batch


NUMBERS = [f"{number}" for number in range(30)]


@pytest.mark.usefixtures("small_parts")
def test_cancelling_keeps_what_is_done(client: BatchClient, answerer: Answerer) -> None:
    batch = paused(client, answerer, calls=2)
    assert client.cancel(batch.id).status == "cancelling"
    ended = client.ended_batch(batch.id)

    assert (ended.status, ended.total, ended.completed, ended.failed) == ("cancelled", 30, 10, 20)
    output, error = client.files(ended)
    assert (ids(output), ids(error)) == (NUMBERS[:10], NUMBERS[10:])
    assert {line["error"]["code"] for line in error} == {"batch_cancelled"}
    assert client.ended(batch.job).state == JobState.CANCELLED
    assert client.usage() == [(MODEL, "batch", 10 * 4)]
    assert client.cancel(batch.id).status == "cancelled"


@pytest.mark.usefixtures("small_parts")
def test_what_is_not_done_when_the_window_ends_is_expired(client: BatchClient, answerer: Answerer) -> None:
    batch = paused(client, answerer, calls=1, completion_window="1h")
    with client.pool.connection() as connection:
        connection.execute("UPDATE batches SET expires_at = now() WHERE id = %s", [batch.id])
    ended = client.ended_batch(batch.id)

    assert (ended.status, ended.completed, ended.failed) == ("expired", 5, 25)
    output, error = client.files(ended)
    assert (ids(output), ids(error)) == (NUMBERS[:5], NUMBERS[5:])
    assert {line["error"]["code"] for line in error} == {"batch_expired"}
    assert client.ended(batch.job).state == JobState.SUCCEEDED


@pytest.mark.usefixtures("small_parts")
def test_a_job_that_is_cancelled_itself_ends_its_batch_at_the_next_upkeep(
    client: BatchClient, answerer: Answerer
) -> None:
    batch = paused(client, answerer, calls=1)
    with client.pool.connection() as connection:
        queue.cancel(connection, client.organisation, batch.job)
    client.ended(batch.job)
    assert client.batch(batch.id).status == "cancelling"
    with client.pool.connection() as connection:
        end_abandoned(connection, client.blobs, max_line_bytes=1_000_000)
    ended = client.batch(batch.id)

    assert (ended.status, ended.completed, ended.failed) == ("cancelled", 5, 25)
    output, error = client.files(ended)
    assert (ids(output), ids(error)) == (NUMBERS[:5], NUMBERS[5:])


@pytest.mark.usefixtures("small_parts")
def test_a_new_attempt_continues_after_the_last_part(client: BatchClient, answerer: Answerer) -> None:
    batch = paused(client, answerer, calls=2)
    with client.pool.connection() as connection:
        lost = queue.lock_job(connection, client.organisation, batch.job)
        queue.requeue(connection, lost)  # as after the death of its worker; the old attempt is refused
    until(lambda: client.job(batch.job), lambda job: job.attempt == 2 and job.state == JobState.RUNNING)
    first = len(answerer.calls)
    answerer.permitted = math.inf
    ended = client.ended_batch(batch.id)

    assert (ended.status, ended.completed) == ("completed", 30)
    output, error = client.files(ended)
    assert (ids(output), error) == (NUMBERS, [])
    assert not any(b'"text 9"' in line for call in answerer.calls[first:] for line in call)
    assert client.usage() == [(MODEL, "batch", 30 * 4)]
    assert client.usage("request") == [(MODEL, "batch", 30)]


def test_requests_that_the_model_refuses_for_now_are_sent_again_alone(
    client: BatchClient, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_attempt, "BACKOFF", Backoff(first_s=0.01, longest_s=0.05))
    monkeypatch.setattr(answer_requests, "BACKOFF", Backoff(first_s=0.01, longest_s=0.05))
    answerer.refusals = {b'"text 1"': Throttled("full", retry_after_s=0.01)}
    answerer.errors = [Unavailable("no replica")]
    batch = client.create([request(f"{number}", f"text {number}") for number in range(3)])
    ended = client.ended_batch(batch.id)

    assert (ended.status, ids(client.files(ended)[0])) == ("completed", NUMBERS[:3])
    assert [len(call) for call in answerer.calls] == [3, 3, 1]


@pytest.mark.usefixtures("small_parts")
def test_a_batch_whose_models_need_a_long_pause_gives_up_its_slot_and_no_attempt(
    client: BatchClient, answerer: Answerer
) -> None:
    batch = paused(client, answerer, calls=1)
    answerer.refusals = {b'"text 12"': Throttled("60 requests a minute", retry_after_s=3600)}
    answerer.permitted = math.inf
    waiting = until(lambda: client.job(batch.job), lambda job: job.state == JobState.QUEUED)

    assert (waiting.error_code, waiting.error) == ("throttled", "60 requests a minute")
    assert waiting.last_attempt - waiting.attempt >= 4
    assert client.batch(batch.id).completed == 10  # the answers before the refused one are kept
    with client.pool.connection() as connection:  # the hour passes
        connection.execute("UPDATE jobs SET retry_at = now() WHERE id = %s", [batch.job])
        queue.add_turns(connection, client.organisation, waiting.priority_class)
    ended = client.ended_batch(batch.id)
    assert (ended.status, ids(client.files(ended)[0])) == ("completed", NUMBERS)


@pytest.mark.usefixtures("small_parts")
def test_a_batch_that_no_model_can_answer_fails_with_the_reason_and_keeps_what_is_done(
    client: BatchClient, answerer: Answerer
) -> None:
    batch = paused(client, answerer, calls=1)
    answerer.refusals = {b'"text 7"': Misconfigured("the key of acme is refused (OPENAI_API_KEY)")}
    answerer.permitted = math.inf
    assert client.ended(batch.job).error == "embed: the key of acme is refused (OPENAI_API_KEY)"
    with client.pool.connection() as connection:
        end_abandoned(connection, client.blobs, max_line_bytes=1_000_000)
    ended = client.batch(batch.id)

    assert (ended.status, ended.completed, ended.failed) == ("failed", 5, 25)
    assert [error.message for error in ended.errors] == ["embed: the key of acme is refused (OPENAI_API_KEY)"]
    output, error = client.files(ended)
    assert (ids(output), ids(error)) == (NUMBERS[:5], NUMBERS[5:])


@pytest.mark.usefixtures("small_parts")
def test_vectors_of_another_model_are_refused(client: BatchClient, answerer: Answerer) -> None:
    batch = paused(client, answerer, calls=1)
    with client.pool.connection() as connection:
        connection.execute(
            "UPDATE batches SET fingerprints = %s WHERE id = %s", [Jsonb({MODEL: f"{MODEL}@other"}), batch.id]
        )
        lost = queue.lock_job(connection, client.organisation, batch.job)
        queue.requeue(connection, lost)
    answerer.permitted = math.inf
    ended = client.ended_batch(batch.id)

    output, error = client.files(ended)
    assert (ids(output), ids(error)) == (NUMBERS[:5], NUMBERS[5:])
    assert {line["response"]["status_code"] for line in error} == {409}


@pytest.mark.usefixtures("small_parts")
def test_a_deleted_input_file_is_kept_until_the_batch_has_ended(
    client: BatchClient, answerer: Answerer
) -> None:
    batch = paused(client, answerer, calls=1)
    with client.pool.connection() as connection:
        (gone,) = delete_file(connection, client.organisation, batch.input_file)
    with client.pool.connection() as connection:
        assert release_blobs(connection, client.blobs, client.organisation, [gone.sha256]) == 0
        needed = connection.execute(DOCTOR["needed_blobs"]).fetchall()
        parts = connection.execute("SELECT output_sha256 FROM batch_parts WHERE batch = %s", [batch.id])
        assert {(client.organisation, hash) for (hash,) in [*parts, (gone.sha256,)]} <= set(needed)
    answerer.permitted = math.inf
    assert client.ended_batch(batch.id).status == "completed"
    until(
        lambda: client.blobs.exists(client.organisation, gone.sha256),
        lambda exists: not exists,
    )


def test_the_parts_of_an_ended_batch_are_deleted(client: BatchClient) -> None:
    ended = client.ended_batch(client.create([request("a"), request("b", input="")]).id)
    files = [batch for batch in (ended.output_file, ended.error_file, ended.input_file) if batch]
    with client.pool.connection() as connection:
        needed = {get_file(connection, client.organisation, file).sha256 for file in files}

    def stored() -> set[str]:
        return {blob.sha256 for blob in client.blobs.list() if blob.organisation == client.organisation}

    assert until(stored, lambda found: found == needed)


def test_memory_does_not_grow_with_the_number_of_requests(
    client: BatchClient, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answered(lines: list[bytes], **_: object) -> list[RequestAnswer]:
        return [RequestAnswer(status=200, body=b"[%s]" % (b"0" * 4_000), model=MODEL, tokens=1)] * len(lines)

    monkeypatch.setattr(answerer, "local", answered)
    peaks = []
    for count in (1_000, 10_000, 10_000):
        batch = client.create([request(f"{number}") for number in range(count)])
        tracemalloc.start()
        try:
            assert client.ended_batch(batch.id).completed == count
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()

    # 40 MB of answers. What grows is the check of the custom_ids: 65 bytes a request. A peak includes what
    # other threads of this process allocate meanwhile.
    assert min(peaks[1:]) - peaks[0] < 2_000_000


@pytest.mark.usefixtures("small_parts")
def test_a_batch_waits_for_its_budget_and_continues_with_the_next_request(
    client: BatchClient, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_batch, "BUDGET_WAIT_S", 0.2)
    spender = Spender(pool, client.organisation)
    budget = spender.budget(30)
    batch = client.create([request(name, "a heron") for name in NUMBERS[:12]])  # of four tokens each
    seven = until(lambda: client.batch(batch.id), lambda now: now.completed == 7)
    assert seven.status == "in_progress"
    sentence = f"budget {budget.id} allows 30 tokens a month; 28 tokens are used"
    waiting = until(lambda: client.job(batch.job), lambda job: sentence in (job.error or ""))
    assert waiting.error_code == "budget_exceeded"
    assert until(lambda: spender.only, lambda now: not now.reserved).used == 28
    with pool.connection() as connection:
        change_budget(connection, client.organisation, budget.id, {"stop_at": Decimal(48)})
    ended = client.ended_batch(batch.id)
    assert (ended.status, ended.completed, ended.failed) == ("completed", 12, 0)
    assert ids(client.files(ended)[0]) == NUMBERS[:12]
    assert client.usage() == [(MODEL, "batch", 48)]
    assert until(lambda: spender.only, lambda now: not now.reserved).used == 48
