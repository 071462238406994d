"""A command's own job: it ends as the command does, is kept while the command lives, and is ended by whoever cancels it."""

import threading
import time

import pytest
from psycopg_pool import ConnectionPool

from cluster.jobs import queue
from cluster.jobs.job_run import JobRun
from cluster.jobs.jobs import CANCELLED_BECAUSE, JobState, get_job
from cluster.jobs.rescue import rescue

LEASE_S = 1.5


def state(pool: ConnectionPool, organisation: str, run: JobRun) -> JobState:
    """Of its row, after a look for the dead."""
    with pool.connection() as connection:
        rescue(connection, lease_s=LEASE_S)
        return get_job(connection, organisation, run.id).state


def test_a_job_lives_as_long_as_its_command_and_ends_with_it(pool: ConnectionPool, organisation: str) -> None:
    with JobRun(pool, organisation, "ingest", {}, lease_s=LEASE_S) as run:
        time.sleep(2 * LEASE_S)
        assert state(pool, organisation, run) == JobState.RUNNING
    assert state(pool, organisation, run) == JobState.SUCCEEDED
    with (
        pytest.raises(ValueError, match="no such page"),
        JobRun(pool, organisation, "ingest", {}, lease_s=LEASE_S) as broken,
    ):
        raise ValueError("no such page")
    assert state(pool, organisation, broken) == JobState.FAILED


def test_a_command_whose_job_is_cancelled_ends_within_five_seconds(
    pool: ConnectionPool, organisation: str
) -> None:
    def cancel() -> None:
        with pool.connection() as connection:
            queue.cancel(connection, organisation, run.id)

    run = JobRun(pool, organisation, "ingest", {}, lease_s=LEASE_S)
    threading.Timer(0.2, cancel).start()
    with pytest.raises(KeyboardInterrupt), run:
        time.sleep(5)
    assert state(pool, organisation, run) == JobState.CANCELLED
    with pool.connection() as connection:
        assert get_job(connection, organisation, run.id).error == CANCELLED_BECAUSE


INTERRUPTED = [
    (KeyboardInterrupt(), "Ctrl-C"),
    (KeyboardInterrupt("the cluster was stopped"), "the cluster was stopped; what it wrote stays"),
]


@pytest.mark.parametrize(("error", "said"), INTERRUPTED)
def test_a_command_that_is_interrupted_says_why_and_is_whole_only_at_its_end(
    pool: ConnectionPool, organisation: str, error: KeyboardInterrupt, said: str
) -> None:
    run = JobRun(pool, organisation, "ingest", {}, lease_s=LEASE_S, total=2)

    def interrupted() -> None:
        with run:
            run.progress(2)
            with pool.connection() as connection:
                assert get_job(connection, organisation, run.id).done == 1
            raise error

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pool.connection() as connection:
        ended = get_job(connection, organisation, run.id)
    assert (ended.state, ended.error_code, said in (ended.error or "")) == (
        JobState.CANCELLED,
        "cancelled",
        True,
    )
    with JobRun(pool, organisation, "ingest", {}, lease_s=LEASE_S, total=2) as run:
        run.progress(2)
    with pool.connection() as connection:
        assert get_job(connection, organisation, run.id).done == 2
