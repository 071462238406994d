"""Jobs: what was asked for, how far it got, how it ended.

Called by every job at its start, on its way and at its end.

    job = start_job(connection, "default", "ingest", input={"location": "docs/"}, total=20)
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.errors import NotFound

SQL = queries("cluster.ledger", "jobs.sql")


class JobState(StrEnum):
    """Where a job is in its life."""

    #: Accepted, not begun.
    QUEUED = "queued"
    #: Somebody works on it.
    RUNNING = "running"
    #: Ended, and did what was asked; single documents may still have failed, the result says so.
    SUCCEEDED = "succeeded"
    #: Ended without having done it; the error says why.
    FAILED = "failed"
    #: Ended because somebody asked for that.
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job as the ledger has it."""

    organisation: str
    id: str
    kind: str
    state: JobState
    input: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    #: Progress: ``done`` of ``total`` (None while unknown), in ``unit``.
    done: int
    total: int | None
    unit: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


def start_job(connection: Connection[Any], organisation: str, kind: str, *, input: dict[str, Any], total: int | None = None) -> Job:
    """A new job, running from now on."""
    values = {"organisation": organisation, "id": f"job_{uuid4().hex}", "kind": kind, "input": Jsonb(input), "total": total}
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["start"], values).fetchone()
    assert row is not None
    return _job(row)


def record_progress(connection: Connection[Any], organisation: str, id: str, done: int) -> None:
    """So much is done; ignored once the job has ended."""
    connection.execute(SQL["progress"], {"organisation": organisation, "id": id, "done": done})


def finish_job(
    connection: Connection[Any],
    organisation: str,
    id: str,
    state: JobState,
    *,
    result: dict[str, Any] | None = None,
    error: str | None = None,
) -> None:
    """The job has ended; ignored if it had ended before."""
    values = {
        "organisation": organisation,
        "id": id,
        "state": state,
        "result": Jsonb(result) if result is not None else None,
        "error": error,
    }
    connection.execute(SQL["finish"], values)


def get_job(connection: Connection[Any], organisation: str, id: str) -> Job:
    """The organisation's job of this id.

    Raises:
        NotFound: it has none.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], {"organisation": organisation, "id": id}).fetchone()
    if row is None:
        raise NotFound(f"no job {id!r}")
    return _job(row)


def recent_jobs(connection: Connection[Any], organisation: str, *, limit: int = 20) -> list[Job]:
    """The organisation's jobs, newest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_job(row) for row in cursor.execute(SQL["recent"], {"organisation": organisation, "limit": limit})]


def _job(row: dict[str, Any]) -> Job:
    return Job(**{**row, "state": JobState(row["state"])})
