"""Maintenance jobs of the cluster. System schedules submit these jobs (``cluster.jobs.schedules``).

Each job is one function that runs in a thread. Every function is safe to repeat, and safe to run twice at the
same time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg_pool import ConnectionPool

from cluster.agents.imports import end_abandoned_imports
from cluster.database import translated
from cluster.documents.batches.batch_files import end_abandoned
from cluster.documents.chunks.change_counters import count_changes
from cluster.documents.chunks.chunk_words import renew_words
from cluster.documents.chunks.missing_indexes import build_missing
from cluster.documents.files import expire_files, release_blobs
from cluster.documents.storage_usage import record_storage
from cluster.documents.uploads import expire_uploads
from cluster.documents.vector_stores.store_upkeep import expire_stores
from cluster.jobs import attempts
from cluster.jobs.archive import retention
from cluster.organisations import idempotency
from cluster.responses import expire_responses
from cluster.settings import Settings
from cluster.webhooks import outbox as webhooks
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt

#: If nothing was written to an unfinished blob for this many seconds, the blob counts as abandoned.
UNFINISHED_S = 3_600.0
#: Maximum seconds that one job spends on renewing rows. A job of this kind starts every ten minutes.
RENEWAL_S = 300.0
#: After this many seconds, a job starts no further batch of the outbox. A job of this kind starts every
#: minute.
OUTBOX_S = 45.0

#: A function that does the work of a job and returns the result of the job.
UpkeepWork = Callable[[Resources, Settings, ConnectionPool], dict[str, Any]]


@dataclass(frozen=True)
class Upkeep:
    """Runs maintenance jobs of one kind; the worker calls an instance with each attempt."""

    work: UpkeepWork
    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        work = partial(self.work, self.resources, attempt.settings, attempt.pool)
        result = await attempt.stage(attempt.job.kind, partial(attempt.in_thread, work))
        await attempt.in_transaction(
            lambda connection: attempts.finish(connection, attempt.job, result=result)
        )


def expire(resources: Resources, settings: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Expire files, uploads, vector stores, stored responses and answers to idempotent requests that have
    reached their expiry time. Also end batches and imports of agents that no job will end, and webhook
    deliveries whose deadline has passed.
    """
    expired = {"files": 0, "uploads": 0, "batches": 0, "deliveries": 0, "responses": 0}
    with translated(), pool.connection() as connection:
        with connection.transaction():
            expire_stores(connection)
            idempotency.delete_old_answers(connection)
            expired["responses"] = expire_responses(connection)
        more = True
        while more:
            with connection.transaction():
                files, uploads = expire_files(connection), expire_uploads(connection)
            gone = [(file.organisation, file.sha256) for file in files]
            gone += [(upload.organisation, hash) for upload, hashes in uploads for hash in hashes]
            for organisation, hash in gone:
                release_blobs(connection, resources.blobs, organisation, [hash])
            expired["files"] += len(files)
            expired["uploads"] += len(uploads)
            more = bool(files or uploads)
        for organisation, hash in end_abandoned_imports(connection):
            release_blobs(connection, resources.blobs, organisation, [hash])
        ended = end_abandoned(connection, resources.blobs, max_line_bytes=settings.max_request_bytes)
        expired["batches"] = len(ended)
        with connection.transaction():
            expired["deliveries"] = webhooks.end_overdue(connection, deadline_s=settings.webhook_deadline_s)
    return expired


def renew_old_words(resources: Resources, settings: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Recompute the search words of rows that an older version of this code wrote, and add triggers and
    approximate indexes that chunk tables lack.
    """
    del settings
    count_changes(pool)
    rows = renew_words(pool, limit_s=RENEWAL_S)
    build_missing(pool, resources.indexes)
    return {"rows": rows}


def archive_jobs(resources: Resources, settings: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Move jobs that ended long ago to the archive, and delete rows that are no longer needed."""
    del resources
    archived = retention.archive(settings, pool)
    with translated(), pool.connection() as connection:
        deliveries = webhooks.delete_old(connection, log_days=settings.webhook_log_days)
    return {
        "jobs": archived.jobs,
        "entries": archived.entries,
        "uploads": archived.uploads,
        "deliveries": deliveries,
    }


def empty_outbox(resources: Resources, settings: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Update external vector indexes: delete the vectors of deleted chunks, and send changed attributes."""
    del settings, pool
    resources.indexes.empty_outbox(limit_s=OUTBOX_S)
    return {}


def discard_unfinished(resources: Resources, settings: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Delete unfinished blobs of writers that ended early. The schedule runs this function at night, because
    the function lists the whole blob store.
    """
    del settings, pool
    return {"blobs": resources.blobs.discard_unfinished(older_than_s=UNFINISHED_S)}


def measure_storage(resources: Resources, settings: Settings, pool: ConnectionPool) -> dict[str, Any]:
    """Record the bytes and vectors that each organisation stores today, unless this was recorded already."""
    del resources, settings
    with translated(), pool.connection() as connection:
        return {"organisations": record_storage(connection)}
