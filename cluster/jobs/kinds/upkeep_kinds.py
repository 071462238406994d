"""The kinds of jobs that maintain the cluster itself, which schedules submit. ``kinds`` lists them with all
others.

    submit(connection, SYSTEM, EXPIRE, {})
"""

from cluster.jobs.jobs import PriorityClass
from cluster.jobs.kinds.job_kind import UPKEEP_TIMEOUT_S, JobKind


def _upkeep(name: str, *result: str) -> JobKind:
    """Make a kind of job that maintains the cluster itself.

    A failed job of such a kind does not count as a dead letter, because its schedule submits a new job.
    """
    return JobKind(
        name=name,
        priority_class=PriorityClass.SCHEDULED,
        stage_timeout_s=UPKEEP_TIMEOUT_S,
        unit="jobs",
        result=result,
        retryable=False,
        remedy="its schedule submits the next one",
        by_schedule=True,
    )


EXPIRE = _upkeep("expire", "files", "uploads", "batches", "deliveries")
EMPTY_OUTBOX = _upkeep("empty_outbox")
RENEW_WORDS = _upkeep("renew_words", "rows")
ARCHIVE_JOBS = _upkeep("archive_jobs", "jobs", "entries", "uploads", "deliveries")
USAGE_REPORTS = JobKind(
    name="usage_reports",
    priority_class=PriorityClass.SCHEDULED,
    # An attempt continues after the last organisation whose reports are complete.
    attempts=10,
    stage_timeout_s=UPKEEP_TIMEOUT_S,
    unit="organisations",
    result=("organisations", "reports", "failed", "failures", "deleted_drafts"),
    retryable=False,
    remedy="its schedule submits the next one",
    by_schedule=True,
)
DISCARD_UNFINISHED = _upkeep("discard_unfinished", "blobs")
MEASURE_STORAGE = _upkeep("measure_storage", "organisations")
COMPUTE_HOURLY_STATS = _upkeep("compute_hourly_stats", "organisations", "failed", "windows")
COMPUTE_DAILY_ANALYTICS = _upkeep("compute_daily_analytics", "organisations", "failed", "windows")
RECONCILE_ANALYTICS = _upkeep("reconcile_analytics", "organisations", "failed", "windows", "differences")
DELETE_OLD_PLATFORM_DATA = _upkeep(
    "delete_old_platform_data", "organisations", "failed", "messages", "customer_events", "conversations"
)
