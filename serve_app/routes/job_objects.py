"""The answers of /v1/jobs: a job, its history, and the number of jobs that were queued again."""

from datetime import datetime
from typing import Any, Literal, Self

from cluster.jobs.jobs import Job, JobState, PriorityClass
from cluster.jobs.view import AttemptRun, JobView, Reason, StageRun, Waiting
from serve_app.edge.response_model import ListObject, ResponseModel


class JobError(ResponseModel):
    """Why a job failed or was cancelled, or why its last attempt failed."""

    code: str | None
    """A code for programs."""
    message: str
    """A sentence for people."""


class JobProgress(ResponseModel):
    """How much of a job is done."""

    done: int
    """What is done; it never falls within an attempt, and reaches `total` when the job succeeds."""
    total: int | None
    """What there is to do; null while it is unknown."""
    unit: str
    """What both count, such as `percent`."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """The progress of the whole job."""
        return cls(done=job.done, total=job.total, unit=job.unit)


class StageProgress(ResponseModel):
    """How much of the current stage is done."""

    name: str
    """Name of the stage."""
    done: int
    """What is done."""
    total: int | None
    """What there is to do; null while it is unknown."""
    unit: str | None
    """What both count, such as `pages` or `chunks`; null until the stage has progress."""

    @classmethod
    def of(cls, stage: StageRun) -> Self:
        """The progress of the stage."""
        return cls(name=stage.name, done=stage.done, total=stage.total, unit=stage.unit)


class DetailedProgress(JobProgress):
    """How much of a job and of its current stage is done, and how fast it goes."""

    stage: StageProgress | None
    """The current stage, or the last one; null before the first."""
    rate_per_s: float | None
    """Units of the stage that are done in a second; null unless a stage runs."""
    eta_s: float | None
    """Seconds until the stage is done at that rate; null where that cannot be told."""

    @classmethod
    def of_view(cls, view: JobView) -> Self:
        """The progress of the job that a person looks at."""
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
    """What kind of job it is, such as `index_file`."""
    state: JobState
    """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
    priority_class: PriorityClass
    """How urgent the job is: `high`, `medium`, `low` or `scheduled`."""
    priority: int
    """0 to 9: of your queued jobs of one priority class, those with a higher number begin first."""
    subject: str | None
    """Id of the file, vector store or schedule that the job is about."""
    stage: str | None
    """Name of the current stage, or of the last one."""
    attempt: int
    """Number of the current attempt, or of the last one, from 1."""
    last_attempt: int
    """Number of the attempt after which the job fails."""
    progress: JobProgress
    """How much of the job is done."""
    cancel_asked: bool
    """True once the job's cancellation was requested."""
    error: JobError | None
    """Why the job failed or was cancelled, or why its last attempt failed; null otherwise."""
    created_at: float
    """Time at which the job was accepted."""
    started_at: float | None
    """Time at which its first attempt began."""
    finished_at: float | None
    """Time at which the job ended."""
    retry_at: float | None
    """While the job is queued: the earliest time at which it begins.

    While it runs: when it repeats a stage.
    """

    @classmethod
    def of(cls, job: Job) -> Self:
        """The job as lists show it."""
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
    """Time at which the wait ends, where that is known."""

    @classmethod
    def of(cls, waiting: Waiting) -> Self:
        """The reason."""
        return cls(reason=waiting.reason, message=waiting.message, until=_seconds(waiting.until))


class StageObject(ResponseModel):
    """A stage in one attempt."""

    stage: str
    """Name of the stage."""
    attempt: int
    """Number of the attempt."""
    tries: int
    """How often the stage was begun in that attempt."""
    done: int
    """What is done."""
    total: int | None
    """What there is to do; null while it is unknown."""
    unit: str | None
    """What both count; null until the stage has progress."""
    started_at: float
    """Time at which the stage was begun first."""
    ended_at: float | None
    """Time at which it ended; null while it runs, or where its worker was lost."""
    seconds: float | None
    """Seconds between the two."""
    error: str | None
    """The error with which it failed last."""

    @classmethod
    def of(cls, stage: StageRun) -> Self:
        """The stage."""
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
    """One attempt at a job."""

    attempt: int
    """Number of the attempt."""
    worker: str
    """Name of the process that made it."""
    outcome: str | None
    """`succeeded`, `failed`, `cancelled`, `retried` or `lost`; null while it runs."""
    started_at: float
    """Time at which it began."""
    ended_at: float | None
    """Time at which it ended; null while it runs."""
    seconds: float | None
    """Seconds between the two."""
    error: str | None
    """Why it did not succeed."""

    @classmethod
    def of(cls, attempt: AttemptRun) -> Self:
        """The attempt."""
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
    """What it found or made; null until it has ended."""
    worker: str | None
    """Name of the process of the current attempt, or of the last one."""
    position: int | None
    """Its position among your queued jobs of its priority class, from 1; null unless it is in line."""
    waiting: WaitingObject | None
    """Why the job makes no progress at the moment; null where it does."""
    stages: list[StageObject]
    """The stages of all attempts, in order."""
    attempts: list[AttemptObject]
    """The attempts, in order."""

    @classmethod
    def of_view(cls, view: JobView) -> Self:
        """The job that a person looks at."""
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
    """How many there are."""
    job_ids: list[str]
    """Their ids."""
    has_more: bool
    """True where more dead letters match than `limit` allows; send the request again."""


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
    }


def _exact_seconds(at: datetime) -> float:
    return round(at.timestamp(), 3)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else _exact_seconds(at)


def _between(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds(), 3)
