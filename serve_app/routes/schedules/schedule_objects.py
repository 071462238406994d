"""The models of the answers of /v1/schedules: a schedule with its next times, and a run of a schedule."""

from datetime import datetime
from typing import Any, Literal, Self

from cluster.jobs.jobs import JobState, PriorityClass
from cluster.jobs.schedules.runs import ScheduleRun
from cluster.jobs.schedules.schedules import CatchUp, Schedule
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.routes.jobs.job_objects import JobError
from serve_app.routes.jobs.window_fields import WindowObject

#: Number of future times that an answer shows, so that a person sees what a cron expression means.
SHOWN_TIMES = 5


class ScheduleObject(ResponseModel):
    """A schedule. Times are seconds since 1970, except for `next_times`."""

    id: str
    """Id of the schedule, `sched_...`."""
    object: Literal["schedule"] = "schedule"
    """Always `schedule`."""
    name: str | None
    """Name of the schedule, for people; null if the schedule has no name."""
    kind: str
    """Kind of the jobs."""
    input: dict[str, Any]
    """The input of each job."""
    cron: str | None
    """The cron expression that gives the times; null if the schedule has an interval."""
    interval_s: int | None
    """Seconds between two times; null if the schedule has a cron expression."""
    time_zone: str
    """IANA name of the time zone of the cron expression."""
    priority_class: PriorityClass
    """Urgency of the jobs: `high`, `medium`, `low` or `scheduled`."""
    priority: int
    """Priority, 0 to 9: of your queued jobs of one priority class, those with a higher number begin first."""
    catch_up: CatchUp
    """Which missed times get a job: `all`, only the `latest`, or `none`."""
    catch_up_limit: int
    """Maximum number of missed times that get a job each time a worker looks for due schedules."""
    not_before: float | None
    """Earliest time of the schedule; null if the schedule has no earliest time."""
    window: WindowObject | None
    """The hours and days in which the jobs may begin; null if the jobs may begin at any time."""
    paused: bool
    """True if the schedule submits no jobs."""
    paused_reason: str | None
    """Why a worker paused the schedule; null if no worker has paused it."""
    next_run_at: float | None
    """The next time; null while the schedule is paused."""
    next_times: list[str]
    """The next five times, on the clock of `time_zone`, such as `2026-03-29T03:30:00+02:00`. While the
    schedule is paused, these are the times that it would have without the pause."""
    last_run_at: float | None
    """The last time of the schedule for which a job was submitted; null if there was no job."""
    last_job_id: str | None
    """Id of the job for the time in `last_run_at`; null if there was no job."""
    created_at: float
    """Time of creation."""

    @classmethod
    def of(cls, schedule: Schedule, now: datetime) -> Self:
        """Convert the schedule into the object that answers contain."""
        return cls(
            id=schedule.id,
            name=schedule.name,
            kind=schedule.kind,
            input=schedule.arguments,
            cron=schedule.cron,
            interval_s=schedule.interval_s,
            time_zone=schedule.time_zone,
            priority_class=schedule.priority_class,
            priority=schedule.priority,
            catch_up=schedule.catch_up,
            catch_up_limit=schedule.catch_up_limit,
            not_before=_seconds(schedule.not_before),
            window=None if schedule.run_window is None else WindowObject.of(schedule.run_window),
            paused=not schedule.enabled,
            paused_reason=schedule.disabled_because,
            next_run_at=_seconds(schedule.next_run_at) if schedule.enabled else None,
            next_times=[at.isoformat(timespec="seconds") for at in schedule.next_times(SHOWN_TIMES, now=now)],
            last_run_at=_seconds(schedule.last_run_at),
            last_job_id=schedule.last_job,
            created_at=_exact_seconds(schedule.created_at),
        )


class ScheduleList(ListObject[ScheduleObject]):
    """One page of the schedules."""


class DeletedSchedule(ResponseModel):
    """The confirmation that a schedule was deleted. The jobs of the schedule are kept."""

    id: str
    """Id of the deleted schedule."""
    object: Literal["schedule.deleted"] = "schedule.deleted"
    """Always `schedule.deleted`."""
    deleted: Literal[True] = True
    """Always true."""


class ScheduleRunObject(ResponseModel):
    """A run of a schedule. Times are seconds since 1970."""

    id: str
    """Id of the run, `run_...`."""
    object: Literal["schedule.run"] = "schedule.run"
    """Always `schedule.run`."""
    schedule_id: str
    """Id of the schedule."""
    scheduled_for: float
    """The time of the schedule. For a run that a person started, the time of that start."""
    trigger: Literal["schedule", "request"]
    """`request` if a person started the run, otherwise `schedule`."""
    missed_from: float | None
    """If the job of this run replaces the jobs of missed times, the first of these times; otherwise null."""
    job_id: str | None
    """Id of the job; null if no job was accepted."""
    state: JobState
    """State of the job; `failed` if no job was accepted."""
    created_at: float
    """Time at which the run was recorded, and its job was submitted."""
    started_at: float | None
    """Time at which the first attempt of the job began."""
    finished_at: float | None
    """Time at which the job ended."""
    duration_s: float | None
    """Seconds between `started_at` and `finished_at`; null if the job has not ended."""
    result: dict[str, Any] | None
    """The result of the job; null until the job has ended."""
    error: JobError | None
    """Why the job failed or was not accepted; null otherwise."""

    @classmethod
    def of(cls, run: ScheduleRun) -> Self:
        """Convert the run into the object that answers contain."""
        return cls(
            id=run.id,
            schedule_id=run.schedule,
            scheduled_for=_exact_seconds(run.scheduled_for),
            trigger="request" if run.by_hand else "schedule",
            missed_from=_seconds(run.missed_from),
            job_id=run.job,
            state=run.state,
            created_at=_exact_seconds(run.created_at),
            started_at=_seconds(run.started_at),
            finished_at=_seconds(run.finished_at),
            duration_s=None if run.duration_s is None else round(run.duration_s, 3),
            result=run.result,
            error=None if run.error is None else JobError(code=run.error_code, message=run.error),
        )


class ScheduleRunList(ListObject[ScheduleRunObject]):
    """One page of the runs of a schedule."""


def _exact_seconds(at: datetime) -> float:
    return round(at.timestamp(), 3)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else _exact_seconds(at)
