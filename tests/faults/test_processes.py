"""Faults of single processes while jobs run, at random moments: documents end as in a run without faults.

Two workers run without Ray, on their own database (``tests.faults.worker``). A worker that ends starts again.
"""

import fcntl
import signal
import time
from collections.abc import Callable
from random import Random

import psutil
import pytest

from cluster.database import bundled
from cluster.jobs import queue
from cluster.jobs.jobs import Job
from cluster.local.processes import alive
from tests.conftest import kill_postmaster
from tests.fault_rounds import ROUNDS
from tests.faults.accepted_files import (
    Accepted,
    Contents,
    Home,
    attach,
    await_end,
    check,
    contents,
    leaseless,
    running,
    same,
    states,
)
from tests.faults.conftest import LEASE_S
from tests.faults.worker_processes import Workers, await_gone, children, parse_processes, parsing

Fault = Callable[[Home, Workers, list[Accepted], Random], None]

#: How long the database does not run: half a minute in runs of several rounds.
GONE_S = 8.0 if ROUNDS == 1 else 30.0
#: Within this time a job without a live worker starts again. A database that was away has to start first.
FOUND_S = 2 * LEASE_S + 30.0
CANCELLED_S = 5.0
PARSE_ENDS_S = 5.0
#: A parser needs half a minute for it.
SLOW = b"> - > *[](b)*\n\n" * 60_000


def kill_worker(home: Home, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """Send SIGKILL to a worker, twice. Its parse processes end with it."""
    for most in (0.2, 0.6):
        victim = at_work(home, workers, accepted, chance.uniform(0, most))
        parsers = [process for parent in parse_processes(victim) for process in (parent, *children(parent))]
        victim.kill()
        await_gone(parsers, within_s=PARSE_ENDS_S)


def kill_parse_process(home: Home, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """Send SIGKILL to a process that forks the parsing children, twice. Its child ends with it."""
    for _ in range(2):
        parent, child = in_mid_parse(workers, chance)
        parent.kill()
        await_gone([parent, child], within_s=PARSE_ENDS_S)


def kill_parse_child(home: Home, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """Send SIGKILL to a child that parses a document."""
    _, child = in_mid_parse(workers, chance)
    child.kill()


def in_mid_parse(workers: Workers, chance: Random) -> tuple[psutil.Process, psutil.Process]:
    """A parse process in the middle of a document, and its child that parses it."""
    longest = 0.3
    while True:
        parent, child = parsing(workers)
        time.sleep(chance.uniform(0, longest))
        if alive(child):
            return parent, child
        longest /= 2  # catches one before all documents are parsed


def kill_postgres(home: Home, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """Send SIGKILL to the postmaster."""
    at_work(home, workers, accepted, chance.uniform(0, 0.6))
    kill_postmaster(home.settings)


def restart_postgres(home: Home, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """Restart Postgres as ``pg_ctl restart -m immediate`` does."""
    at_work(home, workers, accepted, chance.uniform(0, 0.6))
    kill_postmaster(home.settings, signal.SIGQUIT)
    bundled.start(home.settings)


def take_postgres_away(home: Home, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """Stop Postgres, and keep every process from starting it for ``GONE_S``."""
    at_work(home, workers, accepted, chance.uniform(0, 0.6))
    with (home.settings.home / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a process that starts Postgres waits for this lock
        kill_postmaster(home.settings, signal.SIGQUIT)
        time.sleep(GONE_S)


def stop_worker(home: Home, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """Send SIGSTOP to a worker, and SIGCONT once its lease is over and others have its jobs."""
    zombie = at_work(home, workers, accepted, chance.uniform(0, 0.6))
    zombie.suspend()
    held = {
        job: attempt
        for job, (worker, attempt) in running(home, accepted).items()
        if workers.of(worker) == zombie
    }

    def given_to_others() -> bool:
        now = home.ask("SELECT id, attempt, state FROM jobs WHERE id = ANY(%s)", list(held))
        return all(attempt > held[id] or state not in {"running"} for id, attempt, state in now)

    try:
        home.until(given_to_others, "the jobs of a stopped worker to be given to others", within_s=FOUND_S)
    finally:
        zombie.resume()


FAULTS: list[Fault] = [
    kill_worker,
    kill_parse_process,
    kill_parse_child,
    kill_postgres,
    restart_postgres,
    take_postgres_away,
    stop_worker,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.replace("_", " "))
def test_after_a_fault_every_document_ends_as_in_a_run_without_faults(
    fault: Fault, chance: Random, home: Home, workers: Workers, undisturbed: Contents
) -> None:
    accepted = attach(home)
    fault(home, workers, accepted, chance)
    home.until(lambda: leaseless(home) == [], "jobs without a live worker to start again", within_s=FOUND_S)
    await_end(home, accepted)
    check(home, accepted, undisturbed)


def test_a_cancelled_job_ends_within_five_seconds_and_the_others_go_on(
    chance: Random, home: Home, workers: Workers, undisturbed: Contents
) -> None:
    accepted = attach(home)
    cancelled = chance.sample([one for one in accepted if one.state == "succeeded"], 3)
    for one in cancelled:
        time.sleep(chance.uniform(0, 1.0))
        cancel(home, one)
        await_cancelled(home, one)
    await_end(home, accepted)
    check(home, accepted, undisturbed, cancelled=frozenset(one.file.filename for one in cancelled))


def test_cancelling_a_job_ends_its_parse_process(home: Home, workers: Workers, undisturbed: Contents) -> None:
    client = home.client()
    store = client.store()
    file = client.upload("slow.md", SLOW)
    slow = Accepted(store, file, client.attach(store, file), "cancelled")
    parent, child = parsing(workers)
    cancel(home, slow)
    await_gone([parent, child], within_s=CANCELLED_S)
    await_cancelled(home, slow)
    check(home, [slow], {}, cancelled=frozenset(["slow.md"]))


def test_of_two_jobs_for_one_file_the_last_one_counts(
    chance: Random, home: Home, workers: Workers, undisturbed: Contents
) -> None:
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    client = home.client()
    data = b"".join(
        f"The gauge of boiler {n} shows more than it should in winter. ".encode() for n in range(120)
    )
    found = []
    for name in ("once", "anew"):
        store = client.store(name)
        file = client.upload("manual.txt", data)
        jobs = []
        if name == "anew":
            jobs.append(client.attach(store, file))
            await_begin(home, jobs[0])
            time.sleep(chance.uniform(0, 1.0))
        jobs.append(client.attach(store, file, chunking_strategy=strategy))
        accepted = [Accepted(store, file, job, "succeeded") for job in jobs]
        await_end(home, accepted)
        assert home.ask("SELECT state FROM jobs WHERE id = %s", jobs[-1]) == [("succeeded",)]
        found.append(contents(home, accepted))
    same(found[1], found[0])


def at_work(home: Home, workers: Workers, accepted: list[Accepted], share: float) -> psutil.Process:
    """A worker with one of the remaining jobs, as soon as this share of the jobs has ended."""
    found: list[psutil.Process] = []

    def busy() -> bool:
        now = states(home, accepted)
        remaining = now["queued"] + now["running"]
        assert remaining > 0, "all jobs had ended before the fault"
        if remaining <= (1 - share) * len(accepted):
            found.extend(
                process
                for worker, _ in running(home, accepted).values()
                if (process := workers.of(worker)) is not None
            )
        return bool(found)

    home.until(busy, "a worker to have a job")
    return found[0]


def cancel(home: Home, one: Accepted) -> Job:
    """Cancel its job, as the route of the API does."""
    with home.pool.connection() as connection:
        return queue.cancel(connection, one.store.organisation, one.job)


def await_cancelled(home: Home, one: Accepted) -> None:
    """Return when its job has ended; fail after ``CANCELLED_S``."""
    home.until(
        lambda: not states(home, [one]).keys() & {"queued", "running"},
        "the cancelled job to end",
        within_s=CANCELLED_S,
    )


def await_begin(home: Home, job: str) -> None:
    """Return as soon as the job runs."""
    home.until(
        lambda: home.ask("SELECT state FROM jobs WHERE id = %s", job) == [("running",)],
        "the first job to begin",
    )
