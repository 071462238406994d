"""Defines the record of a job, with the job's input, state, progress, and result or error.

``queue`` accepts jobs, cancels jobs, and queues failed or cancelled jobs again. ``attempts`` begins and ends
attempts at jobs, both for workers and for commands. ``view`` shows jobs to people.

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
from cluster.organisations.caller import current_key
from cluster.tracing import position_of_work

#: Error code of a job whose last attempt failed because a service, such as the model, asked for fewer
#: requests.
THROTTLED = "throttled"
#: A budget of the organisation does not cover the work.
BUDGET_EXCEEDED = "budget_exceeded"
#: Error code of a job whose last attempt failed because a remote provider failed repeatedly.
PROVIDER_UNAVAILABLE = "provider_unavailable"
#: Error code of a job whose last attempt failed because a resource, such as a disk, was used up.
SHORT_OF = "short"
#: Error code of a job that was cancelled on request, and the error of such a job if the request gave no
#: reason.
CANCELLED, CANCELLED_BECAUSE = "cancelled", "its cancellation was requested; it can be queued again"
#: Error code of a job that was cancelled because a later job does its work.
REPLACED = "replaced"
#: Error code of a job that was cancelled because its file or store no longer exists.
GONE = "gone"
#: Error code of a job whose worker, or whose command's process, sent no heartbeat for a whole lease.
WORKER_LOST = "worker_lost"
#: Error code of a job that ended with an unexpected exception. The log has the traceback.
INTERNAL_ERROR = "internal_error"


class JobState(StrEnum):
    """State of a job."""

    #: Accepted. No process works on the job, because it has not begun or waits for its next attempt.
    QUEUED = "queued"
    #: A process works on the job.
    RUNNING = "running"
    #: Ended with success. Single documents may still have failed; the job's result says so.
    SUCCEEDED = "succeeded"
    #: Ended without success, as a dead letter. The job's error says why. The job can be queued again if its
    #: kind permits this (``JobKind.retryable``).
    FAILED = "failed"
    #: Ended because its cancellation was requested, or because its subject no longer exists.
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """True if no process will work on the job, unless the job is queued again."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


#: The organisation that owns the cluster's own jobs and schedules.
SYSTEM = "system"


class PriorityClass(StrEnum):
    """Says how urgent a job is. Each class has its own slots in every worker."""

    #: A person waits for the result now.
    HIGH = "high"
    #: A person will look for the result later.
    MEDIUM = "medium"
    #: Bulk work.
    LOW = "low"
    #: Submitted by a schedule.
    SCHEDULED = "scheduled"

    @property
    def rank(self) -> int:
        """Rank of the class, 0 to 3. Slots that all classes share take jobs of the highest rank first."""
        return RANKS[self]


RANKS = {
    PriorityClass.HIGH: 3,
    PriorityClass.MEDIUM: 2,
    PriorityClass.SCHEDULED: 1,
    PriorityClass.LOW: 0,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """Holds one row of the table of jobs."""

    organisation: str
    id: str
    #: Name of the job's kind (``cluster.jobs.kinds``).
    kind: str
    state: JobState
    input: dict[str, Any]
    result: dict[str, Any] | None
    error: str | None
    error_code: str | None
    #: Number of units of the whole job that are done. It never falls within an attempt, and reaches ``total``
    #: when the job succeeds.
    done: int
    #: Number of units in the whole job; None while unknown.
    total: int | None
    #: What ``done`` and ``total`` count.
    unit: str
    priority_class: PriorityClass
    #: Priority, 0 to 9. Of an organisation's queued jobs of one class, jobs with higher numbers begin first.
    priority: int
    #: Id of the file, store, ... that the job is about.
    subject: str | None
    #: Id of the API key that asked for the job; None if no key of an organisation did.
    key: str | None
    #: Number of the current attempt, from 1. Writes of any other attempt are refused.
    attempt: int
    #: Number of the attempt after which the job is a dead letter.
    last_attempt: int
    #: Id of the job's queue entry. While the job runs, a process holds this entry, and the heartbeats of this
    #: process keep the job's lease.
    entry: int | None
    #: True if a command runs the job in its own process; no worker runs such a job.
    by_command: bool
    #: Name of the process of the current attempt, or of the last attempt.
    worker: str | None
    #: Name of the current stage, or of the last stage.
    stage: str | None
    #: What a running job waits for (see ``view.WAITS_FOR``); None if it does not wait.
    waits_for: str | None
    #: For a queued job: the earliest time at which it may begin; None if it may begin now. For a running job:
    #: the end of its pause (``progress.pause``); None if it does not pause.
    retry_at: datetime | None
    #: Id of the schedule that submitted the job; None if no schedule did.
    schedule: str | None
    #: The time of the schedule for which the job was submitted, such as the end of the hour that a roll-up
    #: computes. None if no schedule submitted it.
    scheduled_for: datetime | None
    #: The window in which the job may begin (``cluster.jobs.schedules.run_window``); None: at any time.
    run_window: dict[str, Any] | None
    #: Position in a trace at which the job was submitted (``cluster.tracing.position_of_work``); None if the
    #: job is older than this column.
    traceparent: str | None
    #: True if the job's cancellation was requested.
    cancel_asked: bool
    #: Reason of the cancellation request, until the job has ended.
    cancel_reason: str | None
    #: Error code that the job gets when it is cancelled as requested. None if no cancellation was requested,
    #: or if the job has ended.
    cancel_code: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """Counts jobs of all organisations that wait only for a free worker, and the jobs that workers run."""

    #: Number of jobs that could begin now if there were enough workers.
    jobs: int
    #: Seconds that the oldest of these jobs has waited.
    oldest_s: float
    #: Number of jobs that workers run.
    running: int


#: The columns that a query must select so that its rows become ``Job`` records.
COLUMNS = ", ".join(f"jobs.{field.name}" for field in fields(Job))


def with_columns(file: str) -> dict[str, str]:
    """Return the SQL statements of a file under this folder, by name.

    ``COLUMNS`` replaces ``{columns}`` in each statement.
    """
    return {name: text.replace("{columns}", COLUMNS) for name, text in queries("cluster.jobs", file).items()}


_FILE = with_columns("jobs.sql")
#: The jobs that wait and run, in one row for each priority class of each organisation.
LINES = _FILE["lines_of_all"]
SQL = {name: text.replace("{lines}", LINES) for name, text in _FILE.items()}


def new_job_id() -> str:
    """Return a new job id, which cannot be guessed."""
    return f"job_{uuid4().hex}"


def submitter() -> dict[str, str | None]:
    """Return the columns of a new job that identify the submitting request: the API key of the request, and
    the position in its trace.
    """
    return {"key": current_key(), "traceparent": position_of_work()}


def get_job(connection: Connection[Any], organisation: str, id: str) -> Job:
    """Return the organisation's job with this id.

    Raises:
        NotFound: the organisation has no such job.
    """
    found = select_jobs(connection, SQL["get"], {"organisation": organisation, "id": id})
    if not found:
        raise NotFound(f"no job {id!r}")
    return found[0]


def read_backlog(connection: Connection[Any]) -> Backlog:
    """Return the present backlog. The number of workers depends on the backlog."""
    row = connection.execute(SQL["backlog_of_all"]).fetchone()
    assert row is not None
    return Backlog(jobs=row[0], oldest_s=row[1], running=row[2])


def select_jobs(connection: Connection[Any], statement: str, values: dict[str, Any]) -> list[Job]:
    """Run a statement that selects ``COLUMNS``, and return its rows as jobs."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return as_jobs(cursor.execute(statement, values))


def as_jobs(rows: Iterable[dict[str, Any]]) -> list[Job]:
    """Convert rows of ``COLUMNS`` to jobs."""
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
