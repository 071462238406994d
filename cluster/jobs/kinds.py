"""The kinds of job: one row for each, with its name, its defaults, its result, and what people may do with
it.

Read by ``queue`` (defaults of a new job, whether a job may be queued again), by the routes and by the doctor.
The code that does a kind of job stands in ``data_jobs/kinds``, which has a table of its own. To add a kind,
write its file there and add a row to each of the two tables.

    job = submit(connection, "default", INDEX_FILE, {"file": ..., "vector_store": ...})
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cluster.jobs.jobs import PriorityClass

DEFAULT_ATTEMPTS = 3
#: The first archive of a large table, say, takes its time.
UPKEEP_TIMEOUT_S = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class JobKind:
    """What all jobs of one kind have in common."""

    #: Stored in the row of each job, so it never changes.
    name: str
    #: Priority class of a job whose submitter names none.
    priority_class: PriorityClass = PriorityClass.MEDIUM
    #: Attempts of a job whose submitter gives no limit.
    attempts: int = DEFAULT_ATTEMPTS
    #: Time limit of each stage, in seconds; None: the setting ``CLUSTER_STAGE_TIMEOUT_S``.
    stage_timeout_s: float | None = None
    #: What its progress counts, and how much there is; None while the total is unknown.
    unit: str = "documents"
    total: int | None = None
    #: Names of the fields of a succeeded job's result.
    result: tuple[str, ...] = ()
    #: True where a person may cancel such a job.
    cancellable: bool = True
    #: True where a person may queue such a job again after it failed or was cancelled.
    retryable: bool = True
    #: What a person does instead, where not.
    remedy: str = ""


INDEX_FILE = JobKind(
    name="index_file",
    unit="percent",
    total=100,
    result=(
        "document",
        "outcome",
        "detail",
        "pages",
        "chunks",
        "embedded",
        "tokens",
        "tokens_embedded",
        "facts",
        "failed_pages",
        "vector_store",
        "file",
    ),
)
DELETE_STORE = JobKind(name="delete_store", priority_class=PriorityClass.LOW, unit="rows", result=("rows",))
INGEST = JobKind(
    name="ingest",
    attempts=1,
    retryable=False,
    remedy="it was a command's own; run the command again",
    result=(
        "documents",
        "unchanged",
        "pages",
        "chunks",
        "embedded",
        "tokens",
        "tokens_embedded",
        "outcomes",
        "left_out",
        "seconds",
        "tokens_per_s",
    ),
)


def _upkeep(name: str, *result: str) -> JobKind:
    """A kind of job that maintains the cluster itself.

    A failed job of this kind does not become a dead letter, because the schedule runs it again.
    """
    return JobKind(
        name=name,
        priority_class=PriorityClass.SCHEDULED,
        stage_timeout_s=UPKEEP_TIMEOUT_S,
        unit="jobs",
        result=result,
        retryable=False,
        remedy="its schedule submits the next one",
    )


EXPIRE = _upkeep("expire", "files", "uploads")
EMPTY_OUTBOX = _upkeep("empty_outbox")
RENEW_WORDS = _upkeep("renew_words", "rows")
ARCHIVE_JOBS = _upkeep("archive_jobs", "jobs", "entries", "uploads")
DISCARD_UNFINISHED = _upkeep("discard_unfinished", "blobs")

#: By name.
KINDS: Mapping[str, JobKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            INDEX_FILE,
            DELETE_STORE,
            INGEST,
            EXPIRE,
            EMPTY_OUTBOX,
            RENEW_WORDS,
            ARCHIVE_JOBS,
            DISCARD_UNFINISHED,
        )
    }
)


def kind_named(name: str) -> JobKind:
    """The kind of that name; one with every default for a job of a release that knows more kinds than this
    one.
    """
    return KINDS.get(name) or JobKind(name=name)


def not_retryable() -> list[str]:
    """Names of the kinds whose jobs nobody can queue again."""
    return [kind.name for kind in KINDS.values() if not kind.retryable]
