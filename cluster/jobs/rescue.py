"""Rescues the jobs of dead processes: queues a job again if attempts remain, and otherwise makes it a dead
letter. A job whose cancellation was requested is cancelled.

Each worker calls ``rescue`` every few seconds. ``python -m cluster.doctor --mend`` calls this
function, too. One call is a round, and only one process at a time does a round.

    with connection.transaction():
        rescued = rescue(connection, lease_s=30)

A process counts as dead when its heartbeat is older than the lease. The jobs of a process are the jobs whose
queue entries it holds. After a rescue, the attempt of the dead process is no longer the current one. So if
the process was not really dead, its later writes are refused.
"""

from dataclasses import dataclass, field
from typing import Any

import structlog
from psycopg import Connection

from cluster.database.pool import APPLICATION
from cluster.database.queries import queries
from cluster.database.scoped_connection import owner_within
from cluster.jobs import queue_tables
from cluster.jobs.attempts import end_lost
from cluster.jobs.jobs import Job, PriorityClass
from cluster.jobs.queue import add_turns

log = structlog.get_logger(__name__)

SQL = queries("cluster.jobs", "rescue.sql")

#: Maximum number of jobs, and maximum number of entries, that one round rescues. There is a limit because a
#: round is one transaction.
ROUND_LIMIT = 100
#: If the time between two rounds is longer than this share of a lease, ``rescue`` assumes that the database
#: took no writes. This time is longer than the interval between rounds, and shorter than a lease minus the
#: interval between heartbeats.
GAP = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class Rescued:
    """Lists and counts what one round changed."""

    #: Jobs of dead processes, after the rescue: queued again, failed or cancelled.
    jobs: list[Job] = field(default_factory=list)
    #: Number of entries that a dead process held and under which no job ran. The round ended these entries.
    entries: int = 0
    #: Number of turns added for queued jobs that had no turn.
    turns: int = 0

    def __bool__(self) -> bool:
        return bool(self.jobs or self.entries or self.turns)


def rescue(connection: Connection[Any], *, lease_s: float, patient: bool = False) -> Rescued:
    """Do one round in the caller's transaction. Do nothing while another process does a round.

    Args:
        lease_s: seconds without a heartbeat after which a process counts as dead.
        patient: True for callers that do rounds all the time. If no round was done for most of a lease, the
            database did not answer or had no room, so workers could not send heartbeats either. Then no
            process counts as dead until another lease has passed.
    """
    if not _alone(connection):
        return Rescued()
    values = {"lease_s": lease_s, "application": APPLICATION}
    with owner_within(connection):  # only the log-in role may see and end the sessions of other processes
        silent = connection.execute(SQL["end_silent_transactions"], values).fetchall()
    for (ended,) in silent:
        log.warning("silent_transaction_ended", ended=ended)  # the next round can lock its rows
    if patient and connection.execute(
        SQL["round"], {"lease_s": lease_s, "gap_s": GAP * lease_s}
    ).fetchone() == (True,):
        return Rescued()
    jobs = [
        _give_back(connection, job, lease_s)
        for job in queue_tables.lost_jobs(connection, lease_s=lease_s, limit=ROUND_LIMIT)
    ]
    stale = queue_tables.stale_entries(connection, lease_s=lease_s, limit=ROUND_LIMIT)
    for entry in stale:
        queue_tables.finish_entry(connection, entry.id)
        if entry.is_turn and entry.organisation is not None:
            add_turns(connection, entry.organisation, PriorityClass(entry.priority_class))
    turns = 0
    for organisation, priority_class, missing in queue_tables.missing_turns(connection):
        turns += len(add_turns(connection, organisation, PriorityClass(priority_class), missing))
    rescued = Rescued(jobs=jobs, entries=len(stale), turns=turns)
    if rescued:
        log.warning("rescued", jobs=[job.id for job in jobs], entries=rescued.entries, turns=turns)
    return rescued


def rescue_commands(connection: Connection[Any], *, lease_s: float) -> list[Job]:
    """End the jobs of commands whose process is dead, in the caller's transaction. Return these jobs.

    Do nothing while another process does a round. Commands call this function when they begin, because a
    command may run on an installation without workers.
    """
    if not _alone(connection):
        return []
    lost = queue_tables.lost_jobs(connection, lease_s=lease_s, limit=ROUND_LIMIT, commands_only=True)
    return [_give_back(connection, job, lease_s) for job in lost]


def _alone(connection: Connection[Any]) -> bool:
    return connection.execute(SQL["alone"]).fetchone() == (True,)


def _give_back(connection: Connection[Any], job: Job, lease_s: float) -> Job:
    queue_tables.finish_entry(connection, job.entry)
    process = "the command" if job.by_command else "its worker"
    return end_lost(connection, job, error=f"{process} {job.worker} sent no heartbeat for {lease_s:g} s")
