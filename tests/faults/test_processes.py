"""Faults of single processes while jobs run, at random moments: whatever dies, every document ends where an undisturbed run brings it.

Two workers as ``worker`` runs them, without Ray, on a database of their own; who dies is started again, as Serve does it.
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
from tests.faults.accepted_files import (
    Accepted,
    Contents,
    Place,
    attach,
    await_end,
    check,
    contents,
    leaseless,
    running,
    same,
    states,
)
from tests.faults.conftest import LEASE_S, ROUNDS
from tests.faults.worker_processes import Workers, await_gone, children, parse_processes, parsing

pytestmark = pytest.mark.timeout(240)

Fault = Callable[[Place, Workers, list[Accepted], Random], None]

#: The database is gone for so long: half a minute where there is time.
GONE_S = 8.0 if ROUNDS == 1 else 30.0
#: A job without a living worker is found within a lease and the time between two looks; a database that went away comes first.
FOUND_S = 2 * LEASE_S + 30.0
CANCELLED_S = 5.0
PARSE_ENDS_S = 5.0
#: Takes a parser half a minute.
SLOW = b"> - > *[](b)*\n\n" * 60_000


def kill_worker(place: Place, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """kill -9, twice; what it had parsed ends with it."""
    for most in (0.2, 0.6):
        victim = at_work(place, workers, accepted, chance.uniform(0, most))
        left = [process for parent in parse_processes(victim) for process in (parent, *children(parent))]
        victim.kill()
        await_gone(left, within_s=PARSE_ENDS_S)


def kill_parse_process(place: Place, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """kill -9 of the one that forks, twice; its child ends with it."""
    for _ in range(2):
        parent, child = in_mid_parse(workers, chance)
        parent.kill()
        await_gone([parent, child], within_s=PARSE_ENDS_S)


def kill_parse_child(place: Place, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """kill -9 of the one that has the document."""
    _, child = in_mid_parse(workers, chance)
    child.kill()


def in_mid_parse(workers: Workers, chance: Random) -> tuple[psutil.Process, psutil.Process]:
    """A process that has parsed a document for some time, and its child that does it."""
    longest = 0.3
    while True:
        parent, child = parsing(workers)
        time.sleep(chance.uniform(0, longest))
        if alive(child):
            return parent, child
        longest /= 2  # so that one is caught before all are done


def kill_postgres(place: Place, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """kill -9 of the postmaster."""
    at_work(place, workers, accepted, chance.uniform(0, 0.6))
    kill_postmaster(place.settings)


def restart_postgres(place: Place, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """As ``pg_ctl restart -m immediate``."""
    at_work(place, workers, accepted, chance.uniform(0, 0.6))
    kill_postmaster(place.settings, signal.SIGQUIT)
    bundled.start(place.settings)


def take_postgres_away(place: Place, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """It does not come back for a while, whoever would start it."""
    at_work(place, workers, accepted, chance.uniform(0, 0.6))
    with (place.settings.home / "postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # whoever starts it waits for this
        kill_postmaster(place.settings, signal.SIGQUIT)
        time.sleep(GONE_S)


def stop_worker(place: Place, workers: Workers, accepted: list[Accepted], chance: Random) -> None:
    """SIGSTOP past its lease, SIGCONT once others have its jobs."""
    zombie = at_work(place, workers, accepted, chance.uniform(0, 0.6))
    zombie.suspend()
    held = {
        job: attempt
        for job, (worker, attempt) in running(place, accepted).items()
        if workers.of(worker) == zombie
    }

    def given_to_others() -> bool:
        now = place.ask("SELECT id, attempt, state FROM jobs WHERE id = ANY(%s)", list(held))
        return all(attempt > held[id] or state not in {"running"} for id, attempt, state in now)

    try:
        place.until(given_to_others, "the jobs of a stopped worker to be given to others", within_s=FOUND_S)
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
def test_after_a_fault_every_document_ends_where_an_undisturbed_run_brings_it(
    fault: Fault, chance: Random, place: Place, workers: Workers, undisturbed: Contents
) -> None:
    accepted = attach(place)
    fault(place, workers, accepted, chance)
    place.until(lambda: leaseless(place) == [], "jobs to be given back", within_s=FOUND_S)
    await_end(place, accepted)
    check(place, accepted, undisturbed)


def test_what_is_cancelled_ends_within_five_seconds_and_the_rest_goes_on(
    chance: Random, place: Place, workers: Workers, undisturbed: Contents
) -> None:
    accepted = attach(place)
    cancelled = chance.sample([one for one in accepted if one.state == "succeeded"], 3)
    for one in cancelled:
        time.sleep(chance.uniform(0, 1.0))
        cancel(place, one)
        await_cancelled(place, one)
    await_end(place, accepted)
    check(place, accepted, undisturbed, cancelled=frozenset(one.file.filename for one in cancelled))


def test_a_cancelled_parse_is_ended_and_not_only_forgotten(
    place: Place, workers: Workers, undisturbed: Contents
) -> None:
    desk = place.desk()
    store = desk.store()
    file = desk.upload("slow.md", SLOW)
    slow = Accepted(store, file, desk.attach(store, file), "cancelled")
    parent, child = parsing(workers)
    cancel(place, slow)
    await_gone([parent, child], within_s=CANCELLED_S)
    await_cancelled(place, slow)
    check(place, [slow], {}, cancelled=frozenset(["slow.md"]))


def test_of_two_jobs_about_one_file_the_last_one_counts(
    chance: Random, place: Place, workers: Workers, undisturbed: Contents
) -> None:
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}
    desk = place.desk()
    data = b"".join(
        f"The gauge of boiler {n} shows more than it should in winter. ".encode() for n in range(120)
    )
    found = []
    for name in ("once", "anew"):
        store = desk.store(name)
        file = desk.upload("manual.txt", data)
        jobs = []
        if name == "anew":
            jobs.append(desk.attach(store, file))
            await_begin(place, jobs[0])
            time.sleep(chance.uniform(0, 1.0))
        jobs.append(desk.attach(store, file, chunking_strategy=strategy))
        accepted = [Accepted(store, file, job, "succeeded") for job in jobs]
        await_end(place, accepted)
        assert place.ask("SELECT state FROM jobs WHERE id = %s", jobs[-1]) == [("succeeded",)]
        found.append(contents(place, accepted))
    same(found[1], found[0])


def at_work(place: Place, workers: Workers, accepted: list[Accepted], share: float) -> psutil.Process:
    """As soon as this share of the jobs has ended: a worker that has one of the others."""
    found: list[psutil.Process] = []

    def busy() -> bool:
        now = states(place, accepted)
        left = now["queued"] + now["running"]
        assert left > 0, "it was over before it could be disturbed"
        if left <= (1 - share) * len(accepted):
            found.extend(
                process
                for worker, _ in running(place, accepted).values()
                if (process := workers.of(worker)) is not None
            )
        return bool(found)

    place.until(busy, "a worker to have a job")
    return found[0]


def cancel(place: Place, one: Accepted) -> Job:
    """As a person would, over HTTP."""
    with place.pool.connection() as connection:
        return queue.cancel(connection, one.store.organisation, one.job)


def await_cancelled(place: Place, one: Accepted) -> None:
    """Return when its job has ended, which must be soon."""
    place.until(
        lambda: not states(place, [one]).keys() & {"queued", "running"},
        "the cancelled job to end",
        within_s=CANCELLED_S,
    )


def await_begin(place: Place, job: str) -> None:
    """Return when somebody is at it."""
    place.until(
        lambda: place.ask("SELECT state FROM jobs WHERE id = %s", job) == [("running",)],
        "the first job to begin",
    )
