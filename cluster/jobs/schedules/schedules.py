"""Create, change, list and delete the rows of the table of schedules. The audit log shows every change.

Called by the routes of /v1/schedules and by ``python -m data_jobs.schedules``. ``due`` submits the jobs.

    schedule = create_schedule(
        connection, "default", EXPIRE, Timing(cron="0 2 * * *", time_zone="Europe/Berlin")
    )
    schedule.timing.upcoming(schedule.next_run_at, 5)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import NotFound, Throttled
from cluster.jobs.jobs import PriorityClass
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.queue import DEFAULT_PRIORITY
from cluster.jobs.schedules.cron import Timing
from cluster.jobs.schedules.run_window import RunWindow
from cluster.organisations.audit import record

DEFAULT_CATCH_UP_LIMIT, MAX_CATCH_UP_LIMIT = 100, 1_000
#: Seconds in the header ``Retry-After`` if a new schedule would exceed the limit. The organisation has to
#: delete a schedule before it repeats the request.
LIMIT_RETRY_AFTER_S = 60.0


class CatchUp(StrEnum):
    """Says which of the times that passed while no worker was alive get a job."""

    #: Each missed time gets a job, at most ``catch_up_limit`` in each round of a worker.
    ALL = "all"
    #: Only the latest missed time gets a job. This job replaces the jobs of all missed times.
    LATEST = "latest"
    #: A time that passed more than a minute ago gets no job.
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScheduleOptions:
    """Holds what a person may choose for a schedule, besides the times and the input of its jobs."""

    name: str | None = None
    priority_class: PriorityClass = PriorityClass.SCHEDULED
    priority: int = DEFAULT_PRIORITY
    enabled: bool = True
    catch_up: CatchUp = CatchUp.ALL
    #: Maximum number of missed times that get a job in one round of a worker.
    catch_up_limit: int = DEFAULT_CATCH_UP_LIMIT
    #: Earliest time of the schedule; None if there is no such limit.
    not_before: datetime | None = None
    #: The window in which the jobs may begin; None if they may begin at any time.
    run_window: RunWindow | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Holds one row of the table of schedules."""

    organisation: str
    id: str
    name: str | None
    #: Name of the kind of the schedule's jobs.
    kind: str
    #: The input of each job, in the form that ``POST /v1/jobs`` accepts for kinds that people may submit.
    arguments: dict[str, Any]
    #: Five fields: minute, hour, day of month, month, day of week. None if ``interval_s`` is set.
    cron: str | None
    #: Seconds between two jobs; None if ``cron`` is set.
    interval_s: int | None
    #: IANA name of the time zone in which the cron expression is read.
    time_zone: str
    priority_class: PriorityClass
    priority: int
    enabled: bool
    #: True if each time gives one job for each organisation, except the organisation that owns the schedule.
    all_organisations: bool
    catch_up: CatchUp
    catch_up_limit: int
    not_before: datetime | None
    #: The window of each job, as ``RunWindow.json`` returns it.
    run_window: dict[str, Any] | None
    next_run_at: datetime
    #: The last time of the schedule for which a worker tried to submit a job; None if there is none.
    last_run_at: datetime | None
    #: Id of the last job; None if there is none.
    last_job: str | None
    #: Why a worker disabled the schedule; None if no worker has disabled it.
    disabled_because: str | None
    created_at: datetime

    @property
    def timing(self) -> Timing:
        """The rule that gives the times of the schedule.

        Raises:
            InvalidInput: the rule is invalid, because the row was changed by hand.
        """
        return Timing(cron=self.cron, interval_s=self.interval_s, time_zone=self.time_zone)

    @property
    def options(self) -> ScheduleOptions:
        """The options of the schedule."""
        return ScheduleOptions(
            name=self.name,
            priority_class=self.priority_class,
            priority=self.priority,
            enabled=self.enabled,
            catch_up=self.catch_up,
            catch_up_limit=self.catch_up_limit,
            not_before=self.not_before,
            run_window=None if self.run_window is None else RunWindow.of(self.run_window),
        )

    def next_times(self, count: int, *, now: datetime) -> list[datetime]:
        """Return the next ``count`` times, on the clock of the time zone. For a paused schedule, return the
        times from ``now`` on. For a schedule that a worker disabled, return no times.
        """
        if self.disabled_because is not None:
            return []
        timing = self.timing
        first = self.next_run_at if self.enabled else timing.first_from(self.not_before or now, now=now)
        return timing.upcoming(first, count)


COLUMNS = ", ".join(f"schedules.{field.name}" for field in fields(Schedule))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.jobs.schedules", "schedules.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def create_schedule(
    connection: Connection[Any],
    organisation: str,
    kind: JobKind,
    timing: Timing,
    arguments: Mapping[str, Any] | None = None,
    *,
    options: ScheduleOptions = ScheduleOptions(),
    all_organisations: bool = False,
    id: str | None = None,
) -> Schedule | None:
    """Create a schedule in the caller's transaction; return None if the organisation has a schedule with this
    id.

    Args:
        arguments: the input of each job, which the caller has validated.
        id: id of the schedule; None: a new id.

    Raises:
        InvalidInput: the cron expression matches no time.
    """
    values = {
        "organisation": organisation,
        "id": id or f"sched_{uuid4().hex}",
        "kind": kind.name,
        "all_organisations": all_organisations,
        **_timing_values(timing),
        **_option_values(options),
        "arguments": Jsonb(dict(arguments or {})),
        "next_run_at": first_run(connection, timing, options.not_before),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["create"], values).fetchone()
    if row is None:
        return None
    record(connection, organisation, "schedule.created", target=row["id"], details={"kind": kind.name})
    return as_schedule(row)


def require_schedule_room(connection: Connection[Any], organisation: str, *, limit: int) -> None:
    """Check that the organisation may have one more schedule. Other calls of this function for the same
    organisation wait until the transaction ends.

    Args:
        limit: maximum number of schedules; 0 means no limit.

    Raises:
        Throttled: the organisation has reached the limit.
    """
    if not limit:
        return
    connection.execute(SQL["lock_organisation"], {"organisation": organisation})
    row = connection.execute(SQL["count"], {"organisation": organisation}).fetchone()
    assert row is not None
    if row[0] >= limit:
        raise Throttled(
            f"the organisation has {row[0]:,} schedules of at most {limit:,} "
            "(CLUSTER_ORGANISATION_SCHEDULES); delete schedules that are no longer needed",
            retry_after_s=LIMIT_RETRY_AFTER_S,
        )


def update_schedule(
    connection: Connection[Any],
    schedule: Schedule,
    *,
    timing: Timing | None = None,
    arguments: Mapping[str, Any] | None = None,
    options: ScheduleOptions | None = None,
) -> Schedule:
    """Change the schedule, whose row the caller has locked. If an argument is None, that part of the schedule
    does not change.

    If the times or ``not_before`` change, or if a paused schedule is enabled, the next run is at the first
    time that is later than now and not before ``not_before``. Times that have passed get no job.

    Raises:
        InvalidInput: the cron expression matches no time.
    """
    timing, new = timing or schedule.timing, options or schedule.options
    old = schedule.options
    same_times = timing == schedule.timing and new.not_before == old.not_before
    keeps_time = same_times and (old.enabled or not new.enabled)
    values = {
        "organisation": schedule.organisation,
        "id": schedule.id,
        **_timing_values(timing),
        **_option_values(new),
        "arguments": Jsonb(dict(schedule.arguments if arguments is None else arguments)),
        "next_run_at": schedule.next_run_at if keeps_time else first_run(connection, timing, new.not_before),
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["update"], values).fetchone()
    assert row is not None
    changed = as_schedule(row)
    names = [field.name for field in fields(Schedule)]
    changes = [name for name in names if getattr(changed, name) != getattr(schedule, name)]
    details = {"changed": changes, "paused": not changed.enabled}
    record(connection, schedule.organisation, "schedule.updated", target=schedule.id, details=details)
    return changed


def first_run(connection: Connection[Any], timing: Timing, not_before: datetime | None) -> datetime:
    """Return the first time of a schedule that is later than now and not earlier than ``not_before``.

    The clock is that of the database.
    """
    row = connection.execute(SQL["now"]).fetchone()
    assert row is not None
    return timing.first_from(not_before or row[0], now=row[0])


def get_schedule(connection: Connection[Any], organisation: str, id: str, *, lock: bool = False) -> Schedule:
    """Return the organisation's schedule with this id.

    Args:
        lock: True to lock the row until the transaction ends.

    Raises:
        NotFound: the organisation has no such schedule.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        key = {"organisation": organisation, "id": id}
        row = cursor.execute(SQL["lock" if lock else "get"], key).fetchone()
    if row is None:
        raise NotFound(f"no schedule {id!r}")
    return as_schedule(row)


def get_schedules(connection: Connection[Any], organisation: str) -> list[Schedule]:
    """Return the organisation's schedules, in the order of their ids."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return [as_schedule(row) for row in cursor.execute(SQL["list"], {"organisation": organisation})]


def list_schedules(connection: Connection[Any], organisation: str, page: PageRequest) -> ListPage[Schedule]:
    """Return one page of the organisation's schedules.

    Raises:
        InvalidInput: the page's cursor names no schedule of the organisation.
    """
    rows = read_page(connection, LISTS, {"organisation": organisation}, page)
    return ListPage(items=[as_schedule(row) for row in rows.items], has_more=rows.has_more)


def delete_schedule(connection: Connection[Any], organisation: str, id: str) -> None:
    """Delete the schedule and the history of its runs. The jobs of the schedule stay.

    Raises:
        NotFound: the organisation has no such schedule.
    """
    if not connection.execute(SQL["delete"], {"organisation": organisation, "id": id}).rowcount:
        raise NotFound(f"no schedule {id!r}")
    record(connection, organisation, "schedule.deleted", target=id)


def schedule_lag(connection: Connection[Any]) -> float:
    """Return the seconds by which the most overdue schedule of all organisations is late; 0 if no schedule is
    late.
    """
    row = connection.execute(SQL["lag_of_all"]).fetchone()
    assert row is not None
    return float(row[0])


def as_schedule(row: Mapping[str, Any]) -> Schedule:
    """Convert a row of ``COLUMNS`` to a schedule."""
    enums = {
        "priority_class": PriorityClass(row["priority_class"]),
        "catch_up": CatchUp(row["catch_up"]),
    }
    return Schedule(**{**row, **enums})


def _timing_values(timing: Timing) -> dict[str, Any]:
    return {"cron": timing.cron, "interval_s": timing.interval_s, "time_zone": timing.time_zone}


def _option_values(options: ScheduleOptions) -> dict[str, Any]:
    return {
        **{field.name: getattr(options, field.name) for field in fields(ScheduleOptions)},
        "run_window": None if options.run_window is None else Jsonb(options.run_window.json()),
    }
