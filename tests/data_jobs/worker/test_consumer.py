"""What becomes of a job: stages are tried again or not, waits are honoured, cancelling and stopping end the
work, slots are kept apart.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.errors import InvalidInput, ProviderUnavailable, Retryable, Throttled, Unavailable
from cluster.jobs import attempts, queue
from cluster.jobs.jobs import CANCELLED_BECAUSE, Job, JobState, PriorityClass, get_job
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.view import view_job
from cluster.retrying import Backoff
from cluster.settings import Settings
from data_jobs.worker import job_attempt
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.job_attempt import JobAttempt
from tests.data_jobs.running_consumer import consuming
from tests.waiting import until

FEW = {
    "worker_slots_high": 1,
    "worker_slots_medium": 1,
    "worker_slots_low": 1,
    "worker_slots_scheduled": 1,
    "worker_slots_shared": 1,
}


class JobClient:
    """Submits jobs of kinds made for a test, and looks at them."""

    def __init__(self, pool: ConnectionPool, organisation: str) -> None:
        self.pool = pool
        self.organisation = organisation

    def submit(self, kind: str, **options: Any) -> str:
        with self.pool.connection() as connection:
            return queue.submit(connection, self.organisation, JobKind(name=kind), {}, **options).id

    def job(self, id: str) -> Job:
        with self.pool.connection() as connection:
            return get_job(connection, self.organisation, id)

    def once(self, id: str, right: Callable[[Job], bool]) -> Job:
        found: Job = until(lambda: self.job(id), right)
        return found

    def ended(self, id: str) -> Job:
        return self.once(id, lambda job: job.state.ended)

    def stages(self, id: str) -> list[tuple[str, int, str | None]]:
        with self.pool.connection() as connection:
            return connection.execute(
                "SELECT stage, tries, error FROM job_stages WHERE job = %s ORDER BY started_at", [id]
            ).fetchall()


@pytest.fixture(scope="module", autouse=True)
def empty_queue(pool: ConnectionPool) -> None:
    """End the jobs that earlier tests left in the queue, because they take slots of the consumer."""
    with pool.connection() as connection:
        connection.execute("UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE state = 'queued'")
        connection.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stages begin their next attempt soon."""
    monkeypatch.setattr(job_attempt, "BACKOFF", Backoff(first_s=0.05, longest_s=15.0))


@pytest.fixture
def client(pool: ConnectionPool, organisation: str) -> JobClient:
    return JobClient(pool, organisation)


async def finish(run: JobAttempt) -> None:
    await run.in_transaction(lambda connection: attempts.finish(connection, run.job, result={"did": True}))


def failing(times: int, error: Exception) -> Any:
    """A kind whose one stage fails so many times before it goes well."""
    left = [times]

    async def kind(run: JobAttempt) -> None:
        async def work() -> None:
            if left[0]:
                left[0] -= 1
                raise error

        await run.stage("work", work)
        await finish(run)

    return kind


def test_a_stage_that_fails_for_a_while_is_tried_again_in_place(
    settings: Settings, pool: ConnectionPool, client: JobClient
) -> None:
    with consuming(settings, pool, kinds={"shaky": failing(2, Unavailable("not now"))}):
        job = client.ended(id := client.submit("shaky"))
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 1)
    assert client.stages(id) == [("work", 3, "not now")]


@pytest.mark.parametrize(
    ("error", "tries", "code"),
    [
        (Unavailable("away"), 3, "unavailable"),
        (Throttled("full"), 3, "throttled"),
        (InvalidInput("wrong"), 1, "refused"),
        (ZeroDivisionError("oh"), 3, "internal_error"),
    ],
    ids=["unavailable", "throttled", "permanent", "unforeseen"],
)
def test_after_its_tries_a_job_is_a_dead_letter_with_its_history(
    settings: Settings, pool: ConnectionPool, client: JobClient, error: Exception, tries: int, code: str
) -> None:
    with consuming(settings, pool, kinds={"broken": failing(99, error)}):
        job = client.ended(id := client.submit("broken"))
    assert (job.state, job.error_code) == (JobState.FAILED, code)
    assert str(error) in (job.error or "")
    ((stage, done, said),) = client.stages(id)
    assert (stage, done) == ("work", tries)
    assert str(error) in (said or "")


def test_who_asks_for_a_long_pause_gets_it_and_the_slot_is_free_meanwhile(
    settings: Settings, pool: ConnectionPool, client: JobClient
) -> None:
    with consuming(
        settings,
        pool,
        kinds={"throttled": failing(1, Unavailable("later", retry_after_s=3_600)), "other": finish},
    ):
        job = client.once(client.submit("throttled"), lambda job: job.retry_at is not None)
        assert (job.state, job.attempt, job.error) == (JobState.QUEUED, 2, "later")
        assert job.retry_at is not None
        assert 3_500 < job.retry_at.timestamp() - time.time() < 3_700
        assert client.ended(client.submit("other")).state == JobState.SUCCEEDED


@pytest.mark.parametrize("error", [Throttled("full"), ProviderUnavailable("away")], ids=repr)
def test_a_job_waits_for_a_provider_without_using_attempts(
    settings: Settings, pool: ConnectionPool, client: JobClient, error: Retryable
) -> None:
    error.retry_after_s = 3_600.0
    with consuming(settings, pool, kinds={"remote": failing(99, error)}):
        job = client.once(client.submit("remote"), lambda job: job.retry_at is not None)

    assert (job.state, job.attempt) == (JobState.QUEUED, 2)
    with pool.connection() as connection:
        row = connection.execute("SELECT last_attempt FROM jobs WHERE id = %s", [job.id]).fetchone()
        shown = view_job(
            connection, client.organisation, job.id, now=datetime.now(UTC), lease_s=settings.lease_s
        )
    assert row == (settings.job_attempts + 1,)
    assert shown.waiting is not None
    assert (shown.waiting.reason, shown.waiting.until) == ("provider", job.retry_at)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Throttled("full"), "provider"),
        (ProviderUnavailable("away"), "provider"),
        (Unavailable("away"), "retry"),
    ],
)
def test_a_job_says_why_it_pauses_and_goes_on(
    settings: Settings, pool: ConnectionPool, client: JobClient, error: Retryable, reason: str
) -> None:
    error.retry_after_s = 0.7

    def pausing(job: Job) -> bool:
        with pool.connection() as connection:
            waiting = view_job(
                connection, client.organisation, job.id, now=datetime.now(UTC), lease_s=settings.lease_s
            ).waiting
        return waiting is not None and waiting.reason == reason and waiting.until is not None

    with consuming(settings, pool, kinds={"pausing": failing(1, error)}):
        id = client.submit("pausing")
        assert client.once(id, pausing).state == JobState.RUNNING
        assert client.ended(id).state == JobState.SUCCEEDED


def test_a_stage_beyond_its_time_is_ended(
    settings: Settings, pool: ConnectionPool, client: JobClient
) -> None:
    async def endless(run: JobAttempt) -> None:
        await run.stage("wait", lambda: asyncio.sleep(3_600), tries=2)

    with consuming(settings.model_copy(update={"stage_timeout_s": 0.3}), pool, kinds={"endless": endless}):
        job = client.ended(client.submit("endless"))
    assert (job.state, job.error_code) == (JobState.FAILED, "timeout")
    assert "CLUSTER_STAGE_TIMEOUT_S" in (job.error or "")


def test_a_cancelled_job_ends_within_seconds(
    settings: Settings, pool: ConnectionPool, client: JobClient
) -> None:
    ended = []

    async def long(run: JobAttempt) -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.append(run.job.id)

    with consuming(settings, pool, kinds={"long": long}):
        id = client.submit("long")
        client.once(id, lambda job: job.state == JobState.RUNNING)
        with pool.connection() as connection:
            queue.cancel(connection, client.organisation, id)
        cancelled = client.once(id, lambda job: job.state.ended)
        assert (cancelled.state, cancelled.error_code, cancelled.error) == (
            JobState.CANCELLED,
            "cancelled",
            CANCELLED_BECAUSE,
        )
        assert ended == [id]


def test_a_worker_that_stops_gives_its_jobs_back_and_the_next_one_does_them(
    settings: Settings, pool: ConnectionPool, client: JobClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_jobs.worker.consumer.STOP_TIMEOUT_S", 0.2)

    async def long(run: JobAttempt) -> None:
        await asyncio.sleep(3_600)

    id = client.submit("work")
    with consuming(settings, pool, kinds={"work": long}):
        client.once(id, lambda job: job.state == JobState.RUNNING)
    given_back = client.job(id)
    assert (given_back.state, given_back.attempt, given_back.last_attempt) == (JobState.QUEUED, 2, 4)
    with consuming(settings, pool, kinds={"work": finish}):
        assert client.ended(id).state == JobState.SUCCEEDED


def test_every_class_has_a_slot_that_no_other_can_fill(
    settings: Settings, pool: ConnectionPool, client: JobClient
) -> None:
    async def long(run: JobAttempt) -> None:
        await asyncio.sleep(3_600)

    with consuming(settings.model_copy(update=FEW), pool, kinds={"long": long, "short": finish}) as consumer:
        for priority_class in (PriorityClass.HIGH, PriorityClass.LOW):
            full = [client.submit("long", priority_class=priority_class) for _ in range(4)]
            until(lambda: len(consumer.running), lambda running: running >= 2)
            others = [other for other in PriorityClass if other != priority_class]
            assert [client.ended(client.submit("short", priority_class=other)).state for other in others] == [
                JobState.SUCCEEDED
            ] * len(others)
            with pool.connection() as connection:
                for id in full:
                    queue.cancel(connection, client.organisation, id)
            until(lambda: consumer, lambda consumer: not consumer.running)


def test_jobs_of_an_unknown_kind_wait_for_a_release_that_knows_it(
    settings: Settings, pool: ConnectionPool, client: JobClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_jobs.worker.later_turns.UNKNOWN_KIND_WAIT_S", 1.0)
    with consuming(settings, pool, kinds={"known": finish}):
        id = client.submit("of_tomorrow")
        assert client.ended(client.submit("known")).state == JobState.SUCCEEDED
        assert client.job(id).state == JobState.QUEUED
    with consuming(settings, pool, kinds={"of_tomorrow": finish}):
        assert client.ended(id).state == JobState.SUCCEEDED


def test_many_jobs_of_unknown_kinds_leave_the_shared_slots_to_lower_classes(
    settings: Settings, pool: ConnectionPool, client: JobClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_jobs.worker.later_turns.UNKNOWN_KIND_WAIT_S", 0.0)

    async def until_cancelled(run: JobAttempt) -> None:
        await asyncio.sleep(3_600)

    for _ in range(50):
        client.submit("of_tomorrow", priority_class=PriorityClass.MEDIUM)
    with consuming(settings.model_copy(update=FEW), pool, kinds={"long": until_cancelled}) as consumer:
        low = [client.submit("long", priority_class=PriorityClass.LOW) for _ in range(2)]
        until(lambda: len(consumer.running), lambda running: running == 2)
        with pool.connection() as connection:
            for id in low:
                queue.cancel(connection, client.organisation, id)
        until(lambda: consumer, lambda consumer: not consumer.running)


def test_a_consumer_that_is_stopped_before_it_began_ends(settings: Settings, pool: ConnectionPool) -> None:
    with consuming(settings, pool, kinds={}) as consumer:
        pass
    assert isinstance(consumer, Consumer)
    assert not consumer.running
