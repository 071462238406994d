"""The record of a job: what it should do, its state, its progress, its result or error.

``queue`` accepts, cancels and queues jobs again; ``attempts`` works on them, for workers and for commands
alike; ``view`` shows them to people.

    job = get_job(connection, "default", "job_...")
    job.state.ended
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.errors import NotFound

#: Error code of a job: a service such as the model asks for fewer requests.
THROTTLED = "throttled"
#: Error code of a job: a resource such as a disk is used up.
SHORT_OF = "short"
#: Error code and sentence of a job that was cancelled on request.
CANCELLED, CANCELLED_BECAUSE = "cancelled", "its cancellation was requested; it can be queued again"
#: Error code of a job that was cancelled because a later job does its work.
REPLACED = "replaced"
#: Error code of a job that was cancelled because its file or store no longer exists.
GONE = "gone"
#: Error code of a job whose worker, or whose command's process, sent no heartbeat for a whole lease.
WORKER_LOST = "worker_lost"
#: Error code of a job that ended with an exception that no code here foresees; the log has its traceback.
INTERNAL_ERROR = "internal_error"


class JobState(StrEnum):
    """State of a job."""

    #: Accepted. No process works on it: it has not begun, or it waits for its next attempt.
    QUEUED = "queued"
    #: A process works on it.
    RUNNING = "running"
    #: Ended with success. Single documents may still have failed: the result says so.
    SUCCEEDED = "succeeded"
    #: Ended without success: a dead letter. The error says why, and it can be queued again.
    FAILED = "failed"
    #: Ended because its cancellation was requested, or because its subject no longer exists.
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True where no process will work on it, unless it is queued again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class PriorityClass(StrEnum):
    """How urgent a job is. Each class has its own slots in every worker."""

    #: A person waits for it.
    HIGH = "high"
    #: A person will look for it.
    MEDIUM = "medium"
    #: Bulk work.
    LOW = "low"
    #: Submitted by a schedule.
    SCHEDULED = "scheduled"

    @property
    def rank(self) -> int:
        """0 to 3; shared slots take the job of the class with the highest rank."""
        return RANKS[self]


RANKS = {
    PriorityClass.HIGH: 3,
    PriorityClass.MEDIUM: 2,
    PriorityClass.SCHEDULED: 1,
    PriorityClass.LOW: 0,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One row of the table of jobs."""

    organisation: str
    id: str
    #: Name of its kind (``cluster.jobs.kinds``).
    kind: str
    state: JobState
    input: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    error_code: str | None
    #: Progress of the whole job: ``done`` of ``total`` (None while unknown), in ``unit``. ``done`` never
    #: falls within an attempt, and reaches ``total`` when the job succeeds.
    done: int
    total: int | None
    unit: str
    priority_class: PriorityClass
    #: 0 to 9; of the organisation's queued jobs of one class, those with a higher number begin first.
    priority: int
    #: Id of the file, store, ... that the job is about.
    subject: str | None
    #: Number of the current attempt, from 1. Writes of any other attempt are refused.
    attempt: int
    #: Number of the attempt after which the job is a dead letter.
    last_attempt: int
    #: Id of its queue entry. While the job runs, its lease is the heartbeat of the process that holds the
    #: entry.
    entry: int | None
    #: True where a command runs the job in its own process, and no worker does.
    by_command: bool
    #: Name of the process of the current attempt, or of the last one.
    worker: str | None
    #: Name of the current stage, or of the last one.
    stage: str | None
    #: While it runs: what it waits for (see ``view.WAITS_FOR``).
    waits_for: str | None
    #: While it is queued: the earliest time at which it begins. While it runs: when it repeats the stage that
    #: failed.
    retry_at: datetime | None
    #: True once its cancellation was requested. The next two have the reason and its code until the job has
    #: ended.
    cancel_asked: bool
    cancel_reason: str | None
    cancel_code: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The jobs of all organisations that could begin now if there were enough workers, and those that workers
    run.
    """

    jobs: int
    #: Seconds that the oldest of them has waited.
    oldest_s: float
    #: Jobs that workers run.
    running: int


#: The columns that a query selects to make a ``Job``.
COLUMNS = ", ".join(f"jobs.{field.name}" for field in fields(Job))


def with_columns(file: str) -> dict[str, str]:
    """The statements of a file of this folder, in which ``{columns}`` stands for the columns of a ``Job``."""
    return {name: text.replace("{columns}", COLUMNS) for name, text in queries("cluster.jobs", file).items()}


SQL = with_columns("jobs.sql")


def new_job_id() -> str:
    """A new id, which cannot be guessed."""
    return f"job_{uuid4().hex}"


def get_job(connection: Connection[Any], organisation: str, id: str) -> Job:
    """The organisation's job of this id.

    Raises:
        NotFound: the organisation has no such job.
    """
    found = select_jobs(connection, SQL["get"], {"organisation": organisation, "id": id})
    if not found:
        raise NotFound(f"no job {id!r}")
    return found[0]


def read_backlog(connection: Connection[Any]) -> Backlog:
    """The backlog, from which the number of workers follows."""
    row = connection.execute(SQL["backlog_of_all"]).fetchone()
    assert row is not None
    return Backlog(jobs=row[0], oldest_s=row[1], running=row[2])


def select_jobs(connection: Connection[Any], statement: str, values: dict[str, Any]) -> list[Job]:
    """The jobs that a statement which selects ``COLUMNS`` finds."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return as_jobs(cursor.execute(statement, values))


def as_jobs(rows: Iterable[dict[str, Any]]) -> list[Job]:
    """Rows of ``COLUMNS`` as jobs."""
    return [
        Job(
            **{
                **row,
                "state": JobState(row["state"]),
                "priority_class": PriorityClass(row["priority_class"]),
            }
        )
        for row in rows
    ]
