"""Schedules: rows that submit a job again and again, by a cron expression or at an interval.

Workers call ``submit_due`` every few seconds. Any number of processes may call it at once: a due schedule is
locked, its job is submitted and its next time is set in one transaction, so each time gives exactly one job.

    create_schedule(connection, "default", kind, cron="0 2 * * *", time_zone="Europe/Berlin")
    jobs = submit_due(connection)

Where no worker was alive for a while, the times that were missed give one job together.
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

#: The organisation that owns the jobs that look after the cluster itself.
SYSTEM = "system"
#: The schedules of the cluster itself: id, kind, cron expression in UTC. Workers create those that are
#: missing.
SYSTEM_SCHEDULES: tuple[tuple[str, JobKind, str], ...] = (
    ("sched_empty_outbox", EMPTY_OUTBOX, "* * * * *"),
    ("sched_expire", EXPIRE, "*/5 * * * *"),
    ("sched_renew_words", RENEW_WORDS, "*/10 * * * *"),
    ("sched_archive_jobs", ARCHIVE_JOBS, "17 3 * * *"),
    ("sched_discard_unfinished", DISCARD_UNFINISHED, "47 3 * * *"),
)
#: Schedules that one call of ``submit_due`` looks at.
DUE_LIMIT = 100
#: A year.
LONGEST_INTERVAL_S = 366 * 86_400
CRON_FIELDS = 5
HOUR = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """One row of the table of schedules."""

    organisation: str
    id: str
    #: Name of the kind of its jobs.
    kind: str
    #: The input of each job.
    arguments: dict[str, Any]
    #: Five fields: minute, hour, day of month, month, day of week. None where the interval counts.
    cron: str | None
    #: Seconds between two jobs.
    interval_s: int | None
    #: IANA name of the time zone in which the cron expression is read.
    time_zone: str
    priority_class: PriorityClass
    enabled: bool
    next_run_at: datetime
    #: The time for which the last job was due, and its id.
    last_run_at: datetime | None
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
    """Create a schedule, in the caller's transaction; None where the organisation has one of this id already.

    Args:
        cron: five fields; or else
        interval_s: seconds between two jobs, the first one interval from now.

    Raises:
        InvalidInput: not exactly one of cron and interval; a cron expression that is none or never comes
            true; an unknown time zone.
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
    """Create the schedules of the cluster itself that do not exist; those that exist stay as they are."""
    for id, kind, cron in SYSTEM_SCHEDULES:
        create_schedule(connection, SYSTEM, kind, cron=cron, id=id)


def get_schedules(connection: Connection[Any], organisation: str) -> list[Schedule]:
    """The organisation's schedules, in the order of their ids."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_schedule(row) for row in cursor.execute(SQL["list"], {"organisation": organisation})]


def submit_due(connection: Connection[Any], *, limit: int = DUE_LIMIT) -> list[Job]:
    """Submit a job for each schedule that is due, in the caller's transaction; the jobs submitted.

    A schedule that another process has locked is left to that process. A schedule whose cron expression or
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
    """Id of the job for the time at which the schedule is due: the same in every process."""
    due = schedule.next_run_at.astimezone(UTC).isoformat()
    return "job_" + digest(schedule.organisation, schedule.id, due)


def next_run(
    *, cron: str | None, interval_s: int | None, time_zone: str, last: datetime, now: datetime
) -> datetime:
    """The first time after ``now`` at which a schedule is due.

    A cron expression follows the clock of its time zone as Debian's cron does. When clocks go back, an
    expression with fixed hours is due once, and one whose hours begin with ``*`` is due in both of the hours
    that have the same name. When clocks go forward, an expression whose time is left out is due right after
    the gap.

    Args:
        last: the time at which the schedule was due last; intervals count from it.

    Raises:
        InvalidInput: not exactly one of cron and interval; a cron expression that is none or never comes
            true; an unknown time zone.
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
            # A time that the clock leaves out is read with the offset from before the gap, which gives a time
            # after the gap. One that the clock shows twice is the first of the two, which may have passed.
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
