"""The queue of durable jobs: accepts jobs, cancels jobs, and queues failed or cancelled jobs again.

A job is a row of this project's table ``jobs``. Its queue entry is a row of Procrastinate's table
``procrastinate_jobs``. Both rows are written in one transaction.

    with connection.transaction():
        ...                                                            # the rows that the job is about
        job = submit(connection, "default", INDEX_FILE, {...}, priority_class=PriorityClass.HIGH)

A queue entry for workers is a *turn* of an organisation in a priority class. The worker that takes a turn
runs the organisation's first job of that class, by priority and age (``attempts.claim``). Turns are ordered
by start-time fair queueing (Goyal, Vin, Cheng 1996, doi:10.1145/248156.248171). Each turn has a virtual time:
one more than that of the organisation's previous turn in the class, or one more than the highest virtual time
that a worker has taken in the class, whichever is higher. So a single job of one organisation need not wait
for ten thousand jobs of another organisation. See docs/decisions/011-turns-in-the-queue.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.jobs import queue_tables
from cluster.jobs.job_quota import require_room
from cluster.jobs.jobs import (
    CANCELLED,
    CANCELLED_BECAUSE,
    Job,
    JobState,
    PriorityClass,
    as_jobs,
    new_job_id,
    select_jobs,
    submitter,
    with_columns,
)
from cluster.jobs.kinds import kind_named
from cluster.jobs.kinds.job_kind import JobKind

SQL = with_columns("queue.sql")

DEFAULT_PRIORITY, HIGHEST_PRIORITY = 5, 9


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRequest:
    """Describes a job that a caller asks for."""

    kind: JobKind
    input: dict[str, Any]
    #: Id of the file, store, ... that the job is about.
    subject: str | None = None
    #: Number of units of progress in the whole job; None: the kind's ``total``.
    total: int | None = None
    #: Id of the job; None: a new id.
    id: str | None = None


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
    id: str | None = None,
) -> Job:
    """Accept one job, in the caller's transaction.

    Args:
        kind: gives the values of ``priority_class`` and ``attempts`` if these arguments are None.
        priority: 0 to 9; of an organisation's queued jobs in a class, the highest number begins first.
        run_at: the earliest time at which the job begins, with a time zone.
        id: id of the job; None: a new id.

    Raises:
        InvalidInput: ``priority`` is not in 0..9.
        NotFound: there is no such organisation.
    """
    (job,) = submit_many(
        connection,
        organisation,
        [JobRequest(kind=kind, input=input, subject=subject, id=id)],
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
    """Accept many jobs of one priority class in the caller's transaction.

    ``submit`` describes the other arguments and the errors.
    """
    if not 0 <= priority <= HIGHEST_PRIORITY:
        raise InvalidInput(f"priority is {priority}; it must be in 0..{HIGHEST_PRIORITY}", param="priority")
    if not requests:
        return []
    require_room(connection, organisation, len(requests))
    entries = add_turns(connection, organisation, priority_class, len(requests), run_at=run_at)
    common = {
        "organisation": organisation,
        "priority_class": priority_class,
        "priority": priority,
        "retry_at": run_at,
        "by_command": False,
    }
    return _insert(
        connection,
        [
            {**common, **_values(request, attempts), "entry": entry}
            for request, entry in zip(requests, entries, strict=True)
        ],
    )


def submit_for_command(
    connection: Connection[Any], organisation: str, request: JobRequest, *, entry: int
) -> Job:
    """Accept, in the caller's transaction, a job that the caller's process runs itself.

    Args:
        entry: a queue entry that the process already holds (``queue_tables.open_command_entry``).
    """
    values = {
        "organisation": organisation,
        "priority_class": request.kind.priority_class,
        "priority": DEFAULT_PRIORITY,
        "retry_at": None,
        "by_command": True,
        "entry": entry,
    }
    (job,) = _insert(connection, [{**values, **_values(request, None)}])
    return job


def _values(request: JobRequest, attempts: int | None) -> dict[str, Any]:
    kind = request.kind
    return {
        "id": request.id or new_job_id(),
        "kind": kind.name,
        "input": Jsonb(request.input),
        "subject": request.subject,
        "total": kind.total if request.total is None else request.total,
        "unit": kind.unit,
        "last_attempt": attempts or kind.attempts,
    }


def _insert(connection: Connection[Any], rows: Sequence[dict[str, Any]]) -> list[Job]:
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.executemany(SQL["submit"], [{**row, **submitter()} for row in rows], returning=True)
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
    """Add ``count`` queue entries for the organisation in the caller's transaction. Return the entries' ids.

    Raises:
        NotFound: there is no such organisation.
    """
    values = {"organisation": organisation, "priority_class": priority_class, "count": count}
    found = connection.execute(SQL["turns"], values).fetchone()
    if found is None:
        raise NotFound(f"no organisation {organisation!r}")
    last, concurrency_limit = found
    turns = range(last - count + 1, last + 1)
    return queue_tables.add_entries(
        connection, organisation, priority_class, turns, concurrency_limit=concurrency_limit, run_at=run_at
    )


def cancel(
    connection: Connection[Any],
    organisation: str,
    id: str,
    *,
    reason: str = CANCELLED_BECAUSE,
    code: str = CANCELLED,
) -> Job:
    """Cancel the job.

    A queued job ends at once. A running job ends when its process reads the request. A job that has ended
    does not change.

    Args:
        reason: a sentence, which becomes the error of the job. A later request does not replace this
            sentence.
        code: the error code of the job.

    Raises:
        NotFound: the organisation has no such job.
    """
    job = lock_job(connection, organisation, id)
    key = {"organisation": organisation, "id": id, "reason": reason, "code": code}
    if job.state == JobState.QUEUED:
        # The entry stays, because it is a turn: a worker can use this turn for another job.
        (job,) = select_jobs(connection, SQL["cancel_queued"], key)
        record_event(connection, job, "cancelled", {"error": reason, "error_code": code})
    elif job.state == JobState.RUNNING:
        (job,) = select_jobs(connection, SQL["ask_to_cancel"], key)
        if job.entry is not None:
            queue_tables.request_abort(connection, job.entry)
    return job


def cancel_many(
    connection: Connection[Any],
    organisation: str,
    ids: Sequence[str],
    *,
    reason: str = CANCELLED_BECAUSE,
    code: str = CANCELLED,
) -> None:
    """Cancel many jobs for one reason, as ``cancel`` does. Ids that belong to no job are ignored."""
    found = lock_jobs(connection, organisation, ids)
    queued = [job for job in found if job.state == JobState.QUEUED]
    values = {"organisation": organisation, "ids": [job.id for job in queued], "reason": reason, "code": code}
    connection.execute(SQL["cancel_many_queued"], values)
    data = {"error": reason, "error_code": code}
    connection.cursor().executemany(SQL["event"], [_event(job, "cancelled", data) for job in queued])
    for job in found:
        if job.state == JobState.RUNNING:
            cancel(connection, organisation, job.id, reason=reason, code=code)


def replay(connection: Connection[Any], organisation: str, id: str, *, attempts: int | None = None) -> Job:
    """Queue again a job that failed or was cancelled. The job keeps its id and input.

    Args:
        attempts: maximum number of further attempts; None: as many as a new job of this kind has.

    Raises:
        NotFound: the organisation has no such job.
        Conflict: the job is queued, runs or has succeeded; or jobs of its kind cannot be queued again.
    """
    job = lock_job(connection, organisation, id)
    if job.state not in {JobState.FAILED, JobState.CANCELLED}:
        raise Conflict(
            f"job {id} is {job.state}; only a job that failed or was cancelled can be queued again"
        )
    kind = kind_named(job.kind)
    if not kind.retryable:
        raise Conflict(f"job {id} of kind {job.kind} cannot be queued again: {kind.remedy}")
    require_room(connection, organisation, 1)
    return requeue(connection, job, last_attempt=job.attempt + (attempts or kind.attempts))


def requeue(
    connection: Connection[Any],
    job: Job,
    *,
    last_attempt: int | None = None,
    run_at: datetime | None = None,
    error: str | None = None,
    error_code: str | None = None,
    command_entry: int | None = None,
) -> Job:
    """Queue another attempt at a job whose row the caller has locked. From now on, writes of earlier attempts
    are refused.

    Args:
        command_entry: the entry that a command's process holds, if that process makes the attempt; None: the
            job gets a new turn.
    """
    if command_entry is None:
        (entry,) = add_turns(connection, job.organisation, job.priority_class, run_at=run_at)
    else:
        entry = command_entry
    values = {
        "organisation": job.organisation,
        "id": job.id,
        "entry": entry,
        "by_command": command_entry is not None,
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
    """Lock the job until the transaction ends, and return the job.

    Raises:
        NotFound: the organisation has no such job.
    """
    found = select_jobs(connection, SQL["lock"], {"organisation": organisation, "id": id})
    if not found:
        raise NotFound(f"no job {id!r}")
    return found[0]


def lock_jobs(connection: Connection[Any], organisation: str, ids: Sequence[str]) -> list[Job]:
    """Lock the organisation's jobs with these ids until the transaction ends. Return the jobs that exist."""
    return select_jobs(connection, SQL["lock_many"], {"organisation": organisation, "ids": list(ids)})


def record_event(
    connection: Connection[Any], job: Job, type: str, data: dict[str, Any] | None = None
) -> None:
    """Write an event for listeners that follow the job. The stored data also has the number of the attempt,
    and has no fields that are None.
    """
    connection.execute(SQL["event"], _event(job, type, data))


def _event(job: Job, type: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
    fields = {
        "attempt": job.attempt,
        **{name: value for name, value in (data or {}).items() if value is not None},
    }
    return {"organisation": job.organisation, "id": job.id, "type": type, "data": Jsonb(fields)}
