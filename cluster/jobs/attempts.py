"""Functions for a process that runs jobs: begin an attempt at a job, hold the attempt, end it.

Workers and commands use the same functions. A worker takes a turn, and claims a job of the turn's
organisation. A command begins a new job and runs this job itself.

    job = claim(connection, turn, worker="...", kinds={"index_file"})
    job = begin_command(connection, "default", JobRequest(kind=INGEST, input={...}), worker="...")

    with connection.transaction():
        hold(connection, job)
        ...                                      # the effects of the job
        finish(connection, job, result={...})

``progress`` records the progress of an attempt. A write succeeds only if the job still runs and its current
attempt is the caller's. If a worker was stopped for a while and its job was given to another worker, the next
write of the stopped worker raises ``LeaseLost``, and its transaction is rolled back.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.errors import LeaseLost
from cluster.jobs import queue_tables
from cluster.jobs.jobs import (
    CANCELLED,
    CANCELLED_BECAUSE,
    WORKER_LOST,
    Job,
    JobState,
    PriorityClass,
    select_jobs,
    with_columns,
)
from cluster.jobs.kinds import kind_named
from cluster.jobs.queue import JobRequest, add_turns, lock_job, record_event, requeue, submit_for_command
from cluster.jobs.schedules.run_window import RunWindow
from cluster.jobs.schedules.windowed_jobs import postpone

SQL = with_columns("attempts.sql")

AttemptOutcome = Literal["succeeded", "failed", "cancelled", "retried", "lost"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """Describes a queue entry that a worker took, and the organisation and class whose job it runs."""

    #: Id of the entry.
    entry: int
    organisation: str
    priority_class: PriorityClass
    #: Virtual time of the entry (see ``queue``).
    turn: int


def claim(
    connection: Connection[Any], turn: Turn, *, worker: str, kinds: Collection[str], suspects: bool = True
) -> Job | None:
    """Begin the first queued job of the turn's organisation and class; return None if no job may begin.

    The worker's heartbeat is refreshed first, so the attempt begins with a whole lease even if the worker was
    stopped for a while. If the worker no longer holds the turn, no job begins, because a job without a
    live entry would count as lost at once and would waste an attempt. Jobs whose window is closed are
    postponed until the window opens.

    Args:
        kinds: names of the kinds of job that the worker knows.
        suspects: True to claim also jobs whose worker died during an earlier attempt.
    """
    if queue_tables.heartbeat(connection, turn.entry) is None:
        return None
    values = {**_line(turn, kinds), "turn": turn.turn, "suspects": suspects}
    connection.execute(SQL["take_turn"], values)
    while (found := connection.execute(SQL["next"], values).fetchone()) is not None:
        id, window, now = found
        if window is None or (opens := RunWindow.of(window).opening(now)) <= now:
            return _begin(connection, turn.organisation, id, entry=turn.entry, worker=worker)
        postpone(connection, turn.organisation, turn.priority_class, window, opens)
    return None


def begin_command(connection: Connection[Any], organisation: str, request: JobRequest, *, worker: str) -> Job:
    """Begin a new job that the caller's process runs itself.

    The process renews its lease with ``queue_tables.heartbeat``, as a worker does. After the job has
    ended, the process removes the queue entry and the heartbeat with ``queue_tables.close_command_entry``.

    Args:
        worker: name of the process.
    """
    entry = queue_tables.open_command_entry(connection)
    job = submit_for_command(connection, organisation, request, entry=entry)
    return _begin(connection, organisation, job.id, entry=entry, worker=worker)


def begin_command_again(connection: Connection[Any], job: Job) -> Job:
    """Begin another attempt at a command's job that was marked as lost although its process is still alive,
    for example after a laptop's sleep.

    Raises:
        LeaseLost: the job was not marked as lost, or it has a newer attempt.
    """
    current = lock_job(connection, job.organisation, job.id)
    if (current.state, current.error_code, current.attempt) != (JobState.FAILED, WORKER_LOST, job.attempt):
        raise lease_lost(job)
    assert job.entry is not None
    queue_tables.close_command_entry(connection, job.entry)
    entry = queue_tables.open_command_entry(connection)
    requeue(connection, current, last_attempt=current.last_attempt + 1, command_entry=entry)
    return _begin(connection, job.organisation, job.id, entry=entry, worker=job.worker or "")


def return_to_line(connection: Connection[Any], turn: Turn) -> bool:
    """Add a new turn if this turn does not count against the organisation's concurrency limit.

    Turns with a start time do not count (see ``queue_tables.add_entries``). The new turn has no start time,
    so it counts.

    Returns:
        True if a new turn was added; the caller must then begin no job with the old turn.
    """
    if not queue_tables.is_beyond_limit(connection, turn.entry, turn.organisation):
        return False
    add_turns(connection, turn.organisation, turn.priority_class)
    return True


def has_unknown_kinds(connection: Connection[Any], turn: Turn, *, kinds: Collection[str]) -> bool:
    """True if a queued job of the turn's organisation and class has a kind that this worker does not know. A
    worker of another release must run such a job.
    """
    return connection.execute(SQL["unknown_kind_waits"], _line(turn, kinds)).fetchone() is not None


def has_suspects(connection: Connection[Any], turn: Turn, *, kinds: Collection[str]) -> bool:
    """True if a worker died during an earlier attempt at a queued job of the turn's organisation and
    class.
    """
    return connection.execute(SQL["suspect_waits"], _line(turn, kinds)).fetchone() is not None


def is_suspect(connection: Connection[Any], job: Job) -> bool:
    """True if a worker of the job died during an earlier attempt."""
    return job.attempt > 1 and connection.execute(SQL["is_suspect"], attempt_key(job)).fetchone() is not None


def hold(connection: Connection[Any], job: Job) -> Job:
    """Lock the job until the transaction ends, so that no other attempt begins. Return the job as it is now.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    found = select_jobs(connection, SQL["hold"], attempt_key(job))
    if not found:
        raise lease_lost(job)
    return found[0]


def finish(connection: Connection[Any], job: Job, *, result: dict[str, Any] | None) -> Job:
    """End the job with success. Call this function in the transaction that writes the job's effects, so that
    the end and the effects are committed together.

    Args:
        result: has the fields that the job's kind lists (``JobKind.result``).

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    return _end(connection, job, JobState.SUCCEEDED, result=result)


def fail(
    connection: Connection[Any], job: Job, error: str, *, code: str, result: dict[str, Any] | None = None
) -> Job:
    """End the job as a dead letter.

    Args:
        error: a sentence for people.
        code: error code for programs.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    return _end(connection, job, JobState.FAILED, result=result, error=error, code=code)


def end_cancelled(
    connection: Connection[Any],
    job: Job,
    *,
    reason: str | None = None,
    code: str | None = None,
    result: dict[str, Any] | None = None,
) -> Job:
    """End a job as cancelled, because its cancellation was requested or because its subject no longer exists.

    Args:
        reason: a sentence; used only if no cancellation request gave a reason.
        code: error code for programs; used only if no cancellation request gave a code.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    current = hold(connection, job)
    _end_attempt(connection, job, "cancelled", current.cancel_reason or reason or CANCELLED_BECAUSE)
    return _record_cancelled(connection, current, reason=reason, code=code, result=result)


def retry_later(
    connection: Connection[Any],
    job: Job,
    *,
    run_at: datetime | None,
    error: str,
    code: str,
    counts: bool = True,
) -> Job:
    """Queue another attempt, not before ``run_at``. If the job's cancellation was requested, end the job as
    cancelled instead.

    Args:
        counts: False if the attempt does not count against the job's limit, because the job only waited.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    current = hold(connection, job)
    if current.cancel_asked:
        return end_cancelled(connection, job)
    _end_attempt(connection, job, "retried", error)
    last_attempt = current.last_attempt + (not counts)
    return requeue(
        connection, current, last_attempt=last_attempt, run_at=run_at, error=error, error_code=code
    )


def give_back(connection: Connection[Any], job: Job, *, because: str = "its worker was stopped") -> Job:
    """Queue the job for another worker when the job itself did not fail. The attempt does not count against
    the job's limit. If the job's cancellation was requested, end the job as cancelled instead.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    current = hold(connection, job)
    if current.cancel_asked:
        return end_cancelled(connection, job)
    _end_attempt(connection, job, "retried", because)
    return requeue(connection, current, last_attempt=current.last_attempt + 1)


def end_lost(connection: Connection[Any], job: Job, *, error: str) -> Job:
    """End the attempt at a job whose process is dead. The caller has locked the job's row.

    If the job's cancellation was requested, the job is cancelled. Otherwise the job is queued again if
    attempts remain, and becomes a dead letter if none remain.
    """
    _end_attempt(connection, job, "lost", error)
    if job.cancel_asked:
        return _record_cancelled(connection, job)
    if job.attempt < job.last_attempt:
        return requeue(connection, job, error=error, error_code=WORKER_LOST)
    remedy = kind_named(job.kind).remedy
    error = f"{error}; that was attempt {job.attempt} of {job.last_attempt}" + (remedy and f"; {remedy}")
    return _record_end(connection, job, JobState.FAILED, error=error, code=WORKER_LOST)


def _begin(connection: Connection[Any], organisation: str, id: str, *, entry: int, worker: str) -> Job:
    """Begin an attempt at a queued job whose row the caller has locked."""
    values = {"organisation": organisation, "id": id, "entry": entry, "worker": worker}
    (job,) = select_jobs(connection, SQL["begin"], values)
    record_event(connection, job, "started")
    return job


def _end(
    connection: Connection[Any],
    job: Job,
    state: JobState,
    *,
    result: dict[str, Any] | None = None,
    error: str | None = None,
    code: str | None = None,
) -> Job:
    hold(connection, job)
    _end_attempt(connection, job, state.value, error)  # type: ignore[arg-type]  # an end state is an outcome
    return _record_end(connection, job, state, result=result, error=error, code=code)


def _record_end(
    connection: Connection[Any],
    job: Job,
    state: JobState,
    *,
    result: dict[str, Any] | None = None,
    error: str | None = None,
    code: str | None = None,
) -> Job:
    values = {
        **attempt_key(job),
        "state": state,
        "result": None if result is None else Jsonb(result),
        "error": error,
        "error_code": code,
    }
    (ended,) = select_jobs(connection, SQL["finish"], values)
    record_event(connection, ended, state.value, {"error": error, "error_code": code, "result": result})
    return ended


def _record_cancelled(
    connection: Connection[Any],
    job: Job,
    *,
    reason: str | None = None,
    code: str | None = None,
    result: dict[str, Any] | None = None,
) -> Job:
    """End the job as cancelled. A cancellation request's reason and code replace the arguments."""
    error, error_code = job.cancel_reason or reason or CANCELLED_BECAUSE, job.cancel_code or code or CANCELLED
    return _record_end(connection, job, JobState.CANCELLED, error=error, code=error_code, result=result)


def _end_attempt(connection: Connection[Any], job: Job, outcome: AttemptOutcome, error: str | None) -> None:
    connection.execute(SQL["end"], {**attempt_key(job), "outcome": outcome, "error": error})


def _line(turn: Turn, kinds: Collection[str]) -> dict[str, Any]:
    return {
        "organisation": turn.organisation,
        "priority_class": turn.priority_class,
        "kinds": list(kinds),
    }


def attempt_key(job: Job) -> dict[str, Any]:
    """Return the parameters that identify the attempt in SQL statements."""
    return {"organisation": job.organisation, "id": job.id, "attempt": job.attempt}


def lease_lost(job: Job) -> LeaseLost:
    """Make the error for a write by an attempt that is no longer the current one."""
    return LeaseLost(
        f"attempt {job.attempt} at job {job.id} is no longer the current one: "
        "the job was given to another worker, or has ended"
    )
