"""Shows jobs to people: lists of jobs, and one job with its history, why it waits, its speed and its events.

Called by ``/v1/jobs``. Every query is limited to the organisations that the caller names.

    view = view_job(connection, "default", "job_...", now=datetime.now(UTC), lease_s=30)
    view.waiting.message                       # "queued behind 12 jobs of your organisation"
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.shortages import announced
from cluster.errors import Resource
from cluster.jobs.jobs import (
    PROVIDER_UNAVAILABLE,
    THROTTLED,
    Job,
    JobState,
    PriorityClass,
    as_jobs,
    get_job,
    with_columns,
)
from cluster.jobs.kinds import not_retryable
from cluster.jobs.queue_tables import live_workers
from cluster.jobs.schedules.run_window import RunWindow

#: SQL condition for a ``JobFilter``. A parameter that is NULL selects all jobs.
CHOSEN = """
  (%(kind)s::text IS NULL OR kind = %(kind)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(priority_class)s::text IS NULL OR priority_class = %(priority_class)s)
  AND (%(subject)s::text IS NULL OR subject = %(subject)s)
  AND (%(error_code)s::text IS NULL OR error_code = %(error_code)s)
  AND (%(created_after)s::timestamptz IS NULL OR created_at >= %(created_after)s)
  AND (%(created_before)s::timestamptz IS NULL OR created_at < %(created_before)s)
  AND (%(finished_after)s::timestamptz IS NULL OR finished_at >= %(finished_after)s)
  AND (%(finished_before)s::timestamptz IS NULL OR finished_at < %(finished_before)s)
"""
SQL = {name: text.replace("{chosen}", CHOSEN) for name, text in with_columns("view.sql").items()}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])
Reason = Literal[
    "retry",
    "not_before",
    "window",
    "organisation_limit",
    "behind",
    "no_worker",
    "worker",
    "gpu",
    "provider",
    "storage",
    "database",
    "other",
]
#: For each word that workers write when a running job waits: the reason, and a sentence for people.
WAITS_FOR: dict[str, tuple[Reason, str]] = {
    "gpu": ("gpu", "waiting for the model"),
    "provider": ("provider", "provider throttled"),
    PROVIDER_UNAVAILABLE: ("provider", "the provider does not answer"),
    "retry": ("retry", "its stage failed"),
    **{resource: (resource.reason, resource.sentence) for resource in Resource},
}
#: Maximum number of events of one job that one query reads.
EVENTS_PER_READ = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFilter:
    """Selects the jobs that match every field. A field that is None matches all jobs.

    Fields ``..._after`` include the given time, and fields ``..._before`` exclude the given time.
    """

    kind: str | None = None
    state: JobState | None = None
    priority_class: PriorityClass | None = None
    subject: str | None = None
    error_code: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StageRun:
    """Describes one stage of one attempt."""

    name: str
    attempt: int
    tries: int
    #: Number of units of the stage that are done.
    done: int
    #: Number of units in the stage; None while unknown.
    total: int | None
    #: What ``done`` and ``total`` count; None until the stage records progress.
    unit: str | None
    started_at: datetime
    #: None while the stage runs, or if its worker was lost.
    ended_at: datetime | None
    #: The error with which the stage last failed.
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRun:
    """Describes one attempt at a job."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    #: succeeded, failed, cancelled, retried or lost; None while the attempt runs.
    outcome: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Says why a job makes no progress at the moment."""

    reason: Reason
    #: The reason as a sentence.
    message: str
    #: Time at which the wait ends; None if that is unknown.
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Holds the speed of the current stage."""

    #: Average number of units per second since the stage began.
    rate_per_s: float
    #: Seconds until the stage's ``total`` is done at that rate; None if ``total`` is not known, or nothing is
    #: done yet.
    eta_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """Holds a job with its history, its speed, and the reason why it waits."""

    job: Job
    stages: Sequence[StageRun]
    attempts: Sequence[AttemptRun]
    #: Position among the organisation's queued jobs of the same class, from 1; None unless the job is queued
    #: and its earliest start time, if any, has passed.
    position: int | None
    waiting: Waiting | None
    speed: Speed | None
    #: The current or last stage of the current attempt; None if no stage has begun.
    current: StageRun | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """Holds one event of a job."""

    #: Id of the event. Later events of a job have higher ids.
    id: int
    at: datetime
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """Describes a listener that follows a job and already has the events with ids up to ``after``."""

    organisation: str
    job: str
    after: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """Holds the next events that a listener does not have yet, oldest first."""

    events: Sequence[JobEvent]
    #: True if no event follows these events, because the job has ended.
    last: bool


def list_jobs(
    connection: Connection[Any], organisation: str, chosen: JobFilter, page: PageRequest
) -> ListPage[Job]:
    """Return one page of the organisation's jobs that the filter selects.

    Raises:
        InvalidInput: the page's cursor names no job of the organisation.
    """
    rows = read_page(connection, LISTS, {"organisation": organisation, **asdict(chosen)}, page)
    return ListPage(items=as_jobs(rows.items), has_more=rows.has_more)


def dead_letters(
    connection: Connection[Any], organisation: str, chosen: JobFilter, *, limit: int
) -> list[str]:
    """Lock the dead letters that the filter selects, at most ``limit``, until the transaction ends. Leave out
    jobs that cannot be queued again, and jobs that another transaction has locked.

    Returns:
        Ids of the locked jobs, earliest failure first.
    """
    values = {
        "organisation": organisation,
        **asdict(chosen),
        "limit": limit,
        "not_retryable": not_retryable(),
    }
    return [id for (id,) in connection.execute(SQL["dead_letters"], values)]


def view_job(
    connection: Connection[Any], organisation: str, id: str, *, now: datetime, lease_s: float
) -> JobView:
    """Return the organisation's job with its history.

    Args:
        now: the present time, with a time zone.
        lease_s: seconds without a heartbeat after which a worker counts as dead.

    Raises:
        NotFound: the organisation has no such job.
    """
    job = get_job(connection, organisation, id)
    key = {"organisation": organisation, "id": id}
    with connection.cursor(row_factory=dict_row) as cursor:
        stages = [StageRun(**row) for row in cursor.execute(SQL["stages"], key)]
        attempts = [AttemptRun(**row) for row in cursor.execute(SQL["attempts"], key)]
        line = cursor.execute(SQL["line"], key).fetchone() or {}
    if line:
        line["workers"] = live_workers(connection, lease_s=lease_s)
    current = next(
        (stage for stage in reversed(stages) if stage.attempt == job.attempt and stage.name == job.stage),
        None,
    )
    in_line = job.state == JobState.QUEUED and not (job.retry_at and job.retry_at > now)
    return JobView(
        job=job,
        stages=stages,
        attempts=attempts,
        position=line["ahead"] + 1 if line and in_line else None,
        waiting=_waiting(job, line, now)
        if job.state.ended
        else _short(connection) or _waiting(job, line, now),
        speed=_speed(job, current, now),
        current=current,
    )


def read_news(connection: Connection[Any], watches: Sequence[Watch]) -> dict[Watch, News]:
    """Read the next events of each watched job that exists, at most ``EVENTS_PER_READ`` per job, in one
    query.

    No event is missed, because a process that writes an event has locked the job's row. So the events of a
    job are committed in the order of their ids.
    """
    values = {
        "organisation": [watch.organisation for watch in watches],
        "jobs": [watch.job for watch in watches],
        "afters": [watch.after for watch in watches],
        "limit": EVENTS_PER_READ,
    }
    events: dict[Watch, list[JobEvent]] = defaultdict(list)
    ended: dict[Watch, bool] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(SQL["events"], values):
            watch = Watch(organisation=row["organisation"], job=row["job"], after=row["after"])
            ended[watch] = JobState(row["state"]).ended
            if row["id"] is not None:
                events[watch].append(JobEvent(id=row["id"], at=row["at"], type=row["type"], data=row["data"]))
    return {
        watch: News(events=events[watch], last=end and len(events[watch]) < EVENTS_PER_READ)
        for watch, end in ended.items()
    }


def _short(connection: Connection[Any]) -> Waiting | None:
    """Return a shortage that stops every job, or None. Workers cannot record such a shortage in the rows of
    jobs, because they cannot write to the database during this time.
    """
    short = sorted(resource for resource in announced(connection) if resource.stops_every_job)
    return Waiting(reason=short[0].reason, message=short[0].sentence) if short else None


def _waiting(job: Job, line: dict[str, Any], now: datetime) -> Waiting | None:
    if job.state == JobState.RUNNING and job.waits_for is not None:
        reason, message = WAITS_FOR.get(job.waits_for, ("other", f"waiting for {job.waits_for}"))
        again = f"; retrying at {job.retry_at.isoformat(timespec='seconds')}" if job.retry_at else ""
        return Waiting(reason=reason, message=message + again, until=job.retry_at)
    if job.state != JobState.QUEUED or not line:
        return None
    if (closed := _closed_window(job, now)) is not None:
        return closed
    if job.retry_at is not None and job.retry_at > now:
        when = job.retry_at.isoformat(timespec="seconds")
        if job.error is None:
            return Waiting(reason="not_before", message=f"not before {when}", until=job.retry_at)
        reason = "provider" if job.error_code in {THROTTLED, PROVIDER_UNAVAILABLE} else "retry"
        return Waiting(reason=reason, message=f"retrying at {when}, after: {job.error}", until=job.retry_at)
    if line["workers"] == 0:
        return Waiting(
            reason="no_worker", message="no worker is alive; python -m cluster.doctor says what to do"
        )
    if line["concurrency_limit"] is not None and line["running"] >= line["concurrency_limit"]:
        running = f"{line['concurrency_limit']} jobs of class {job.priority_class}"
        message = f"your organisation runs its {running} already; {_behind(line['ahead'])}"
        return Waiting(reason="organisation_limit", message=message)
    if line["ahead"]:
        return Waiting(reason="behind", message=_behind(line["ahead"]))
    return Waiting(reason="worker", message="the next of your organisation, waiting for a free worker")


def _closed_window(job: Job, now: datetime) -> Waiting | None:
    """Return the wait of a job whose window is closed now, or None."""
    window = None if job.run_window is None else RunWindow.of(job.run_window)
    if window is None or window.opening(now) == now:
        return None
    until = window.opening(max(now, job.retry_at or now))
    again = "" if job.error is None else f"; it will be retried then, after: {job.error}"
    message = f"waiting for its window, {window}, until {until.isoformat(timespec='seconds')}{again}"
    return Waiting(reason="window", message=message, until=until)


def _behind(ahead: int) -> str:
    return (
        f"queued behind {ahead} job{'s' if ahead != 1 else ''} of your organisation"
        if ahead
        else "the next in line"
    )


def _speed(job: Job, current: StageRun | None, now: datetime) -> Speed | None:
    """Return the speed of the current stage only, because stages run at different speeds."""
    if job.state != JobState.RUNNING or current is None or current.ended_at is not None:
        return None
    seconds = (now - current.started_at).total_seconds()
    rate = current.done / seconds if seconds > 0 else 0.0
    eta = max(0, current.total - current.done) / rate if current.total is not None and rate else None
    return Speed(rate_per_s=rate, eta_s=eta)
