"""The models of the answers of /v1/jobs: a job, its history, and the jobs that were queued again."""

from datetime import datetime
from typing import Any, Literal, Self

from cluster.jobs.jobs import Job, JobState, PriorityClass
from cluster.jobs.view import AttemptRun, JobView, Reason, StageRun, Waiting
from cluster.tracing import TraceContext
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.routes.jobs.window_fields import WindowObject


class JobError(ResponseModel):
    """Why a job failed or was cancelled, or why its last attempt failed."""

    code: str | None
    """A code for programs."""
    message: str
    """A sentence for people."""


class JobProgress(ResponseModel):
    """How much of a job is done."""

    done: int
    """Number of units done; it never falls within an attempt, and equals `total` after a success."""
    total: int | None
    """Number of units in all; null while this number is unknown."""
    unit: str
    """Unit of `done` and `total`, such as `percent`."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """Convert the progress of the whole job into the object that answers contain."""
        return cls(done=job.done, total=job.total, unit=job.unit)


class StageProgress(ResponseModel):
    """How much of the current stage is done."""

    name: str
    """Name of the stage."""
    done: int
    """Number of units done."""
    total: int | None
    """Number of units in all; null while this number is unknown."""
    unit: str | None
    """Unit of `done` and `total`, such as `pages` or `chunks`; null until the stage has progress."""

    @classmethod
    def of(cls, stage: StageRun) -> Self:
        """Convert the progress of the stage into the object that answers contain."""
        return cls(name=stage.name, done=stage.done, total=stage.total, unit=stage.unit)


class DetailedProgress(JobProgress):
    """How much of a job and of its current stage is done, and the speed of the stage."""

    stage: StageProgress | None
    """The current stage, or the last stage; null before the first stage."""
    rate_per_s: float | None
    """Average number of units per second since the stage began; null if no stage runs."""
    eta_s: float | None
    """Seconds until the stage is done at the rate `rate_per_s`; null if this time is not known."""

    @classmethod
    def of_view(cls, view: JobView) -> Self:
        """Convert the detailed progress of the job into the object that answers contain."""
        job, speed = view.job, view.speed
        return cls(
            done=job.done,
            total=job.total,
            unit=job.unit,
            stage=None if view.current is None else StageProgress.of(view.current),
            rate_per_s=None if speed is None else round(speed.rate_per_s, 3),
            eta_s=None if speed is None or speed.eta_s is None else round(speed.eta_s, 1),
        )


class JobObject(ResponseModel):
    """A job. Times are seconds since 1970."""

    id: str
    """Id of the job."""
    object: Literal["job"] = "job"
    """Always `job`."""
    kind: str
    """Kind of the job, such as `index_file`."""
    state: JobState
    """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
    priority_class: PriorityClass
    """How urgent the job is: `high`, `medium`, `low` or `scheduled`."""
    priority: int
    """0 to 9: of your queued jobs of one priority class, those with a higher number begin first."""
    subject: str | None
    """Id of the file, vector store or schedule that the job is about."""
    stage: str | None
    """Name of the current stage, or of the last stage; null before the first stage."""
    attempt: int
    """Number of the current or last attempt, counted from 1."""
    last_attempt: int
    """Number of the last possible attempt. If this attempt fails, the job fails."""
    progress: JobProgress
    """How much of the job is done."""
    cancel_asked: bool
    """True if the job's cancellation was requested."""
    error: JobError | None
    """Why the job failed or was cancelled, or why its last attempt failed; null otherwise."""
    created_at: float
    """Time at which the job was accepted."""
    started_at: float | None
    """Time at which the first attempt of the job began."""
    finished_at: float | None
    """Time at which the job ended."""
    retry_at: float | None
    """While the job is queued: the earliest time at which the job can begin.

    While the job runs: the time at which the job repeats a stage that failed. Null if there is no such time.
    """
    window: WindowObject | None
    """The hours and days in which the job may begin; null if it may begin at any time."""
    schedule_id: str | None
    """Id of the schedule that submitted the job; null if no schedule submitted the job."""
    scheduled_for: float | None
    """The time of the schedule for which the job was submitted; null if no schedule submitted the job."""
    trace_id: str | None
    """Id of the trace in which the job was submitted: 32 hexadecimal digits, as in the `traceparent` of W3C
    Trace Context. Log lines of the job carry this id. Null for jobs of older releases."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """Convert the job, without its history, into the object that answers contain."""
        return cls(**_fields(job), progress=JobProgress.of(job))


class JobList(ListObject[JobObject]):
    """One page of the jobs."""


class WaitingObject(ResponseModel):
    """Why a job makes no progress at the moment."""

    reason: Reason
    """A code for programs."""
    message: str
    """A sentence for people."""
    until: float | None
    """Time at which the wait ends; null if this time is not known."""

    @classmethod
    def of(cls, waiting: Waiting) -> Self:
        """Convert the reason into the object that answers contain."""
        return cls(reason=waiting.reason, message=waiting.message, until=_seconds(waiting.until))


class StageObject(ResponseModel):
    """A stage in one attempt."""

    stage: str
    """Name of the stage."""
    attempt: int
    """Number of the attempt."""
    tries: int
    """How often the stage was started in this attempt."""
    done: int
    """Number of units done."""
    total: int | None
    """Number of units in all; null while this number is unknown."""
    unit: str | None
    """Unit of `done` and `total`; null until the stage has progress."""
    started_at: float
    """Time at which the stage was started for the first time in this attempt."""
    ended_at: float | None
    """Time at which the stage ended; null while the stage runs, or if its worker was lost."""
    seconds: float | None
    """Seconds between `started_at` and `ended_at`."""
    error: str | None
    """The last error of the stage; null if the stage has not failed."""

    @classmethod
    def of(cls, stage: StageRun) -> Self:
        """Convert the stage into the object that answers contain."""
        return cls(
            stage=stage.name,
            attempt=stage.attempt,
            tries=stage.tries,
            done=stage.done,
            total=stage.total,
            unit=stage.unit,
            started_at=_exact_seconds(stage.started_at),
            ended_at=_seconds(stage.ended_at),
            seconds=_between(stage.started_at, stage.ended_at),
            error=stage.error,
        )


class AttemptObject(ResponseModel):
    """One attempt of a job."""

    attempt: int
    """Number of the attempt."""
    worker: str
    """Name of the process that executed the attempt."""
    outcome: str | None
    """`succeeded`, `failed`, `cancelled`, `retried` or `lost`; null while the attempt runs."""
    started_at: float
    """Time at which the attempt began."""
    ended_at: float | None
    """Time at which the attempt ended; null while the attempt runs."""
    seconds: float | None
    """Seconds between `started_at` and `ended_at`."""
    error: str | None
    """Why the attempt did not succeed; null otherwise."""

    @classmethod
    def of(cls, attempt: AttemptRun) -> Self:
        """Convert the attempt into the object that answers contain."""
        return cls(
            attempt=attempt.number,
            worker=attempt.worker,
            outcome=attempt.outcome,
            started_at=_exact_seconds(attempt.started_at),
            ended_at=_seconds(attempt.ended_at),
            seconds=_between(attempt.started_at, attempt.ended_at),
            error=attempt.error,
        )


class DetailedJob(JobObject):
    """A job with its input, its result and its history. Times are seconds since 1970."""

    progress: DetailedProgress
    """How much of the job and of its current stage is done."""
    input: dict[str, Any]
    """What the job was asked to do."""
    result: dict[str, Any] | None
    """The result of the job; null until the job has ended."""
    worker: str | None
    """Name of the process that executes the current attempt, or executed the last attempt."""
    position: int | None
    """Position among your queued jobs of the same priority class, from 1; null if the job is not queued or
    cannot begin yet."""
    waiting: WaitingObject | None
    """Why the job makes no progress at the moment; null if the job does not wait."""
    stages: list[StageObject]
    """The stages of all attempts, in order."""
    attempts: list[AttemptObject]
    """The attempts, in order."""

    @classmethod
    def of_view(cls, view: JobView) -> Self:
        """Convert the job with its history into the object that answers contain."""
        return cls(
            **_fields(view.job),
            progress=DetailedProgress.of_view(view),
            input=view.job.input,
            result=view.job.result,
            worker=view.job.worker,
            position=view.position,
            waiting=None if view.waiting is None else WaitingObject.of(view.waiting),
            stages=[StageObject.of(stage) for stage in view.stages],
            attempts=[AttemptObject.of(attempt) for attempt in view.attempts],
        )


class RetriedJobs(ResponseModel):
    """The dead letters that were queued again."""

    object: Literal["job.retry"] = "job.retry"
    """Always `job.retry`."""
    retried: int
    """Number of jobs that were queued again."""
    job_ids: list[str]
    """Ids of the jobs that were queued again."""
    has_more: bool
    """True if more dead letters match than `limit` allows; send the request again to queue these, too."""


def _fields(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "priority_class": job.priority_class,
        "priority": job.priority,
        "subject": job.subject,
        "stage": job.stage,
        "attempt": job.attempt,
        "last_attempt": job.last_attempt,
        "cancel_asked": job.cancel_asked,
        "error": None if job.error is None else JobError(code=job.error_code, message=job.error),
        "created_at": _exact_seconds(job.created_at),
        "started_at": _seconds(job.started_at),
        "finished_at": _seconds(job.finished_at),
        "retry_at": _seconds(job.retry_at),
        "window": None if job.run_window is None else WindowObject.of(job.run_window),
        "schedule_id": job.schedule,
        "scheduled_for": _seconds(job.scheduled_for),
        "trace_id": None if (trace := TraceContext.of_work(job.traceparent)) is None else trace.trace_id,
    }


def _exact_seconds(at: datetime) -> float:
    return round(at.timestamp(), 3)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else _exact_seconds(at)


def _between(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds(), 3)
