"""Read what Postgres knows about a job: its events, attempts and stages, as log entries.

The command ``cluster.local.job_logs`` calls ``read_history``. An operator runs this command, so
``read_history`` finds the jobs of all organisations.

    job = read_history(connection, "job_...")
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.local.job_logs.log_entries import LogEntry
from cluster.tracing import TraceContext

SQL = queries("cluster.local.job_logs", "job_history.sql")
#: The entries from the database have this text in place of the name of a process.
DATABASE = "database"
#: Type of the events about progress. A running job writes about two of these events a second.
PROGRESS = "progress"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobHistory:
    """What the database knows about a job."""

    organisation: str
    kind: str
    state: str
    #: Id of the trace; None for jobs of older releases.
    trace_id: str | None
    entries: Sequence[LogEntry]


def read_history(connection: Connection[Any], job: str, *, progress: bool = False) -> JobHistory | None:
    """Return the history of a job of any organisation; None if the database has no such job.

    Args:
        progress: True to include the events about progress.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(SQL["job_of_all"], {"id": job}).fetchone()
        if found is None:
            return None
        key = {"organisation": found["organisation"], "id": job, "left_out": None if progress else PROGRESS}
        entries = [*_events(cursor.execute(SQL["events"], key).fetchall())]
        entries += _ends(cursor.execute(SQL["ends"], key).fetchall())
    trace = TraceContext.of_work(found["traceparent"])
    return JobHistory(
        organisation=found["organisation"],
        kind=found["kind"],
        state=found["state"],
        trace_id=None if trace is None else trace.trace_id,
        entries=entries,
    )


def _events(rows: Sequence[dict[str, Any]]) -> Iterator[LogEntry]:
    for row in rows:
        level = "error" if row["type"] == "failed" else "info"
        yield LogEntry(
            at=row["at"], process=DATABASE, level=level, event=f"job {row['type']}", fields=row["data"]
        )


def _ends(rows: Sequence[dict[str, Any]]) -> Iterator[LogEntry]:
    for row in rows:
        fields = {name: row[name] for name in ("stage", "attempt", "worker", "outcome", "error") if row[name]}
        level = "warning" if row["error"] else "info"
        yield LogEntry(
            at=row["at"], process=DATABASE, level=level, event=f"{row['what']} ended", fields=fields
        )
