"""A worker ends after its number of jobs or above its memory limit, and loses no job."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.jobs import queue
from cluster.jobs.jobs import WORKER_LOST, Job, JobState, get_job
from cluster.jobs.kinds.job_kind import JobKind
from cluster.settings import Settings
from data_jobs.worker import recycling
from data_jobs.worker.job_attempt import JobAttempt, JobFunction
from data_jobs.worker.recycling import resident_bytes
from tests.data_jobs.running_consumer import consuming
from tests.data_jobs.worker.test_consumer import empty_queue, finish  # noqa: F401  a fixture
from tests.waiting import until

MIB = 1024 * 1024


@pytest.fixture
def submit(pool: ConnectionPool, organisation: str) -> Callable[..., str]:
    """Submit a job of the kind ``work``, and return its id."""

    def submit(**options: Any) -> str:
        with pool.connection() as connection:
            return queue.submit(connection, organisation, JobKind(name="work", **options), {}).id

    return submit


@pytest.fixture
def job(pool: ConnectionPool, organisation: str) -> Callable[[str], Job]:
    """Return the job with this id, as it is now."""

    def job(id: str) -> Job:
        with pool.connection() as connection:
            return get_job(connection, organisation, id)

    return job


def holding(threads: threading.Event) -> JobFunction:
    """Return a kind whose job ends when the event is set."""

    async def kind(run: JobAttempt) -> None:
        await asyncio.to_thread(threads.wait)
        await finish(run)

    return kind


def hoarding(mib: int) -> JobFunction:
    """Return a kind whose first attempt uses so much memory until it is ended. Further attempts succeed."""

    async def kind(run: JobAttempt) -> None:
        hoard = b"x" * (mib * MIB if run.job.attempt == 1 else 0)
        while hoard:
            await asyncio.sleep(0.05)
        await finish(run)

    return kind


def attempts_of(pool: ConnectionPool, id: str) -> list[tuple[str, str, str | None]]:
    """Return the worker, the outcome and the error of each attempt at the job."""
    with pool.connection() as connection:
        return connection.execute(
            "SELECT worker, outcome, error FROM job_attempts WHERE job = %s ORDER BY attempt", [id]
        ).fetchall()


def test_after_its_number_of_jobs_a_worker_ends_and_the_next_worker_runs_the_others_once(
    settings: Settings, pool: ConnectionPool, submit: Callable[..., str], job: Callable[[str], Job]
) -> None:
    limited = settings.model_copy(update={"worker_max_jobs": 3})
    ids = [submit() for _ in range(30)]

    with consuming(limited, pool, kinds={"work": finish}) as first:
        until(lambda: first.threads._shutdown, bool)
        ended = [id for id in ids if job(id).state.ended]
        assert 3 <= len(ended) < len(ids)
        assert "CLUSTER_WORKER_MAX_JOBS" in first.recycling.reason
    with consuming(settings, pool, kinds={"work": finish}):
        jobs = [until(lambda id=id: job(id), lambda job: job.state.ended) for id in ids]

    assert {(job.state, job.attempt) for job in jobs} == {(JobState.SUCCEEDED, 1)}


def test_a_job_that_takes_longer_than_a_lease_ends_before_its_worker_does(
    settings: Settings, pool: ConnectionPool, submit: Callable[..., str], job: Callable[[str], Job]
) -> None:
    short = settings.model_copy(update={"lease_s": 2.0})
    release = threading.Event()

    with consuming(
        short.model_copy(update={"worker_max_jobs": 1}), pool, kinds={"work": holding(release)}
    ) as old:
        slow = submit()
        until(lambda: old.running, bool)
        old.recycling.job_ended()
        with consuming(short, pool, kinds={"work": finish}):
            others = [submit() for _ in range(3)]
            assert {until(lambda id=id: job(id), lambda job: job.state.ended).attempt for id in others} == {1}
            threading.Event().wait(1.5 * short.lease_s)
            assert (job(slow).state, job(slow).attempt) == (JobState.RUNNING, 1)
            release.set()
            assert until(lambda: job(slow), lambda job: job.state.ended).attempt == 1
            until(lambda: old.threads._shutdown, bool)


def test_above_its_memory_limit_a_worker_ends_after_its_job(
    settings: Settings, pool: ConnectionPool, submit: Callable[..., str], job: Callable[[str], Job]
) -> None:
    below = settings.model_copy(update={"worker_max_memory_bytes": resident_bytes() - 1})

    with consuming(below, pool, kinds={"work": finish}) as worker:
        assert not worker.recycling.reason
        id = submit()
        until(lambda: worker.threads._shutdown, bool)

    assert (job(id).state, job(id).attempt) == (JobState.SUCCEEDED, 1)
    assert "CLUSTER_WORKER_MAX_MEMORY_BYTES" in worker.recycling.reason


@pytest.mark.parametrize(("attempts", "state"), [(3, JobState.SUCCEEDED), (1, JobState.FAILED)])
def test_a_job_far_above_the_limit_loses_an_attempt_and_says_why(
    settings: Settings,
    pool: ConnectionPool,
    submit: Callable[..., str],
    job: Callable[[str], Job],
    monkeypatch: pytest.MonkeyPatch,
    attempts: int,
    state: JobState,
) -> None:
    monkeypatch.setattr(recycling, "FAR_ABOVE", 1)
    monkeypatch.setattr(recycling, "CHECK_INTERVAL_S", 0.1)
    limited = settings.model_copy(update={"worker_max_memory_bytes": resident_bytes() + 64 * MIB})
    id = submit(attempts=attempts)

    with consuming(limited, pool, kinds={"work": hoarding(160)}) as worker:
        until(lambda: worker.threads._shutdown, bool)
    with consuming(settings, pool, kinds={"work": hoarding(0)}):
        ended = until(lambda: job(id), lambda job: job.state.ended)

    (_, outcome, error), *more = attempts_of(pool, id)
    assert (outcome, len(more), ended.state) == ("lost", attempts > 1, state)
    assert "CLUSTER_WORKER_MAX_MEMORY_BYTES" in (error or "")
    if state == JobState.FAILED:
        assert ended.error_code == WORKER_LOST
        assert "CLUSTER_WORKER_MAX_MEMORY_BYTES" in (ended.error or "")
