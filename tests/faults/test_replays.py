"""How other queues are known to fail, one by one, on this one."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from procrastinate.periodic import MAX_DELAY
from psycopg_pool import ConnectionPool

from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, PriorityClass, get_job
from cluster.jobs.kinds import JobKind
from cluster.settings import Settings
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.job_attempt import JobAttempt, JobFunction
from tests.faults.accepted_files import Place
from tests.faults.conftest import LEASE_S
from tests.faults.worker import finish
from tests.faults.worker_processes import Workers

pytestmark = pytest.mark.timeout(180)

#: From the death of a worker to its job in the hands of another: the lease, the time between two looks, and a start of a worker.
GIVEN_BACK_S = 2 * LEASE_S + 20.0


class Inbox:
    """Jobs of the misbehaving kinds, of an organisation of its own."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.organisation = place.organisation()

    def submit(self, kind: str, *, priority_class: PriorityClass = PriorityClass.MEDIUM, **input: Any) -> str:
        """Id of the job."""
        with self.place.pool.connection() as connection:
            return queue.submit(
                connection, self.organisation, JobKind(name=kind), input, priority_class=priority_class
            ).id

    def look(self, job: str) -> Job:
        """The job now."""
        with self.place.pool.connection() as connection:
            return get_job(connection, self.organisation, job)

    def when(self, job: str, *wanted: JobState, within_s: float = GIVEN_BACK_S) -> Job:
        """The job, as soon as it is in one of these states."""
        self.place.until(
            lambda: self.look(job).state in wanted, f"job {job} to be {wanted}", within_s=within_s
        )
        return self.look(job)

    def ended(self, job: str, *, within_s: float = 60.0) -> Job:
        """The job, once it has ended."""
        return self.when(job, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, within_s=within_s)

    def attempts(self, job: str) -> list[str | None]:
        """How its tries ended."""
        rows = self.place.ask(
            "SELECT outcome FROM job_attempts WHERE organisation = %s AND job = %s ORDER BY attempt",
            self.organisation,
            job,
        )
        return [outcome for (outcome,) in rows]


@pytest.fixture
def inbox(place: Place, workers: Workers) -> Inbox:
    """Empty."""
    return Inbox(place)


def test_a_job_is_not_handed_out_again_while_the_first_worker_is_at_it(inbox: Inbox) -> None:
    """Redelivery while the first copy runs: brokers with a visibility timeout hand a long task to a second worker."""
    job = inbox.submit("wait", seconds=2.5 * LEASE_S)
    assert inbox.ended(job).state == JobState.SUCCEEDED
    assert inbox.attempts(job) == ["succeeded"]


def test_a_slow_job_is_not_taken_for_a_dead_one(inbox: Inbox) -> None:
    """A stage that keeps every thread busy for several leases still says that it lives."""
    jobs = [inbox.submit("compute", seconds=2.5 * LEASE_S) for _ in range(4)]
    assert [inbox.ended(job).state for job in jobs] == [JobState.SUCCEEDED] * 4
    assert [inbox.attempts(job) for job in jobs] == [["succeeded"]] * 4


def test_the_job_of_a_killed_worker_is_back_within_its_lease_and_not_in_an_hour(
    inbox: Inbox, workers: Workers
) -> None:
    job = inbox.submit("wait", seconds=2.0)
    worker = workers.of(inbox.when(job, JobState.RUNNING).worker)
    assert worker is not None
    worker.kill()
    killed = time.monotonic()
    inbox.place.until(lambda: inbox.look(job).attempt == 2, "the job to be given back", within_s=GIVEN_BACK_S)
    assert time.monotonic() - killed < 2 * LEASE_S + 2.0
    assert inbox.ended(job).state == JobState.SUCCEEDED
    assert inbox.attempts(job) == ["lost", "succeeded"]


def test_a_job_whose_worker_dies_between_its_end_and_the_end_of_its_entry_is_done_once(inbox: Inbox) -> None:
    """Lost, or done twice, on acknowledge."""
    job = inbox.submit("die_after_commit")
    done = inbox.ended(job)
    assert entries(inbox) == ["doing"]
    inbox.place.until(lambda: entries(inbox) == [], "its entry to be cleared away", within_s=GIVEN_BACK_S)
    assert inbox.look(job) == done
    assert inbox.attempts(job) == ["succeeded"]


def entries(inbox: Inbox) -> list[str]:
    """Of the queue, of this organisation, that have not ended."""
    statement = "SELECT status::text FROM procrastinate_jobs WHERE args ->> 'organisation' = %s AND status IN ('todo', 'doing')"
    return [status for (status,) in inbox.place.ask(statement, inbox.organisation)]


def test_a_poison_is_a_dead_letter_after_its_tries_and_takes_nobody_with_it(inbox: Inbox) -> None:
    """A poison loop; innocents dead-lettered with a poison: they ran beside it each time."""
    poison = inbox.submit("die", after_s=1.0)
    innocents = [inbox.submit("wait", seconds=3.0) for _ in range(5)]
    failed = inbox.ended(poison, within_s=120)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "worker_lost")
    assert inbox.attempts(poison) == ["lost"] * 3
    assert {inbox.ended(job, within_s=90).state for job in innocents} == {JobState.SUCCEEDED}
    assert max(len(inbox.attempts(job)) for job in innocents) <= 2, "a poison took an innocent with it twice"


@pytest.mark.parametrize("copying", [False, True], ids=["between statements", "within a copy"])
def test_a_worker_that_is_stopped_within_a_transaction_keeps_the_job_from_nobody(
    inbox: Inbox, workers: Workers, tmp_path: Path, copying: bool
) -> None:
    mark = tmp_path / "stopped"
    job = inbox.submit("stop_within_transaction", mark=str(mark), copying=copying)
    zombie = workers.of(inbox.when(job, JobState.RUNNING).worker)
    assert zombie is not None
    inbox.place.until(mark.exists, "the worker to be stopped", within_s=20)
    done = inbox.ended(job)
    assert (done.state, done.attempt) == (JobState.SUCCEEDED, 2)
    assert (done.result or {})["pid"] != zombie.pid
    os.kill(zombie.pid, signal.SIGCONT)
    next_one = inbox.ended(inbox.submit("wait", seconds=LEASE_S))
    assert (next_one.state, inbox.look(job)) == (JobState.SUCCEEDED, done)


@contextmanager
def release(
    settings: Settings,
    kinds: dict[str, JobFunction],
    *,
    chores: dict[str, Any] | None = None,
    name: str = "release",
) -> Iterator[Consumer]:
    """A worker of a release that knows these kinds."""
    consumer = Consumer(settings, kinds=kinds, name=name, chores=chores)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(consumer.run()))
    thread.start()
    try:
        yield consumer
    finally:
        loop.call_soon_threadsafe(consumer.stop)
        thread.join(60)
        loop.close()


def test_a_deploy_strands_no_job_of_the_release_before_or_after_it(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    inbox = Inbox(Place(settings, pool))

    async def done(run: JobAttempt) -> None:
        await finish(run)

    with release(settings, {"old": done, "renamed": done}):
        ahead = inbox.submit("new")
        assert inbox.ended(inbox.submit("old")).state == JobState.SUCCEEDED
        left = inbox.submit("renamed", priority_class=PriorityClass.LOW)
        inbox.ended(left)
        assert inbox.look(ahead).state == JobState.QUEUED
        assert inbox.attempts(ahead) == []
    queued_before = inbox.submit("old")
    with release(settings, {"old": done, "new": done}):
        assert inbox.ended(queued_before).state == JobState.SUCCEEDED
        assert inbox.ended(ahead).state == JobState.SUCCEEDED


def test_a_chore_is_done_once_a_tick_however_many_workers_there_are(
    settings: Settings, pool: ConnectionPool
) -> None:
    """Cron twice."""
    ticks: list[float] = []

    def chore(settings: Settings, pool: ConnectionPool) -> None:
        del settings, pool
        ticks.append(time.time())

    every_two_seconds = {"* * * * * */2": chore}
    began = time.time()
    with (
        release(settings, {}, chores=every_two_seconds, name="one"),
        release(settings, {}, chores=every_two_seconds, name="other"),
    ):
        Place(settings, pool).until(lambda: len(ticks) >= 4, "four ticks", within_s=30)
    assert len(ticks) <= (time.time() - began) / 2 + 2, "more than one a tick, and the one before"


def test_a_tick_that_nobody_was_there_for_is_made_up_for(settings: Settings, pool: ConnectionPool) -> None:
    """Cron never: within ten minutes; one that was missed by more is left to the next tick, as docs/recovery.md says."""
    done = threading.Event()

    def missed_chore(settings: Settings, pool: ConnectionPool) -> None:
        del settings, pool
        done.set()

    minutes_ago = datetime.now(UTC) - timedelta(minutes=5)
    assert timedelta(minutes=10).total_seconds() == MAX_DELAY
    with release(settings, {}, chores={f"{minutes_ago.minute} {minutes_ago.hour} * * *": missed_chore}):
        assert done.wait(30)
