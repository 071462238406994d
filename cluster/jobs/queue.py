"""The queue of durable jobs, for those who ask: accept a job, cancel it, queue a dead letter again.

A job is a row of the ledger; its place in the queue is an entry of Procrastinate's, written in the same transaction.

    with connection.transaction():
        ...                                                            # the rows it is about
        job = submit(connection, "default", INDEX_FILE, {...}, priority_class=PriorityClass.HIGH)

An entry is a *turn* of the organisation in a class: whoever takes it works on the organisation's first job of that class, by
priority and age (``attempts.claim``). Turns are ordered by start-time fair queueing (Goyal, Vin, Cheng 1996,
doi:10.1145/248156.248171): each carries a virtual time, one more than the organisation's turn before or than the turn that was
taken last, so that ten thousand jobs of one organisation stand behind the single job of another. See
docs/decisions/011-turns-in-the-queue.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from procrastinate import App, SyncPsycopgConnector
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.jobs.jobs import (
    CANCELLED,
    CANCELLED_BECAUSE,
    Job,
    JobState,
    PriorityClass,
    as_jobs,
    new_job_id,
    select_jobs,
    with_columns,
)
from cluster.jobs.kinds import JobKind, kind_named

SQL = with_columns("queue.sql")

#: The one task there is in Procrastinate's eyes: take a turn. What a job does is in the ledger, by its kind, so that a worker
#: of another release can tell what it does not know yet, and leaves it to those who do.
TASK = "take_turn"
#: Procrastinate takes entries of a higher number first, its type is a 32-bit integer: four classes, half a thousand million turns each.
CLASS_STEP = 500_000_000
RANKS = {PriorityClass.HIGH: 3, PriorityClass.MEDIUM: 2, PriorityClass.SCHEDULED: 1, PriorityClass.LOW: 0}
DEFAULT_PRIORITY = 5
HIGHEST_PRIORITY = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """A job that a caller asks for."""

    kind: JobKind
    input: dict[str, Any]
    #: Id of the file, store, ... that the job is about.
    subject: str | None = None


def submit(
    connection: Connection[Any],
    organisation: str,
    kind: JobKind,
    input: dict[str, Any],
    *,
    priority_class: PriorityClass | None = None,
    priority: int = DEFAULT_PRIORITY,
    subject: str | None = None,
    attempts: int | None = None,
    run_at: datetime | None = None,
) -> Job:
    """Accept one job, in the caller's transaction.

    Args:
        kind: gives the priority class and the attempts where they are left out.
        priority: 0 to 9; of the organisation's jobs of one class, those of a higher number begin first.
        run_at: the earliest time at which the job begins, with a time zone.

    Raises:
        InvalidInput: a priority outside 0..9.
    """
    request = JobRequest(kind=kind, input=input, subject=subject)
    (job,) = submit_many(
        connection,
        organisation,
        [request],
        priority_class=priority_class or kind.priority_class,
        priority=priority,
        attempts=attempts,
        run_at=run_at,
    )
    return job


def submit_many(
    connection: Connection[Any],
    organisation: str,
    requests: Sequence[JobRequest],
    *,
    priority_class: PriorityClass = PriorityClass.MEDIUM,
    priority: int = DEFAULT_PRIORITY,
    attempts: int | None = None,
    run_at: datetime | None = None,
) -> list[Job]:
    """Accept many jobs of one class, in the caller's transaction; as ``submit`` otherwise."""
    if not 0 <= priority <= HIGHEST_PRIORITY:
        raise InvalidInput(f"priority is {priority}; it must be in 0..{HIGHEST_PRIORITY}", param="priority")
    if not requests:
        return []
    entries = add_turns(connection, organisation, priority_class, len(requests), run_at=run_at)
    values = [
        {
            "organisation": organisation,
            "id": new_job_id(),
            "kind": request.kind.name,
            "input": Jsonb(request.input),
            "subject": request.subject,
            "total": request.kind.total,
            "unit": request.kind.unit,
            "priority_class": priority_class,
            "priority": priority,
            "last_attempt": attempts or request.kind.attempts,
            "retry_at": run_at,
            "entry": entry,
        }
        for request, entry in zip(requests, entries, strict=True)
    ]
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.executemany(SQL["submit"], values, returning=True)
        jobs = as_jobs(row for result in cursor.results() for row in result)
        cursor.executemany(SQL["event"], [_event(job, "queued") for job in jobs])
    return jobs


def add_turns(
    connection: Connection[Any],
    organisation: str,
    priority_class: PriorityClass,
    count: int = 1,
    *,
    run_at: datetime | None = None,
) -> list[int]:
    """Ids of so many new entries of the queue, in the caller's transaction."""
    values = {"organisation": organisation, "priority_class": priority_class, "count": count}
    found = connection.execute(SQL["turns"], values).fetchone()
    if found is None:
        raise NotFound(f"no organisation {organisation!r}")
    last, concurrency_limit = found
    # A turn that waits for its time must not hold up those behind it, as one with a lock would.
    lock = f"{organisation}/{priority_class}/" if concurrency_limit and run_at is None else None
    deferrer = _app().configure_task(
        TASK,
        allow_unknown=True,
        queue=priority_class.value,
        priority=RANKS[priority_class] * CLASS_STEP - last,
        schedule_at=run_at,
        task_kwargs={"organisation": organisation},
        connection=connection,
    )
    first = last - count + 1
    jobs = [
        deferrer.job.evolve(
            lock=lock and f"{lock}{turn % concurrency_limit}",
            priority=RANKS[priority_class] * CLASS_STEP - turn,
            task_kwargs={**deferrer.job.task_kwargs, "turn": turn},
        )
        for turn in range(first, last + 1)
    ]
    made = _app().job_manager.batch_defer_jobs(jobs, connection=connection)
    return [entry.id for entry in made if entry.id is not None]


def cancel(
    connection: Connection[Any],
    organisation: str,
    id: str,
    *,
    reason: str = CANCELLED_BECAUSE,
    code: str = CANCELLED,
) -> Job:
    """End the job: at once while it is queued; while it runs, its worker is told and ends it. One that has ended stays as it is.

    Args:
        reason: a sentence, which the job has as its error when it has ended; where several ask, the first one's.
        code: the same for programs.

    Raises:
        NotFound: the organisation has no such job.
    """
    job = lock_job(connection, organisation, id)
    key = {"organisation": organisation, "id": id, "reason": reason, "code": code}
    if job.state == JobState.QUEUED:
        # Its entry stays: a turn of the organisation, which finds another job, or none.
        (job,) = select_jobs(connection, SQL["cancel_queued"], key)
        record_event(connection, job, "cancelled", {"error": reason, "error_code": code})
    elif job.state == JobState.RUNNING:
        (job,) = select_jobs(connection, SQL["ask_to_cancel"], key)
        if job.entry is not None:
            _app().job_manager.cancel_job_by_id(job.entry, abort=True, connection=connection)
    return job


def cancel_many(
    connection: Connection[Any],
    organisation: str,
    ids: Sequence[str],
    *,
    reason: str = CANCELLED_BECAUSE,
    code: str = CANCELLED,
) -> None:
    """End many jobs for one reason, as ``cancel`` does; ids that are not there are passed over."""
    found = lock_jobs(connection, organisation, ids)
    queued = [job for job in found if job.state == JobState.QUEUED]
    values = {"organisation": organisation, "ids": [job.id for job in queued], "reason": reason, "code": code}
    connection.execute(SQL["cancel_many_queued"], values)
    told = {"error": reason, "error_code": code}
    connection.cursor().executemany(SQL["event"], [_event(job, "cancelled", told) for job in queued])
    for job in found:
        if job.state == JobState.RUNNING:
            cancel(connection, organisation, job.id, reason=reason, code=code)


def replay(connection: Connection[Any], organisation: str, id: str, *, attempts: int | None = None) -> Job:
    """Queue a job that failed or was cancelled again, with its input, under its id, with as many tries as a new one.

    Raises:
        NotFound: the organisation has no such job.
        Conflict: it is queued or runs already, or has succeeded; or a command did it, which no worker can.
    """
    job = lock_job(connection, organisation, id)
    if job.state not in {JobState.FAILED, JobState.CANCELLED}:
        raise Conflict(
            f"job {id} is {job.state}; only a job that failed or was cancelled can be queued again"
        )
    kind = kind_named(job.kind)
    if not kind.retryable:
        raise Conflict(f"job {id} was a command's own; to do it again, run the command again")
    return requeue(connection, job, last_attempt=job.attempt + (attempts or kind.attempts))


def requeue(
    connection: Connection[Any],
    job: Job,
    *,
    last_attempt: int | None = None,
    run_at: datetime | None = None,
    error: str | None = None,
    error_code: str | None = None,
) -> Job:
    """Another try at a job whose row the caller holds locked; nothing that earlier tries still write counts from now on."""
    (entry,) = add_turns(connection, job.organisation, job.priority_class, run_at=run_at)
    values = {
        "organisation": job.organisation,
        "id": job.id,
        "entry": entry,
        "last_attempt": last_attempt or job.last_attempt,
        "retry_at": run_at,
        "error": error,
        "error_code": error_code,
    }
    (queued,) = select_jobs(connection, SQL["requeue"], values)
    record_event(
        connection,
        queued,
        "retrying" if error else "queued",
        {"error": error, "not_before": run_at and run_at.isoformat()},
    )
    return queued


def lock_job(connection: Connection[Any], organisation: str, id: str) -> Job:
    """The job, which nobody else changes until the transaction ends.

    Raises:
        NotFound: the organisation has no such job.
    """
    found = select_jobs(connection, SQL["lock"], {"organisation": organisation, "id": id})
    if not found:
        raise NotFound(f"no job {id!r}")
    return found[0]


def lock_jobs(connection: Connection[Any], organisation: str, ids: Sequence[str]) -> list[Job]:
    """The jobs of these ids that exist, locked until the transaction ends."""
    return select_jobs(connection, SQL["lock_many"], {"organisation": organisation, "ids": list(ids)})


def record_event(
    connection: Connection[Any], job: Job, type: str, data: dict[str, Any] | None = None
) -> None:
    """Something that who follows the job wants to know; with the number of the try, and nothing that is None."""
    connection.execute(SQL["event"], _event(job, type, data))


def _event(job: Job, type: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    said = {
        "attempt": job.attempt,
        **{name: value for name, value in (data or {}).items() if value is not None},
    }
    return {"organisation": job.organisation, "id": job.id, "type": type, "data": Jsonb(said)}


@cache
def _app() -> App:
    """Procrastinate's, for calls on the caller's connections only: it is never opened."""
    return App(connector=SyncPsycopgConnector())
