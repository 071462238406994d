"""The job of a command runs while the command lives, ends with the command's result, and can be cancelled."""

import signal
import threading
import time
from collections.abc import Callable

import pytest
from psycopg_pool import ConnectionPool

from cluster.jobs import queue
from cluster.jobs.command_job import CommandJob
from cluster.jobs.jobs import CANCELLED_BECAUSE, JobState, get_job
from cluster.jobs.kinds import INGEST
from cluster.jobs.queue import JobRequest
from cluster.jobs.rescue import rescue
from tests.waiting import LONGEST_WAIT_S, Stopwatch

LEASE_S = 1.5


def state(pool: ConnectionPool, organisation: str, run: CommandJob) -> JobState:
    """Of its row, after a look for the dead."""
    with pool.connection() as connection:
        rescue(connection, lease_s=LEASE_S)
        return get_job(connection, organisation, run.id).state


def test_a_job_lives_as_long_as_its_command_and_ends_with_it(pool: ConnectionPool, organisation: str) -> None:
    with CommandJob(pool, organisation, JobRequest(kind=INGEST, input={}), lease_s=LEASE_S) as run:
        time.sleep(2 * LEASE_S)
        assert state(pool, organisation, run) == JobState.RUNNING
    assert state(pool, organisation, run) == JobState.SUCCEEDED
    with (
        pytest.raises(ValueError, match="no such page"),
        CommandJob(pool, organisation, JobRequest(kind=INGEST, input={}), lease_s=LEASE_S) as broken,
    ):
        raise ValueError("no such page")
    assert state(pool, organisation, broken) == JobState.FAILED


@pytest.mark.parametrize("ctrl_c", [signal.default_int_handler, signal.SIG_IGN], ids=["shell", "background"])
def test_a_command_whose_job_is_cancelled_ends_within_five_seconds(
    pool: ConnectionPool, organisation: str, ctrl_c: Callable[..., None] | signal.Handlers
) -> None:
    def cancel() -> None:
        with pool.connection() as connection:
            queue.cancel(connection, organisation, run.id)

    run = CommandJob(pool, organisation, JobRequest(kind=INGEST, input={}), lease_s=LEASE_S)
    began = Stopwatch()
    threading.Timer(0.2, cancel).start()
    before = signal.signal(signal.SIGINT, ctrl_c)
    try:
        with pytest.raises(KeyboardInterrupt), run:
            time.sleep(LONGEST_WAIT_S)
    finally:
        signal.signal(signal.SIGINT, before)
    assert began.seconds() < 5
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
    run = CommandJob(pool, organisation, JobRequest(kind=INGEST, input={}, total=2), lease_s=LEASE_S)

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
    with CommandJob(pool, organisation, JobRequest(kind=INGEST, input={}, total=2), lease_s=LEASE_S) as run:
        run.progress(2)
    with pool.connection() as connection:
        assert get_job(connection, organisation, run.id).done == 2


def test_a_command_that_outlived_its_lease_goes_on_and_ends_as_it_ends(
    pool: ConnectionPool, organisation: str
) -> None:
    """A laptop that sleeps sends no heartbeats; its command still does the work when it wakes."""
    job = CommandJob(pool, organisation, JobRequest(kind=INGEST, input={}), lease_s=LEASE_S)
    time.sleep(1.2 * LEASE_S)  # no heartbeat before the block begins
    assert state(pool, organisation, job) == JobState.FAILED
    with job:
        pass
    with pool.connection() as connection:
        ended = get_job(connection, organisation, job.id)
    assert (ended.state, ended.error, ended.attempt) == (JobState.SUCCEEDED, None, 2)


def test_a_command_that_ended_leaves_nothing_in_the_queue_s_tables(
    pool: ConnectionPool, organisation: str
) -> None:
    counts = "SELECT (SELECT count(*) FROM procrastinate_workers), (SELECT count(*) FROM procrastinate_jobs)"
    with pool.connection() as connection:
        before = connection.execute(counts).fetchone()
    with CommandJob(pool, organisation, JobRequest(kind=INGEST, input={}), lease_s=LEASE_S):
        pass
    with pool.connection() as connection:
        assert connection.execute(counts).fetchone() == before
