"""Schedules submit a job repeatedly, by a cron expression or at an interval.

Workers call ``submit_due`` every few seconds. Many processes may call it at the same time. One transaction
locks a due schedule, submits its job and sets its next time, so each due time gives exactly one job.

    create_schedule(connection, "default", kind, cron="0 2 * * *", time_zone="Europe/Berlin")
    jobs = submit_due(connection)

If no worker was alive for a while, all missed times of a schedule together give one job.
"""

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog
from croniter import croniter  # type: ignore[import-untyped]
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.errors import InvalidInput
from cluster.jobs.jobs import Job, PriorityClass
from cluster.jobs.kinds import (
    ARCHIVE_JOBS,
    DISCARD_UNFINISHED,
    EMPTY_OUTBOX,
    EXPIRE,
    RENEW_WORDS,
    JobKind,
    kind_named,
)
from cluster.jobs.queue import submit
from cluster.records import digest

log = structlog.get_logger(__name__)

#: The organisation that owns the jobs that maintain the cluster itself.
SYSTEM = "system"
#: The schedules of the cluster itself: id, kind, cron expression in UTC. Workers create the missing ones.
SYSTEM_SCHEDULES: tuple[tuple[str, JobKind, str], ...] = (
    ("sched_empty_outbox", EMPTY_OUTBOX, "* * * * *"),
    ("sched_expire", EXPIRE, "*/5 * * * *"),
    ("sched_renew_words", RENEW_WORDS, "*/10 * * * *"),
    ("sched_archive_jobs", ARCHIVE_JOBS, "17 3 * * *"),
    ("sched_discard_unfinished", DISCARD_UNFINISHED, "47 3 * * *"),
)
#: Maximum number of due schedules that one call of ``submit_due`` processes.
DUE_LIMIT = 100
#: Maximum interval of a schedule: one year.
LONGEST_INTERVAL_S = 366 * 86_400
CRON_FIELDS = 5
HOUR = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """One row of the table of schedules."""

    organisation: str
    id: str
    #: Name of the kind of the schedule's jobs.
    kind: str
    #: The input of each job.
    arguments: dict[str, Any]
    #: Five fields: minute, hour, day of month, month, day of week. None if ``interval_s`` is set.
    cron: str | None
    #: Seconds between two jobs; None if ``cron`` is set.
    interval_s: int | None
    #: IANA name of the time zone in which the cron expression is read.
    time_zone: str
    priority_class: PriorityClass
    enabled: bool
    next_run_at: datetime
    #: The time at which the last job was due.
    last_run_at: datetime | None
    #: Id of the last job.
    last_job: str | None
    created_at: datetime


COLUMNS = ", ".join(f"schedules.{field.name}" for field in fields(Schedule))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.jobs", "schedules.sql").items()
}


def create_schedule(
    connection: Connection[Any],
    organisation: str,
    kind: JobKind,
    *,
    cron: str | None = None,
    interval_s: int | None = None,
    time_zone: str = "UTC",
    arguments: dict[str, Any] | None = None,
    priority_class: PriorityClass = PriorityClass.SCHEDULED,
    id: str | None = None,
) -> Schedule | None:
    """Create a schedule in the caller's transaction; return None if the organisation has a schedule with this
    id.

    Args:
        cron: five fields; None if ``interval_s`` is given.
        interval_s: seconds between two jobs; the first job is due one interval from now.

    Raises:
        InvalidInput: both or neither of ``cron`` and ``interval_s`` are given; the cron expression is invalid
            or matches no time; or the time zone is unknown.
    """
    now = datetime.now(UTC)
    values = {
        "organisation": organisation,
        "id": id or f"sched_{uuid4().hex}",
        "kind": kind.name,
        "arguments": Jsonb(arguments or {}),
        "cron": cron,
        "interval_s": interval_s,
        "time_zone": time_zone,
        "priority_class": priority_class,
        "next_run_at": next_run(cron=cron, interval_s=interval_s, time_zone=time_zone, last=now, now=now),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["create"], values).fetchone()
    return None if row is None else _schedule(row)


def create_system_schedules(connection: Connection[Any]) -> None:
    """Create the missing schedules of the cluster itself. Existing schedules do not change."""
    for id, kind, cron in SYSTEM_SCHEDULES:
        create_schedule(connection, SYSTEM, kind, cron=cron, id=id)


def get_schedules(connection: Connection[Any], organisation: str) -> list[Schedule]:
    """Return the organisation's schedules, in the order of their ids."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_schedule(row) for row in cursor.execute(SQL["list"], {"organisation": organisation})]


def submit_due(connection: Connection[Any], *, limit: int = DUE_LIMIT) -> list[Job]:
    """Submit a job for each due schedule in the caller's transaction, and return the jobs.

    Schedules that another process has locked are skipped. A schedule whose cron expression or
    time zone is invalid is disabled, and the log says so.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["due_of_all"], {"limit": limit}).fetchall()
    jobs = []
    for row in rows:
        now = row.pop("now")
        schedule = _schedule(row)
        key = {"organisation": schedule.organisation, "id": schedule.id}
        try:
            following = next_run(
                cron=schedule.cron,
                interval_s=schedule.interval_s,
                time_zone=schedule.time_zone,
                last=schedule.next_run_at,
                now=now,
            )
        except InvalidInput as exc:
            log.error("schedule_disabled", schedule=schedule.id, reason=str(exc))
            connection.execute(SQL["disable"], key)
            continue
        job = job_id(schedule)
        if connection.execute(SQL["job_exists"], {**key, "job": job}).fetchone() is None:
            jobs.append(
                submit(
                    connection,
                    schedule.organisation,
                    kind_named(schedule.kind),
                    schedule.arguments,
                    priority_class=schedule.priority_class,
                    subject=schedule.id,
                    id=job,
                )
            )
        connection.execute(SQL["advance"], {**key, "next_run_at": following, "job": job})
    return jobs


def job_id(schedule: Schedule) -> str:
    """Return the id of the job for the schedule's next due time. The id is the same in every process."""
    due = schedule.next_run_at.astimezone(UTC).isoformat()
    return "job_" + digest(schedule.organisation, schedule.id, due)


def next_run(
    *, cron: str | None, interval_s: int | None, time_zone: str, last: datetime, now: datetime
) -> datetime:
    """Return the first time after ``now`` at which a schedule is due.

    A cron expression follows the clock of its time zone, with the rules of Debian's cron. When clocks go
    back, one hour occurs twice: an expression with fixed hours is due once, and an expression whose hours
    begin with ``*`` is due in both hours. When clocks go forward, an expression whose time is skipped is due
    right after the gap.

    Args:
        last: the time at which the schedule was last due; intervals count from this time.

    Raises:
        InvalidInput: both or neither of ``cron`` and ``interval_s`` are given; the cron expression is invalid
            or matches no time; or the time zone is unknown.
    """
    if (cron is None) == (interval_s is None):
        raise InvalidInput("a schedule needs either cron or interval_s, not both", param="cron")
    if interval_s is not None:
        if not 0 < interval_s <= LONGEST_INTERVAL_S:
            raise InvalidInput(
                f"interval_s is {interval_s}; it must be in 1..{LONGEST_INTERVAL_S}", param="interval_s"
            )
        passed = (now - last) // timedelta(seconds=interval_s)
        return last + timedelta(seconds=interval_s) * (max(0, passed) + 1)
    assert cron is not None
    zone = _zone(time_zone)
    expression = cron.split()
    if len(expression) != CRON_FIELDS:
        raise InvalidInput(
            f"cron is {cron!r}; it must have five fields: minute, hour, day of month, month, day of week",
            param="cron",
        )
    here = now.astimezone(zone)
    try:
        if expression[HOUR].startswith("*"):
            following: datetime = croniter(cron, here).get_next(datetime)
            return following.astimezone(UTC)
        times = croniter(cron, here.replace(tzinfo=None))
        while True:
            # A time that the clock skips gets the offset from before the gap, which gives a time after the
            # gap. A time that the clock shows twice means the first of the two, which may be in the past.
            following = times.get_next(datetime).replace(tzinfo=zone).astimezone(UTC)
            if following > now:
                return following
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(f"cron is {cron!r}: {exc}", param="cron") from exc


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise InvalidInput(
            f"time_zone is {name!r}; it must be an IANA name such as Europe/Berlin", param="time_zone"
        ) from exc


def _schedule(row: dict[str, Any]) -> Schedule:
    return Schedule(**{**row, "priority_class": PriorityClass(row["priority_class"])})
