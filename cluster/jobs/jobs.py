"""Jobs: what was asked for, how far it got, how it ended.

Called by every job that runs in the process that asks for it, at its start, on its way and at its end. Jobs that others work
on go through ``queue`` (who asks) and ``attempts`` (who works).

    job = start_job(connection, "default", "ingest", input={"location": "docs/"}, total=20, lease_s=30)
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.errors import NotFound

#: Code of an error: whoever was asked, such as the model, wants to be asked less.
THROTTLED = "throttled"
#: Code of an error: a resource such as a disk is used up.
SHORT_OF = "short"
#: Code and sentence of a job that was cancelled on request.
CANCELLED, CANCELLED_BECAUSE = "cancelled", "its end was asked for; it can be queued again"
#: Code of a job that was cancelled because another one does its work now.
REPLACED = "replaced"
#: Code of a job that was cancelled because what it was about is gone.
GONE = "gone"


class JobState(StrEnum):
    """Where a job is in its life."""

    #: Accepted; nobody works on it, because it has not begun or because it is to be tried again.
    QUEUED = "queued"
    #: Somebody works on it.
    RUNNING = "running"
    #: Ended, and did what was asked; single documents may still have failed, the result says so.
    SUCCEEDED = "succeeded"
    #: A dead letter: ended without having done it; the error says why, and it can be queued again.
    FAILED = "failed"
    #: Ended because somebody asked for that.
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True where nobody will work on it, unless somebody asks again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class PriorityClass(StrEnum):
    """How urgent a job is."""

    #: A person waits for it.
    HIGH = "high"
    #: A person will look for it.
    MEDIUM = "medium"
    #: Bulk.
    LOW = "low"
    #: Asked for by a schedule.
    SCHEDULED = "scheduled"


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
    error_code: str | None
    #: Progress of the whole job: ``done`` of ``total`` (None while unknown), in ``unit``. ``done`` never falls within an attempt, and
    #: reaches ``total`` when the job succeeds.
    done: int
    total: int | None
    unit: str
    priority_class: PriorityClass
    #: 0 to 9: its place among the organisation's jobs of the class; higher goes first.
    priority: int
    #: Id of the file, store, ... it is about.
    subject: str | None
    #: Number of the try that counts, from 1; what any other try writes is refused.
    attempt: int
    #: The try after which it is a dead letter.
    last_attempt: int
    #: Its entry in the queue, which also is its lease while it runs; None for a job that was never queued.
    entry: int | None
    worker: str | None
    #: What it does now, or did last.
    stage: str | None
    #: While it runs: what it waits for (see ``job_view.WAITS_FOR``).
    waits_for: str | None
    #: While it is queued: when it may begin. While it runs: when it tries again what failed.
    retry_at: datetime | None
    #: True once its end was asked for; the reason and its code are the next two, until the job has ended.
    cancel_asked: bool
    cancel_reason: str | None
    cancel_code: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What waits in the queue, of all organisations, and could begin now if there were workers enough; and what workers do now."""

    jobs: int
    #: Seconds that the oldest of them has waited.
    oldest_s: float
    #: Jobs that a worker has.
    running: int


#: What a query selects to make a ``Job``.
COLUMNS = ", ".join(
    "jobs.class AS priority_class" if field.name == "priority_class" else f"jobs.{field.name}"
    for field in fields(Job)
)


def with_columns(file: str) -> dict[str, str]:
    """The statements of a file of this folder, ``{columns}`` in them replaced by those of a ``Job``."""
    return {name: text.replace("{columns}", COLUMNS) for name, text in queries("cluster.jobs", file).items()}


SQL = with_columns("jobs.sql")


def new_job_id() -> str:
    """Nobody can guess it."""
    return f"job_{uuid4().hex}"


def start_job(
    connection: Connection[Any],
    organisation: str,
    kind: str,
    *,
    input: dict[str, Any],
    lease_s: float,
    total: int | None = None,
) -> Job:
    """A new job, running from now on in the caller's process, which counts as dead when it does not ``keep_job`` within the lease."""
    values = {
        "organisation": organisation,
        "id": new_job_id(),
        "kind": kind,
        "input": Jsonb(input),
        "total": total,
        "lease_s": lease_s,
    }
    (job,) = select_jobs(connection, SQL["start"], values)
    return job


def keep_job(connection: Connection[Any], organisation: str, id: str, *, lease_s: float) -> bool:
    """The process that started the job lives; whether somebody wants the job to end."""
    row = connection.execute(
        SQL["keep"], {"organisation": organisation, "id": id, "lease_s": lease_s}
    ).fetchone()
    return row is not None and bool(row[0])


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
    error_code: str | None = None,
) -> Job | None:
    """The job has ended; ignored (None) if it had ended before, other than by being taken for dead."""
    values = {
        "organisation": organisation,
        "id": id,
        "state": state,
        "result": Jsonb(result) if result is not None else None,
        "error": error,
        "error_code": error_code,
    }
    found = select_jobs(connection, SQL["finish"], values)
    return found[0] if found else None


def get_job(connection: Connection[Any], organisation: str, id: str) -> Job:
    """The organisation's job of this id.

    Raises:
        NotFound: it has none.
    """
    found = select_jobs(connection, SQL["get"], {"organisation": organisation, "id": id})
    if not found:
        raise NotFound(f"no job {id!r}")
    return found[0]


def recent_jobs(connection: Connection[Any], organisation: str, *, limit: int = 20) -> list[Job]:
    """The organisation's jobs, newest first."""
    return select_jobs(connection, SQL["recent"], {"organisation": organisation, "limit": limit})


def waiting(connection: Connection[Any]) -> Waiting:
    """For whoever decides how many workers there should be."""
    row = connection.execute(SQL["waiting_of_all"]).fetchone()
    assert row is not None
    return Waiting(jobs=row[0], oldest_s=row[1], running=row[2])


def select_jobs(connection: Connection[Any], statement: str, values: dict[str, Any]) -> list[Job]:
    """The jobs that a statement which selects ``COLUMNS`` gives."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return as_jobs(cursor.execute(statement, values))


def as_jobs(rows: Iterable[dict[str, Any]]) -> list[Job]:
    """Rows of ``COLUMNS`` as jobs."""
    return [
        Job(
            **{**row, "state": JobState(row["state"]), "priority_class": PriorityClass(row["priority_class"])}
        )
        for row in rows
    ]
