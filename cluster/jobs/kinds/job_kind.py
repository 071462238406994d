"""What the kinds of jobs have in common: the defaults, the result fields and the permitted actions of a kind.

``kinds`` and ``upkeep_kinds`` make one ``JobKind`` for each kind.

    DELETE_STORE = JobKind(name="delete_store", unit="rows", result=("rows",))
"""

from dataclasses import dataclass

from pydantic import BaseModel

from cluster.jobs.jobs import PriorityClass

DEFAULT_ATTEMPTS = 3
#: Time limit of each stage of an upkeep job, in seconds. The limit is high, because the first archive of a
#: large table takes long, and so does building an approximate index.
UPKEEP_TIMEOUT_S = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobKind:
    """Defines the properties that all jobs of one kind share."""

    #: Name of the kind. It is stored in the row of each job, so it must never change.
    name: str
    #: Priority class of a job if its submitter gives none.
    priority_class: PriorityClass = PriorityClass.MEDIUM
    #: Maximum number of attempts at a job if its submitter gives none.
    attempts: int = DEFAULT_ATTEMPTS
    #: Time limit of each stage, in seconds; None: the setting ``CLUSTER_STAGE_TIMEOUT_S``.
    stage_timeout_s: float | None = None
    #: What the progress of a job counts.
    unit: str = "documents"
    #: Number of units in a new job; None if it is unknown.
    total: int | None = None
    #: Names of the fields of a succeeded job's result.
    result: tuple[str, ...] = ()
    #: True if a person may cancel such a job.
    cancellable: bool = True
    #: True if a person may queue such a job again after it failed or was cancelled.
    retryable: bool = True
    #: If ``retryable`` is False: what a person does instead of queueing the job again.
    remedy: str = ""
    #: True if the cluster's own schedules submit such jobs. An operator may also create schedules of this
    #: kind.
    by_schedule: bool = False
    #: The input that ``POST /v1/jobs`` accepts for this kind, a subclass of ``inputs.JobInput``; None if only
    #: the cluster itself submits such jobs.
    input: type[BaseModel] | None = None
    #: Other names that a request may use for the kind. These are the names of tasks in the platform that
    #: came before this project.
    aliases: tuple[str, ...] = ()
