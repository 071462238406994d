"""The one module that reads and writes Procrastinate's own tables, through its API where that suffices and by
SQL where not.

Called by the other modules of ``cluster.jobs`` and by the doctor. Each function runs in the caller's
transaction. Why SQL is needed at all is in docs/decisions/023-one-lifecycle-of-jobs.md.

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

from cluster.jobs.jobs import Job, PriorityClass, select_jobs, with_columns

SQL = with_columns("queue_tables.sql")

#: The only task that Procrastinate's workers know: take a turn. Which kind of job it leads to stands in our
#: own rows, so that a worker of another release can leave a kind that it does not know to others.
TAKE_TURN = "take_turn"
#: Queue and task of the entries of commands. No worker listens to this queue.
COMMAND = "run_command"
#: Procrastinate takes entries with a higher number first. Its type is a 32-bit integer, so each of the four
#: classes has half a thousand million turns.
CLASS_STEP = 500_000_000
LOCKED = "\nLIMIT %(limit)s\nFOR UPDATE OF {table} SKIP LOCKED"


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleEntry:
    """An entry that a dead worker took without beginning a job, or whose job has ended since."""

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
        turns: virtual times of the turns; lower ones are taken first.
        concurrency_limit: the organisation's limit for this class; None means no limit.
        run_at: the earliest time at which a worker takes the entries.
    """
    # A turn with a start time must not delay the turns behind it, as one with a lock would.
    lock = f"{organisation}/{priority_class}/" if concurrency_limit and run_at is None else None
    deferrer = _app().configure_task(
        TAKE_TURN,
        allow_unknown=True,
        queue=priority_class.value,
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


def request_abort(connection: Connection[Any], entry: int) -> None:
    """Tell the process that holds the entry to end its job."""
    _app().job_manager.cancel_job_by_id(entry, abort=True, connection=connection)


def heartbeat(connection: Connection[Any], entry: int) -> bool | None:
    """Renew the lease of the process that holds the entry.

    Returns:
        True where the end of its job was requested; None where the process holds the entry no more.
    """
    row = connection.execute(SQL["heartbeat"], {"entry": entry}).fetchone()
    return None if row is None else bool(row[0])


def open_command_entry(connection: Connection[Any]) -> int:
    """Id of a new entry that the caller's process holds, with a heartbeat of its own."""
    row = connection.execute(SQL["open_command_entry"], {"task": COMMAND}).fetchone()
    assert row is not None
    return int(row[0])


def close_command_entry(connection: Connection[Any], entry: int) -> None:
    """Remove a command's entry and its heartbeat."""
    connection.execute(SQL["close_command_entry"], {"entry": entry})


def finish_entry(connection: Connection[Any], entry: int | None) -> None:
    """End an entry that a dead worker holds."""
    connection.execute(SQL["finish_entry"], {"entry": entry})


def is_beyond_limit(connection: Connection[Any], entry: int, organisation: str) -> bool:
    """True where the entry does not count against the concurrency limit that its organisation has."""
    values = {"entry": entry, "organisation": organisation}
    return connection.execute(SQL["beyond_limit"], values).fetchone() is not None


def live_workers(connection: Connection[Any], *, lease_s: float) -> int:
    """Number of groups of slots whose worker sent a heartbeat within the lease."""
    row = connection.execute(SQL["live_workers"], {"lease_s": lease_s, "command": COMMAND}).fetchone()
    return int(row[0]) if row else 0


def lost_jobs(
    connection: Connection[Any], *, lease_s: float, limit: int | None = None, commands_only: bool = False
) -> list[Job]:
    """Running jobs of all organisations that no living process holds.

    Args:
        lease_s: seconds without a heartbeat after which a process counts as dead.
        limit: at most so many, locked until the transaction ends, without those that another process has
            locked; None: all,
            and none of them locked.
        commands_only: leave the jobs of workers out.
    """
    statement = SQL["lost_jobs"] + ("" if limit is None else LOCKED.format(table="jobs"))
    values = {"lease_s": lease_s, "limit": limit, "commands_only": commands_only}
    return select_jobs(connection, statement, values)


def stale_entries(
    connection: Connection[Any], *, lease_s: float, limit: int | None = None
) -> list[StaleEntry]:
    """Entries that dead processes hold and under which no job runs; ``limit`` as for ``lost_jobs``."""
    statement = SQL["stale_entries"] + ("" if limit is None else LOCKED.format(table="entry"))
    with connection.cursor(row_factory=class_row(StaleEntry)) as cursor:
        values = {"lease_s": lease_s, "limit": limit, "turn": TAKE_TURN}
        return cursor.execute(statement, values).fetchall()


def missing_turns(connection: Connection[Any]) -> list[tuple[str, str, int]]:
    """Organisation, priority class, and how many more of its jobs are queued than it has turns to come."""
    return connection.execute(SQL["missing_turns"], {"turn": TAKE_TURN}).fetchall()


def delete_ended_entries(connection: Connection[Any], *, older_than_s: float, limit: int) -> int:
    """Delete at most so many entries that ended that long ago; how many there were."""
    values = {"older_than_s": older_than_s, "limit": limit}
    return connection.execute(SQL["delete_ended_entries"], values).rowcount


@cache
def _app() -> App:
    """Procrastinate's, used with the callers' connections only: it is never opened."""
    return App(connector=SyncPsycopgConnector())
