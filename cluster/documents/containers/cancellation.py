"""Cancel the jobs of a container's entries together with the job of the container.

The route that cancels a job and the cancellation of file batches call these functions.

    with connection.transaction():
        cancel_with_entries(connection, get_job(connection, "default", "job_1"))
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.documents.containers.membership import lock_entries
from cluster.jobs import queue
from cluster.jobs.jobs import Job
from cluster.jobs.kinds import INDEX_FILE

SQL = queries("cluster.documents.containers", "cancellation.sql")
#: Error code of an entry's job that was cancelled together with the job of the container. If the container's
#: job is queued again, such entries are indexed, too.
CONTAINER_CANCELLED = "container_cancelled"


def cancel_with_entries(connection: Connection[Any], job: Job) -> Job:
    """Cancel the job, as ``queue.cancel`` does. If the job is that of a container, also cancel the open jobs
    of its entries.

    Raises:
        NotFound: the job no longer exists.
    """
    if job.kind == INDEX_FILE.name:
        lock_entries(connection, job.organisation)
    cancelled = queue.cancel(connection, job.organisation, job.id)
    if job.kind == INDEX_FILE.name:
        cancel_entries(connection, job.organisation, [job.id])
    return cancelled


def cancel_entries(connection: Connection[Any], organisation: str, jobs: Sequence[str]) -> None:
    """Cancel the open jobs of the entries of containers. An entry that another container of the same store
    has, too, continues if the job of the other container is open. Call ``lock_entries`` first.

    Args:
        jobs: ids of the cancelled jobs. Jobs of files that are no containers are ignored.
    """
    found = connection.execute(
        SQL["open_jobs"], {"organisation": organisation, "jobs": list(jobs)}
    ).fetchall()
    if found:
        reason = "the job of its container was cancelled; it continues if that job is queued again"
        ids = [job for (job,) in found]
        queue.cancel_many(connection, organisation, ids, reason=reason, code=CONTAINER_CANCELLED)
