"""Tries at a job, for those who work: take the organisation's next one, say how far it is, end it.

Every write is made only while the try counts: the job runs, and the number of its attempt is the one that was claimed. A worker
that wakes after its job was given to another gets ``LeaseLost`` and its transaction is undone, whatever it had written.

    job = claim(connection, turn, worker="...", kinds={"index_file"})
    begin_stage(connection, job, "parse")
    with connection.transaction():
        hold(connection, job)
        ...                                      # the effects of the job
        finish(connection, job, result={...})
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.errors import LeaseLost
from cluster.jobs.jobs import (
    CANCELLED,
    CANCELLED_BECAUSE,
    Job,
    JobState,
    PriorityClass,
    select_jobs,
    with_columns,
)
from cluster.jobs.queue import add_turns, record_event, requeue

SQL = with_columns("attempts.sql")

AttemptOutcome = Literal["succeeded", "failed", "cancelled", "retried", "lost"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """An entry that a worker took from the queue."""

    #: Id of the entry.
    entry: int
    organisation: str
    priority_class: PriorityClass
    #: Its virtual time.
    turn: int


def claim(
    connection: Connection[Any], turn: Turn, *, worker: str, kinds: Collection[str], suspects: bool = True
) -> Job | None:
    """The organisation's first job of the class that may begin now, running from now on; None when there is none.

    A try begins with a whole lease: a worker that was stopped for a while, or starved, takes turns before its next heartbeat is due.
    A turn that was given up for it meanwhile begins nothing, or the job would be lost, and a try with it, before it began.

    Args:
        kinds: no others.
        suspects: also those whose worker died under an earlier try.
    """
    values = {
        "organisation": turn.organisation,
        "priority_class": turn.priority_class,
        "entry": turn.entry,
        "turn": turn.turn,
        "worker": worker,
        "kinds": list(kinds),
        "suspects": suspects,
    }
    if connection.execute(SQL["renew"], values).fetchone() is None:
        return None
    connection.execute(SQL["take_turn"], values)
    found = select_jobs(connection, SQL["claim"], values)
    if not found:
        return None
    (job,) = found
    connection.execute(SQL["begin"], {**_key(job), "worker": worker})
    record_event(connection, job, "started")
    return job


def stand_in_line(connection: Connection[Any], turn: Turn) -> bool:
    """True where the turn begins nothing, because its organisation has a cap and turns with a time are not counted by it (see
    ``queue.add_turns``): now that its time has come, another one is in its place that is."""
    if (
        connection.execute(
            SQL["beyond_cap"], {"organisation": turn.organisation, "entry": turn.entry}
        ).fetchone()
        is None
    ):
        return False
    add_turns(connection, turn.organisation, turn.priority_class)
    return True


def has_strangers(connection: Connection[Any], turn: Turn, *, kinds: Collection[str]) -> bool:
    """Whether a job waits that is of a kind this worker does not know, and so waits for a worker of another release."""
    values = {"organisation": turn.organisation, "priority_class": turn.priority_class, "kinds": list(kinds)}
    return connection.execute(SQL["stranger"], values).fetchone() is not None


def has_suspects(connection: Connection[Any], turn: Turn, *, kinds: Collection[str]) -> bool:
    """Whether a job waits whose worker died under an earlier try."""
    values = {"organisation": turn.organisation, "priority_class": turn.priority_class, "kinds": list(kinds)}
    return connection.execute(SQL["suspect_waits"], values).fetchone() is not None


def is_suspect(connection: Connection[Any], job: Job) -> bool:
    """Whether its worker died under an earlier try."""
    return job.attempt > 1 and connection.execute(SQL["is_suspect"], _key(job)).fetchone() is not None


def hold(connection: Connection[Any], job: Job) -> Job:
    """The job as it is now; nobody gives it to another until the transaction ends.

    Raises:
        LeaseLost: this try counts no more.
    """
    found = select_jobs(connection, SQL["hold"], _key(job))
    if not found:
        raise _lost(job)
    return found[0]


def begin_stage(connection: Connection[Any], job: Job, stage: str) -> None:
    """The job does this now, for the first time or once more.

    Raises:
        LeaseLost: this try counts no more.
    """
    if connection.execute(SQL["stage"], {**_key(job), "stage": stage}).rowcount == 0:
        raise _lost(job)
    connection.execute(SQL["begin_stage"], {**_key(job), "stage": stage})
    record_event(connection, job, "stage", {"stage": stage})


def end_stage(
    connection: Connection[Any], job: Job, stage: str, *, error: str | None = None, percent: int | None = None
) -> None:
    """It has done so, or failed to.

    Args:
        percent: of the whole job that is done with this stage; None where the job does not count percent.
    """
    connection.execute(SQL["end_stage"], {**_key(job), "stage": stage, "error": error})
    if percent is not None and error is None:
        connection.execute(SQL["stage_done"], {**_key(job), "done": percent})


def record_progress(
    connection: Connection[Any],
    job: Job,
    *,
    done: int,
    total: int | None,
    unit: str | None = None,
    percent: int | None = None,
    waits_for: str | None = None,
) -> None:
    """So much of the stage is done, and what it waits for. Neither the stage's progress nor the job's ever falls within an attempt.

    Args:
        done: of the stage.
        total: of the stage; None while that is unknown.
        unit: what both count; the job's own unit where left out.
        percent: of the whole job; where left out, the stage is all there is to the job.

    Raises:
        LeaseLost: this try counts no more.
    """
    whole = (
        {"job_done": done, "job_total": total}
        if percent is None
        else {"job_done": percent, "job_total": None}
    )
    row = connection.execute(SQL["progress"], {**_key(job), **whole, "waits_for": waits_for}).fetchone()
    if row is None:
        raise _lost(job)
    job_done, job_total, job_unit, stage = row
    values = {**_key(job), "stage": stage, "done": done, "total": total, "unit": unit or job_unit}
    found = connection.execute(SQL["stage_progress"], values).fetchone()
    told = found and {"name": stage, "done": found[0], "total": found[1], "unit": found[2]}
    whole_job = {"done": job_done, "total": job_total, "unit": job_unit}
    record_event(connection, job, "progress", {**whole_job, "stage": told, "waits_for": waits_for})


def pause(
    connection: Connection[Any], job: Job, *, until: datetime, waits_for: str, again: bool = False
) -> None:
    """Nothing is done until then, and it keeps its slot; said until its stage begins once more, or tells of progress.

    Args:
        until: with a time zone.
        waits_for: one of ``job_view.WAITS_FOR``.
        again: it paused for the same reason before, which is no new event.

    Raises:
        LeaseLost: this try counts no more.
    """
    if connection.execute(SQL["pause"], {**_key(job), "until": until, "waits_for": waits_for}).rowcount == 0:
        raise _lost(job)
    if not again:
        record_event(
            connection, job, "paused", {"until": until.isoformat(timespec="seconds"), "waits_for": waits_for}
        )


def finish(connection: Connection[Any], job: Job, *, result: dict[str, Any]) -> Job:
    """It did what was asked. In the transaction of its effects, so that both are or neither.

    Raises:
        LeaseLost: this try counts no more.
    """
    return _end(connection, job, JobState.SUCCEEDED, result=result)


def fail(
    connection: Connection[Any], job: Job, error: str, *, code: str, result: dict[str, Any] | None = None
) -> Job:
    """It ends as a dead letter.

    Args:
        error: a sentence a person understands.
        code: the same for programs.

    Raises:
        LeaseLost: this try counts no more.
    """
    return _end(connection, job, JobState.FAILED, result=result, error=error, code=code)


def end_cancelled(
    connection: Connection[Any], job: Job, *, reason: str | None = None, code: str | None = None
) -> Job:
    """End a job whose end was asked for, with the reason given then, or whose subject is gone.

    Args:
        reason: a sentence, for a job whose end was not asked for.
        code: the same for programs.

    Raises:
        LeaseLost: this try counts no more.
    """
    current = hold(connection, job)
    _end_attempt(connection, job, "cancelled", current.cancel_reason or reason or CANCELLED_BECAUSE)
    return _record_cancelled(connection, current, reason=reason, code=code)


def retry_later(
    connection: Connection[Any], job: Job, *, run_at: datetime | None, error: str, code: str
) -> Job:
    """Another try, not before ``run_at``; none where somebody asked for the job's end meanwhile.

    Raises:
        LeaseLost: this try counts no more.
    """
    if hold(connection, job).cancel_asked:
        return end_cancelled(connection, job)
    _end_attempt(connection, job, "retried", error)
    return requeue(connection, job, run_at=run_at, error=error, error_code=code)


def give_back(connection: Connection[Any], job: Job, *, because: str = "its worker was stopped") -> Job:
    """Give the job back for another worker to begin anew, for no fault of the job. Costs it none of its tries.

    Raises:
        LeaseLost: this try counts no more.
    """
    if hold(connection, job).cancel_asked:
        return end_cancelled(connection, job)
    _end_attempt(connection, job, "retried", because)
    return requeue(connection, job, last_attempt=job.last_attempt + 1)


def end_lost(connection: Connection[Any], job: Job, *, error: str) -> Job:
    """What becomes of a job whose worker is gone; the caller holds its row. Another try while it has any."""
    _end_attempt(connection, job, "lost", error)
    if job.cancel_asked:
        return _record_cancelled(connection, job)
    if job.attempt >= job.last_attempt:
        said = f"{error}; that was try {job.attempt} of {job.last_attempt}"
        return _record_end(connection, job, JobState.FAILED, error=said, code="worker_lost")
    return requeue(connection, job, error=error, error_code="worker_lost")


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
    _end_attempt(connection, job, state.value, error)  # type: ignore[arg-type]  # an end is an outcome
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
        **_key(job),
        "state": state,
        "result": None if result is None else Jsonb(result),
        "error": error,
        "error_code": code,
    }
    (ended,) = select_jobs(connection, SQL["finish"], values)
    record_event(connection, ended, state.value, {"error": error, "error_code": code, "result": result})
    return ended


def _record_cancelled(
    connection: Connection[Any], job: Job, *, reason: str | None = None, code: str | None = None
) -> Job:
    """A reason that was given with the request to cancel comes first."""
    error, error_code = job.cancel_reason or reason or CANCELLED_BECAUSE, job.cancel_code or code or CANCELLED
    return _record_end(connection, job, JobState.CANCELLED, error=error, code=error_code)


def _end_attempt(connection: Connection[Any], job: Job, outcome: AttemptOutcome, error: str | None) -> None:
    connection.execute(SQL["end"], {**_key(job), "outcome": outcome, "error": error})


def _key(job: Job) -> dict[str, Any]:
    return {"organisation": job.organisation, "id": job.id, "attempt": job.attempt}


def _lost(job: Job) -> LeaseLost:
    return LeaseLost(
        f"try {job.attempt} at job {job.id} counts no more: it was given to another worker, or has ended"
    )
