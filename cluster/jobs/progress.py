"""Records the progress of an attempt at a job: its stages, how much of each stage is done, and why it pauses.

Called by the process that runs the job. All functions except ``end_stage`` raise ``LeaseLost`` if the
attempt is no longer the current one.

    begin_stage(connection, job, "parse")
    record_progress(connection, job, done=3, total=12, unit="pages")
    end_stage(connection, job, "parse")
"""

from datetime import datetime
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.jobs.attempts import attempt_key, lease_lost
from cluster.jobs.jobs import Job
from cluster.jobs.kinds import kind_named
from cluster.jobs.queue import record_event

SQL = queries("cluster.jobs", "progress.sql")


def begin_stage(connection: Connection[Any], job: Job, stage: str) -> None:
    """Record that a stage of the job begins. If the stage is repeated, its number of tries rises by one.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    if connection.execute(SQL["stage"], {**attempt_key(job), "stage": stage}).rowcount == 0:
        raise lease_lost(job)
    connection.execute(SQL["begin_stage"], {**attempt_key(job), "stage": stage})
    record_event(connection, job, "stage", {"stage": stage})


def end_stage(
    connection: Connection[Any], job: Job, stage: str, *, error: str | None = None, percent: int | None = None
) -> None:
    """Record that a stage of the job has ended, with the stage's error if it failed.

    Args:
        percent: percent of the whole job that is done after this stage; ignored if the stage failed. None if
            the job does not count percent.
    """
    connection.execute(SQL["end_stage"], {**attempt_key(job), "stage": stage, "error": error})
    if percent is not None and error is None:
        connection.execute(SQL["stage_done"], {**attempt_key(job), "done": percent})


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
    """Record the progress of the current stage, and what the stage waits for.

    Recorded progress never falls within an attempt.

    Args:
        done: units of the stage that are done; units of the job if the job has no stages.
        total: units of the stage or job; None while unknown.
        unit: what ``done`` and ``total`` count; None: the job's unit.
        percent: percent of the whole job that is done; None: ``done`` and ``total`` also count for the job.
        waits_for: a key of ``view.WAITS_FOR``; None if the stage does not wait.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    whole = (
        {"job_done": done, "job_total": total}
        if percent is None
        else {"job_done": percent, "job_total": None}
    )
    row = connection.execute(
        SQL["progress"], {**attempt_key(job), **whole, "waits_for": waits_for}
    ).fetchone()
    if row is None:
        raise lease_lost(job)
    job_done, job_total, job_unit, stage = row
    values = {**attempt_key(job), "stage": stage, "done": done, "total": total, "unit": unit or job_unit}
    found = connection.execute(SQL["stage_progress"], values).fetchone()
    shown = found and {"name": stage, "done": found[0], "total": found[1], "unit": found[2]}
    whole_job = {"done": job_done, "total": job_total, "unit": job_unit}
    record_event(connection, job, "progress", {**whole_job, "stage": shown, "waits_for": waits_for})


def pause(
    connection: Connection[Any], job: Job, *, until: datetime, waits_for: str, again: bool = False
) -> None:
    """Record that the job pauses until a given time. The job keeps its slot in the worker.

    The record of the pause is removed when the job next records a stage or progress.

    Args:
        until: end of the pause, with a time zone.
        waits_for: a key of ``view.WAITS_FOR``.
        again: True if the job's last pause had the same reason; then no new event is written.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    if (
        connection.execute(
            SQL["pause"], {**attempt_key(job), "until": until, "waits_for": waits_for}
        ).rowcount
        == 0
    ):
        raise lease_lost(job)
    if not again:
        record_event(
            connection, job, "paused", {"until": until.isoformat(timespec="seconds"), "waits_for": waits_for}
        )


def renew_attempts(connection: Connection[Any], job: Job) -> None:
    """Permit as many further attempts as a new job of the kind has, because this attempt has stored a part
    of its work, which later attempts do not repeat.

    Raises:
        LeaseLost: the job has ended or has a newer attempt.
    """
    values = {**attempt_key(job), "attempts": kind_named(job.kind).attempts}
    if connection.execute(SQL["renew_attempts"], values).rowcount == 0:
        raise lease_lost(job)
