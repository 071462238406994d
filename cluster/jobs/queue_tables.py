"""Reads and writes Procrastinate's own tables, through Procrastinate's API if possible and otherwise by SQL.

The other modules of ``cluster.jobs`` and the doctor call these functions and do not access the tables
themselves. Each function runs in the caller's transaction. docs/decisions/023-one-lifecycle-of-jobs.md says
why SQL is needed.

    entry = open_command_entry(connection)
    cancel_requested = heartbeat(connection, entry)     # None: the lease is lost
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from procrastinate import App, SyncPsycopgConnector
from psycopg import Connection
from psycopg.rows import class_row

from cluster.jobs.jobs import SYSTEM, Job, PriorityClass, select_jobs, with_columns

SQL = with_columns("queue_tables.sql")

#: The only task that Procrastinate's workers know: take a turn. The kind of the job is in this project's
#: table ``jobs``, so a worker that does not know a kind can leave the job to a worker of another release.
TAKE_TURN = "take_turn"
#: Name of the queue and of the task of commands' entries. No worker listens to this queue.
COMMAND = "run_command"
#: Queue of the turns of the cluster's own jobs of the class low, which send webhooks. Every worker has a slot
#: for this queue alone, so long jobs of organisations never delay webhooks.
OWN_LOW_QUEUE = f"{PriorityClass.LOW}.{SYSTEM}"
#: Procrastinate takes entries with a higher priority number first. The number is a 32-bit integer, so each of
#: the four classes has a range of 500 million numbers, one for each turn.
CLASS_STEP = 500_000_000
LOCKED = "\nLIMIT %(limit)s\nFOR UPDATE OF {table} SKIP LOCKED"


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleEntry:
    """Describes an entry that a dead process holds and under which no job runs.

    Either no job began under the entry, or the job has ended.
    """

    id: int
    #: True for a turn of an organisation, False for the entry of a command.
    is_turn: bool
    organisation: str | None
    priority_class: str


def add_entries(
    connection: Connection[Any],
    organisation: str,
    priority_class: PriorityClass,
    turns: Sequence[int],
    *,
    concurrency_limit: int | None,
    run_at: datetime | None,
) -> list[int]:
    """Add one queue entry for each turn, and return the ids of the entries.

    Args:
        turns: virtual times of the turns. Turns with lower times are taken first.
        concurrency_limit: maximum number of the organisation's jobs of this class that run at the same time;
            None means no limit.
        run_at: the earliest time at which a worker takes the entries; None means at once.
    """
    # A turn with a lock delays later turns with the same lock, so a turn with a start time gets no lock.
    lock = f"{organisation}/{priority_class}/" if concurrency_limit and run_at is None else None
    deferrer = _app().configure_task(
        TAKE_TURN,
        allow_unknown=True,
        queue=_queue(organisation, priority_class),
        schedule_at=run_at,
        task_kwargs={"organisation": organisation},
        connection=connection,
    )
    entries = [
        deferrer.job.evolve(
            lock=lock and f"{lock}{turn % (concurrency_limit or 1)}",
            priority=priority_class.rank * CLASS_STEP - turn,
            task_kwargs={**deferrer.job.task_kwargs, "turn": turn},
        )
        for turn in turns
    ]
    made = _app().job_manager.batch_defer_jobs(entries, connection=connection)
    return [entry.id for entry in made if entry.id is not None]


def priority_class_of(queue: str) -> PriorityClass:
    """Return the priority class of the turns in the queue."""
    return PriorityClass(queue.partition(".")[0])


def _queue(organisation: str, priority_class: PriorityClass) -> str:
    own = organisation == SYSTEM and priority_class == PriorityClass.LOW
    return OWN_LOW_QUEUE if own else priority_class.value


def request_abort(connection: Connection[Any], entry: int) -> None:
    """Ask the process that holds the entry to end its job."""
    _app().job_manager.cancel_job_by_id(entry, abort=True, connection=connection)


def heartbeat(connection: Connection[Any], entry: int) -> bool | None:
    """Renew the lease of the process that holds the entry.

    Returns:
        True if the end of the job was requested, otherwise False; None if no process holds the entry.
    """
    row = connection.execute(SQL["heartbeat"], {"entry": entry}).fetchone()
    return None if row is None else bool(row[0])


def open_command_entry(connection: Connection[Any]) -> int:
    """Add an entry with a heartbeat, held by the caller's process, and return the id of the entry."""
    row = connection.execute(SQL["open_command_entry"], {"task": COMMAND}).fetchone()
    assert row is not None
    return int(row[0])


def close_command_entry(connection: Connection[Any], entry: int) -> None:
    """Remove a command's entry and its heartbeat."""
    connection.execute(SQL["close_command_entry"], {"entry": entry})


def finish_entry(connection: Connection[Any], entry: int | None) -> None:
    """End an entry that a dead process holds. Do nothing if the entry has ended already."""
    connection.execute(SQL["finish_entry"], {"entry": entry})


def is_beyond_limit(connection: Connection[Any], entry: int, organisation: str) -> bool:
    """True if the organisation has a concurrency limit and the entry does not count against the limit."""
    values = {"entry": entry, "organisation": organisation}
    return connection.execute(SQL["beyond_limit"], values).fetchone() is not None


def live_workers(connection: Connection[Any], *, lease_s: float) -> int:
    """Return the number of groups of slots whose worker sent a heartbeat within the lease."""
    row = connection.execute(SQL["live_workers"], {"lease_s": lease_s, "command": COMMAND}).fetchone()
    return int(row[0]) if row else 0


def lost_jobs(
    connection: Connection[Any], *, lease_s: float, limit: int | None = None, commands_only: bool = False
) -> list[Job]:
    """Return the running jobs, of all organisations, that no living process holds.

    Args:
        lease_s: seconds without a heartbeat after which a process counts as dead.
        limit: maximum number of jobs. The returned jobs are locked until the transaction ends, and jobs that
            another process has locked are left out. None: return all jobs and lock none.
        commands_only: True to leave out the jobs of workers.
    """
    statement = SQL["lost_jobs"] + ("" if limit is None else LOCKED.format(table="jobs"))
    values = {"lease_s": lease_s, "limit": limit, "commands_only": commands_only}
    return select_jobs(connection, statement, values)


def stale_entries(
    connection: Connection[Any], *, lease_s: float, limit: int | None = None
) -> list[StaleEntry]:
    """Return the entries that dead processes hold and under which no job runs.

    ``lease_s`` and ``limit`` have the same meaning as for ``lost_jobs``, with entries instead of jobs.
    """
    statement = SQL["stale_entries"] + ("" if limit is None else LOCKED.format(table="entry"))
    with connection.cursor(row_factory=class_row(StaleEntry)) as cursor:
        values = {"lease_s": lease_s, "limit": limit, "turn": TAKE_TURN}
        return cursor.execute(statement, values).fetchall()


def missing_turns(connection: Connection[Any]) -> list[tuple[str, str, int]]:
    """Find organisations that have more queued jobs in a priority class than turns for these jobs.

    Returns:
        For each organisation and class: the organisation, the priority class, the number of missing turns.
    """
    return connection.execute(SQL["missing_turns"], {"turn": TAKE_TURN}).fetchall()


def delete_ended_entries(connection: Connection[Any], *, older_than_s: float, limit: int) -> int:
    """Delete at most ``limit`` entries that ended more than ``older_than_s`` seconds ago.

    Return the number of deleted entries.
    """
    values = {"older_than_s": older_than_s, "limit": limit}
    return connection.execute(SQL["delete_ended_entries"], values).rowcount


@cache
def _app() -> App:
    """Make Procrastinate's app. It is never opened, because each call passes the caller's connection."""
    return App(connector=SyncPsycopgConnector())
