"""The models of the requests of /v1/schedules: a new schedule, and a change of a schedule."""

from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from cluster.jobs.jobs import PriorityClass
from cluster.jobs.schedules.cron import Timing
from cluster.jobs.schedules.schedules import (
    MAX_CATCH_UP_LIMIT,
    CatchUp,
    Schedule,
    ScheduleOptions,
)
from serve_app.edge.request_model import Moment, RequestModel, Text, Whole
from serve_app.routes.jobs.window_fields import WindowRequest

#: Minimum interval of a schedule that a request creates, in seconds. A cron expression cannot have a shorter
#: interval.
MIN_INTERVAL_S = 60

ScheduleName = Annotated[Text, Field(max_length=256)]
Cron = Annotated[Text, Field(max_length=256)]
Interval = Annotated[Whole, Field(ge=MIN_INTERVAL_S)]
RequestedCatchUp = Annotated[CatchUp, Field(strict=False)]
RequestedPriority = Annotated[Whole, Field(ge=0, le=9)]
CatchUpLimit = Annotated[Whole, Field(ge=1, le=MAX_CATCH_UP_LIMIT)]
JobClass = Annotated[PriorityClass, Field(strict=False)]


class ScheduleFields(RequestModel):
    """The fields that a request can set when it creates a schedule, and that later requests can change."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False for a field of the schedule itself, because jobs would run at other times if a
        misspelled `time_zone` were ignored. The name of an unknown field of the input is empty here. Such a
        field may be ignored.
        """
        return not name

    name: ScheduleName | None = None
    """Name of the schedule, for people."""
    cron: Cron | None = None
    """The times, as a cron expression of five fields: minute, hour, day of month, month, day of week."""
    interval_s: Interval | None = None
    """Seconds between two times, instead of `cron`."""
    time_zone: Text | None = None
    """IANA name of the time zone of the cron expression; by default UTC."""
    priority_class: JobClass | None = None
    """Urgency of the jobs: `high`, `medium`, `low` or `scheduled` (the default)."""
    priority: RequestedPriority | None = None
    """Priority, 0 to 9: of your queued jobs of one priority class, those with a higher number begin first."""
    catch_up: RequestedCatchUp | None = None
    """Which missed times get a job: `all` (the default), only the `latest`, or `none`."""
    catch_up_limit: CatchUpLimit | None = None
    """Maximum number of missed times that get a job each time a worker looks for due schedules, by default
    100. The other missed times get their jobs seconds later."""
    not_before: Moment | None = None
    """Earliest time of the schedule: RFC 3339 with a time zone, or seconds since 1970."""
    window: WindowRequest | None = None
    """The hours and days in which the jobs may begin; by default, the jobs may begin at any time."""
    paused: bool | None = None
    """True: the schedule submits no jobs, and times that pass during the pause get no job later."""

    def timing(self, old: Timing | None = None) -> Timing:
        """Return the rule that gives the times of the schedule.

        Args:
            old: the earlier rule. If the request gives neither ``cron`` nor ``interval_s``, the new rule has
                both values of ``old``. It has the time zone of ``old`` if the request gives no time zone.

        Raises:
            InvalidInput: the cron expression, the interval or the time zone is wrong, or the new rule has
                both or neither of ``cron`` and ``interval_s``.
        """
        keeps = old is not None and self.cron is None and self.interval_s is None
        return Timing(
            cron=old.cron if keeps and old is not None else self.cron,
            interval_s=old.interval_s if keeps and old is not None else self.interval_s,
            time_zone=self.time_zone or (old.time_zone if old is not None else "UTC"),
        )

    def changes(self) -> dict[str, Any]:
        """Return the options that the request gives, by their names in ``ScheduleOptions``."""
        window = None if self.window is None else self.window.window()
        values = {
            "name": self.name,
            "priority_class": self.priority_class,
            "priority": self.priority,
            "enabled": None if self.paused is None else not self.paused,
            "catch_up": self.catch_up,
            "catch_up_limit": self.catch_up_limit,
            "not_before": self.not_before,
            "run_window": window,
        }
        cleared = {"window": "run_window", "name": "name", "not_before": "not_before"}
        given = {option for field, option in cleared.items() if field in self.model_fields_set}
        return {name: value for name, value in values.items() if value is not None or name in given}


class CreateScheduleRequest(ScheduleFields):
    """A schedule to create."""

    kind: Text
    """Kind of the jobs, or an older name of the kind; `GET /v1/jobs/kinds` lists both."""
    input: dict[str, Any] = Field(default_factory=dict)
    """The input of each job, in the form that `GET /v1/jobs/kinds` shows."""

    def options(self) -> ScheduleOptions:
        """Return the options of the new schedule."""
        return replace(ScheduleOptions(), **self.changes())


class UpdateScheduleRequest(ScheduleFields):
    """A change of a schedule. Fields that are not given do not change; null removes a name, a `not_before` or
    a window.
    """

    NULL_CLEARS = frozenset({"name", "not_before", "window"})

    input: dict[str, Any] | None = None
    """The input of each job, in the form that `GET /v1/jobs/kinds` shows."""

    def options(self, schedule: Schedule) -> ScheduleOptions:
        """Return the options of the changed schedule."""
        return replace(schedule.options, **self.changes())
