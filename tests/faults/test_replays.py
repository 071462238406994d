"""The known failures of other queues, each tried on this queue."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, PriorityClass, get_job
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.schedules.cron import Timing
from cluster.jobs.schedules.schedules import CatchUp, ScheduleOptions, create_schedule
from cluster.settings import Settings
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.job_attempt import JobAttempt, JobFunction
from tests.faults.accepted_files import Home
from tests.faults.conftest import LEASE_S
from tests.faults.worker import finish
from tests.faults.worker_processes import Workers
from tests.waiting import LONGEST_WAIT_S, Stopwatch

#: From a worker's death to the next attempt of its job: lease, interval of the rescue, start of a worker.
GIVEN_BACK_S = 2 * LEASE_S + 20.0


class Inbox:
    """Submits jobs of the misbehaving kinds for a new organisation, and looks them up."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.organisation = home.organisation()

    def submit(self, kind: str, *, priority_class: PriorityClass = PriorityClass.MEDIUM, **input: Any) -> str:
        """Queue a job and return its id."""
        with self.home.pool.connection() as connection:
            return queue.submit(
                connection, self.organisation, JobKind(name=kind), input, priority_class=priority_class
            ).id

    def job(self, job: str) -> Job:
        """The job in its present state."""
        with self.home.pool.connection() as connection:
            return get_job(connection, self.organisation, job)

    def when(self, job: str, *states: JobState, within_s: float = GIVEN_BACK_S) -> Job:
        """The job, as soon as it is in one of these states."""
        self.home.until(lambda: self.job(job).state in states, f"job {job} to be {states}", within_s=within_s)
        return self.job(job)

    def ended(self, job: str, *, within_s: float = LONGEST_WAIT_S) -> Job:
        """The job, as soon as it has ended."""
        return self.when(job, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, within_s=within_s)

    def attempts(self, job: str) -> list[str | None]:
        """Outcomes of the job's attempts, the first one first."""
        rows = self.home.ask(
            "SELECT outcome FROM job_attempts WHERE organisation = %s AND job = %s ORDER BY attempt",
            self.organisation,
            job,
        )
        return [outcome for (outcome,) in rows]


@pytest.fixture
def inbox(home: Home, workers: Workers) -> Inbox:
    """An inbox without jobs."""
    return Inbox(home)


@dataclass(frozen=True)
class LongJobs:
    """Jobs that run for several leases side by side."""

    inbox: Inbox
    #: Id of a job that only waits.
    waiting: str
    #: Ids of jobs that keep threads busy.
    computing: list[str]


@pytest.fixture(scope="module")
def long_jobs(home: Home, workers: Workers) -> LongJobs:
    """Long jobs, all submitted at the same moment."""
    inbox = Inbox(home)
    computing = [inbox.submit("compute", seconds=2.5 * LEASE_S) for _ in range(4)]
    return LongJobs(inbox, inbox.submit("wait", seconds=2.5 * LEASE_S), computing)


def test_no_second_worker_gets_a_long_job_while_the_first_runs_it(long_jobs: LongJobs) -> None:
    """Brokers with a visibility timeout deliver a long task again while the first copy runs."""
    inbox, job = long_jobs.inbox, long_jobs.waiting
    assert inbox.ended(job).state == JobState.SUCCEEDED
    assert inbox.attempts(job) == ["succeeded"]


def test_a_worker_with_busy_threads_keeps_its_lease(long_jobs: LongJobs) -> None:
    """The heartbeat goes on while a stage keeps every thread busy for several leases."""
    inbox, jobs = long_jobs.inbox, long_jobs.computing
    assert [inbox.ended(job).state for job in jobs] == [JobState.SUCCEEDED] * 4
    assert [inbox.attempts(job) for job in jobs] == [["succeeded"]] * 4


def test_the_job_of_a_killed_worker_starts_again_within_two_leases(inbox: Inbox, workers: Workers) -> None:
    job = inbox.submit("wait", seconds=2.0)
    worker = workers.of(inbox.when(job, JobState.RUNNING).worker)
    assert worker is not None
    worker.kill()
    killed = Stopwatch()
    inbox.home.until(lambda: inbox.job(job).attempt == 2, "the second attempt", within_s=GIVEN_BACK_S)
    assert killed.seconds() < 2 * LEASE_S + 2.0
    assert inbox.ended(job).state == JobState.SUCCEEDED
    assert inbox.attempts(job) == ["lost", "succeeded"]


def test_a_job_whose_worker_dies_before_its_queue_entry_ends_runs_once(inbox: Inbox) -> None:
    """Other queues lose such a job, or run it twice."""
    job = inbox.submit("die_after_commit")
    done = inbox.ended(job)
    assert entries(inbox) == ["doing"]
    inbox.home.until(lambda: entries(inbox) == [], "the end of its queue entry", within_s=GIVEN_BACK_S)
    assert inbox.job(job) == done
    assert inbox.attempts(job) == ["succeeded"]


def entries(inbox: Inbox) -> list[str]:
    """Status of the organisation's queue entries that have not ended."""
    statement = """
        SELECT status::text FROM procrastinate_jobs
        WHERE args ->> 'organisation' = %s AND status IN ('todo', 'doing')
    """
    return [status for (status,) in inbox.home.ask(statement, inbox.organisation)]


def test_a_job_that_kills_its_workers_is_a_dead_letter_and_no_other_job_is(inbox: Inbox) -> None:
    """Other queues run such a job for ever, or give up the jobs that ran beside it each time."""
    poison = inbox.submit("die", after_s=1.0)
    others = [inbox.submit("wait", seconds=3.0) for _ in range(5)]
    failed = inbox.ended(poison)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "worker_lost")
    assert inbox.attempts(poison) == ["lost"] * 3
    assert {inbox.ended(job).state for job in others} == {JobState.SUCCEEDED}
    assert max(len(inbox.attempts(job)) for job in others) <= 2, "another job lost two attempts to it"


@pytest.mark.parametrize("copying", [False, True], ids=["between statements", "within a copy"])
def test_a_worker_stopped_within_a_transaction_does_not_hold_up_the_next_attempt(
    inbox: Inbox, workers: Workers, tmp_path: Path, copying: bool
) -> None:
    mark = tmp_path / "stopped"
    job = inbox.submit("stop_within_transaction", mark=str(mark), copying=copying)
    zombie = workers.of(inbox.when(job, JobState.RUNNING).worker)
    assert zombie is not None
    inbox.home.until(mark.exists, "the worker to be stopped")
    done = inbox.ended(job)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    assert (done.result or {})["pid"] != zombie.pid
    os.kill(zombie.pid, signal.SIGCONT)
    next_one = inbox.ended(inbox.submit("wait", seconds=LEASE_S))
    assert (next_one.state, inbox.job(job)) == (JobState.SUCCEEDED, done)


@contextmanager
def release(
    settings: Settings,
    kinds: dict[str, JobFunction],
    *,
    name: str = "release",
) -> Iterator[Consumer]:
    """Run a worker of a release that has these kinds of jobs, inside the block."""
    consumer = Consumer(settings, kinds=kinds, name=name)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(consumer.run()))
    thread.start()
    try:
        yield consumer
    finally:
        loop.call_soon_threadsafe(consumer.stop)
        thread.join(LONGEST_WAIT_S)
        loop.close()


def test_jobs_of_the_release_before_and_after_a_deploy_run(
    settings: Settings, pool: ConnectionPool, organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_jobs.worker.later_turns.UNKNOWN_KIND_WAIT_S", 1.0)
    inbox = Inbox(Home(settings, pool))

    async def done(run: JobAttempt) -> None:
        await finish(run)

    with release(settings, {"old": done, "renamed": done}):
        ahead = inbox.submit("new")
        assert inbox.ended(inbox.submit("old")).state == JobState.SUCCEEDED
        inbox.ended(inbox.submit("renamed", priority_class=PriorityClass.LOW))
        assert inbox.job(ahead).state == JobState.QUEUED
        assert inbox.attempts(ahead) == []
    queued_before = inbox.submit("old")
    with release(settings, {"old": done, "new": done}):
        assert inbox.ended(queued_before).state == JobState.SUCCEEDED
        assert inbox.ended(ahead).state == JobState.SUCCEEDED


def submit_every_two_seconds(pool: ConnectionPool, organisation: str, kind: str) -> None:
    with pool.connection() as connection:
        create_schedule(connection, organisation, JobKind(name=kind), Timing(interval_s=2))


def test_a_schedule_submits_one_job_for_each_time_however_many_workers_there_are(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    """Other schedulers run it twice."""
    ticks: list[float] = []

    async def tick(attempt: JobAttempt) -> None:
        ticks.append(time.time())
        await finish(attempt)

    often = settings.model_copy(update={"lease_s": LEASE_S})  # each worker looks six times in each lease
    began = time.time()
    submit_every_two_seconds(pool, organisation, "tick")
    with release(often, {"tick": tick}, name="one"), release(often, {"tick": tick}, name="other"):
        Home(settings, pool).until(lambda: len(ticks) >= 4, "four ticks")
    assert len(ticks) <= (time.time() - began) / 2 + 1, "more than one job for a time"


def test_times_that_passed_without_a_worker_are_made_up_for_by_one_job(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    """Other schedulers never run it, or run it once for each time."""
    ticks: list[float] = []

    async def tick(attempt: JobAttempt) -> None:
        ticks.append(time.time())
        await finish(attempt)

    with pool.connection() as connection:
        create_schedule(
            connection,
            organisation,
            JobKind(name="tick"),
            Timing(interval_s=3_600),
            options=ScheduleOptions(catch_up=CatchUp.LATEST),
        )
        connection.execute(
            "UPDATE schedules SET next_run_at = now() - interval '71.5 h' WHERE organisation = %s",
            [organisation],
        )
    with release(settings, {"tick": tick}):
        Home(settings, pool).until(lambda: len(ticks) == 1, "the job")
        time.sleep(LEASE_S)
    assert len(ticks) == 1
