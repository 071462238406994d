"""Give back what dead workers held: their jobs are tried again while they have tries left, and are dead letters after.

Called every few seconds by each worker (one of them does it at a time), and by ``python -m cluster.doctor --mend``.

    with connection.transaction():
        rescued = rescue(connection, lease_s=30)

A dead worker's jobs are those whose entry it took from the queue and whose heartbeat is older than the lease. The number of the
job's attempt rises in the transaction that gives it back, so whatever the worker still writes if it was not dead is refused.
"""

from dataclasses import dataclass, field
from typing import Any

import structlog
from psycopg import Connection

from cluster.database.pool import APPLICATION
from cluster.jobs.attempts import end_lost
from cluster.jobs.jobs import Job, PriorityClass, select_jobs, with_columns
from cluster.jobs.queue import TASK, add_turns

log = structlog.get_logger(__name__)

SQL = with_columns("rescue.sql")

#: Of each kind in one call: a call is one transaction.
MOST = 100
#: A gap of this share of a lease between two rounds means that the database took no writes. It is more than the rounds' distance, and
#: less than the age at which a heartbeat counts as old, less the time between two heartbeats.
GAP = 0.75
#: Those that nobody else is at, for as long as the transaction lasts.
LOCKED = "\nLIMIT %(most)s\nFOR UPDATE OF {table} SKIP LOCKED"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescued:
    """What a call did."""

    #: Jobs whose worker was gone, as they are now: queued again, failed or cancelled.
    jobs: list[Job] = field(default_factory=list)
    #: Entries of the queue that a dead worker had taken without beginning a job.
    entries: int = 0
    #: Turns added for jobs that waited without one.
    turns: int = 0

    def __bool__(self) -> bool:
        return bool(self.jobs or self.entries or self.turns)


def rescue(connection: Connection[Any], *, lease_s: float, patient: bool = False) -> Rescued:
    """One round, in the caller's transaction; does nothing while another process is at it.

    Args:
        lease_s: seconds without a heartbeat after which a worker counts as dead.
        patient: for callers that do rounds all the time. When there was no round for most of a lease, the database was
            away or had no room, and workers could not write either. Then no worker counts as dead until another lease is over.
    """
    if connection.execute(SQL["alone"]).fetchone() != (True,):
        return Rescued()
    values = {"lease_s": lease_s, "most": MOST, "task": TASK, "application": APPLICATION}
    for (ended,) in connection.execute(SQL["end_mute"], values).fetchall():
        log.warning("mute_transaction_ended", ended=ended)  # what it held is free in the next round
    if patient and connection.execute(
        SQL["round"], {"lease_s": lease_s, "gap_s": GAP * lease_s}
    ).fetchone() == (True,):
        return Rescued()
    jobs = [
        _give_back(connection, job, lease_s)
        for job in select_jobs(connection, SQL["leaseless"] + LOCKED.format(table="jobs"), values)
    ]
    stale = connection.execute(SQL["stale_entries"] + LOCKED.format(table="entries"), values).fetchall()
    for entry, turn, organisation, priority_class in stale:
        connection.execute(SQL["finish_entry"], {"entry": entry})
        if turn:
            add_turns(connection, organisation, PriorityClass(priority_class))
    turns = 0
    for organisation, priority_class, missing in turnless(connection):
        turns += len(add_turns(connection, organisation, PriorityClass(priority_class), missing))
    rescued = Rescued(jobs=jobs, entries=len(stale), turns=turns)
    if rescued:
        log.warning("rescued", jobs=[job.id for job in jobs], entries=rescued.entries, turns=turns)
    return rescued


def rescue_commands(connection: Connection[Any], *, lease_s: float) -> list[Job]:
    """End the jobs of commands whose process is gone, in the caller's transaction; for commands, which may run where no worker does."""
    if connection.execute(SQL["alone"]).fetchone() != (True,):
        return []
    found = select_jobs(connection, SQL["commands"] + LOCKED.format(table="jobs"), {"most": MOST})
    return [_give_back(connection, job, lease_s) for job in found]


def leaseless(connection: Connection[Any], *, lease_s: float) -> list[Job]:
    """All jobs that a call would give back, of every organisation."""
    return select_jobs(connection, SQL["leaseless"], {"lease_s": lease_s})


def stale_turns(connection: Connection[Any], *, lease_s: float) -> list[tuple[str, int]]:
    """Organisation and entry of the turns that a worker took which is gone, with no job begun."""
    rows = connection.execute(SQL["stale_entries"], {"lease_s": lease_s, "task": TASK}).fetchall()
    return [(organisation, entry) for entry, turn, organisation, _ in rows if turn]


def turnless(connection: Connection[Any]) -> list[tuple[str, str, int]]:
    """Organisation, class, and how many more of its jobs wait than it has turns to come."""
    return connection.execute(SQL["turnless"], {"task": TASK}).fetchall()


def _give_back(connection: Connection[Any], job: Job, lease_s: float) -> Job:
    if job.entry is None:
        return end_lost(
            connection, job, error=f"its process said nothing for {lease_s:g} s; run the command again"
        )
    connection.execute(SQL["finish_entry"], {"entry": job.entry})
    return end_lost(connection, job, error=f"its worker {job.worker} said nothing for {lease_s:g} s")
