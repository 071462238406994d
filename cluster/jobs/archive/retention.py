"""Moves jobs that ended long ago to the archive, and deletes rows that are no longer needed.

Called by the job ``archive_jobs``. Usage events stay in the database after their jobs are archived.

    done = archive(settings, pool)
    done.jobs, done.files

Each batch of jobs is one transaction, which locks the jobs, writes them to the archive, reads the file back
and deletes the rows. If the process is killed before the commit, the jobs are in the database and in the
archive, and the next run writes the same file again. After the commit the jobs are in the archive only.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import structlog
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.queries import queries
from cluster.jobs.archive.archive_file import LISTS, Archive, by_day_and_organisation, open_archive
from cluster.jobs.queue_tables import delete_ended_entries
from cluster.jobs.schedules.runs import delete_old_runs
from cluster.organisations.idempotency import delete_old_answers
from cluster.rate_limits.shared_rate import delete_expired_slices
from cluster.settings import Settings

SQL = queries("cluster.jobs.archive", "retention.sql")
log = structlog.get_logger(__name__)

#: Maximum number of jobs in one transaction. This many jobs are a few MB of rows, locked for about a second.
JOBS_PER_BATCH = 1_000
ROWS_PER_BATCH = 10_000
SECONDS_PER_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Archived:
    """Counts what one run moved and deleted."""

    jobs: int = 0
    #: Paths of the Parquet files written.
    files: tuple[str, ...] = field(default=())
    #: Number of deleted queue entries, all of which had ended.
    entries: int = 0
    #: Number of deleted answers, which were stored for repeated requests.
    keys: int = 0
    #: Number of deleted multipart uploads, all of which had ended.
    uploads: int = 0


def archive(settings: Settings, pool: ConnectionPool, *, batch: int = JOBS_PER_BATCH) -> Archived:
    """Move the jobs that finished more than ``retention_days`` days ago to the archive. Then delete old queue
    entries, uploads, stored answers, expired slices of rates, and those runs of schedules that have no job.

    A call of this function can be killed and repeated, and two processes can call it at the same time.

    Args:
        batch: maximum number of jobs in one transaction.

    Raises:
        Misconfigured: the archive's kind of storage is unknown, or its extra is not installed.
        Unavailable: the database or the archive does not answer; earlier batches stay archived.
    """
    to = open_archive(settings)
    older_than_s = settings.retention_days * SECONDS_PER_DAY
    jobs, files = 0, list[str]()
    while True:
        with translated(), pool.connection() as connection:
            moved, paths = _move(connection, to, older_than_s, batch)
        jobs, files = jobs + moved, files + paths
        if moved < batch:
            break
    entries = _delete_entries(pool, older_than_s)
    with translated(), pool.connection() as connection:
        keys = delete_old_answers(connection)
        delete_old_runs(connection, older_than_s=older_than_s)
        delete_expired_slices(connection)
        uploads = connection.execute(SQL["delete_uploads_of_all"], {"older_than_s": older_than_s}).rowcount
    log.info("archived", jobs=jobs, files=len(files), entries=entries, keys=keys, uploads=uploads)
    return Archived(jobs=jobs, files=tuple(files), entries=entries, keys=keys, uploads=uploads)


def _move(connection: Connection[Any], to: Archive, older_than_s: float, limit: int) -> tuple[int, list[str]]:
    """Move one batch in the caller's transaction. Return the number of jobs and the paths of their files.

    Move nothing while another process moves a batch.
    """
    if connection.execute(SQL["lock_of_all"]).fetchone() != (True,):
        return 0, []
    with connection.cursor(row_factory=dict_row) as cursor:
        jobs = cursor.execute(
            SQL["old_jobs_of_all"], {"older_than_s": older_than_s, "limit": limit}
        ).fetchall()
    if not jobs:
        return 0, []
    keys = {"organisation": [job["organisation"] for job in jobs], "id": [job["id"] for job in jobs]}
    for name in LISTS:
        history = _history(connection, name, keys)
        for job in jobs:
            job[name] = history[job["organisation"], job["id"]]
    files = [
        to.write(organisation, day, part)
        for (day, organisation), part in by_day_and_organisation(jobs).items()
    ]
    connection.execute(SQL["delete_jobs"], keys)
    return len(jobs), files


def _history(
    connection: Connection[Any], name: str, keys: dict[str, list[str]]
) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the rows of one table that belong to the jobs, grouped by job."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(SQL[name], keys):
            found[row.pop("organisation"), row.pop("job")].append(row)
    return found


def _delete_entries(pool: ConnectionPool, older_than_s: float) -> int:
    deleted = 0
    while True:
        with translated(), pool.connection() as connection:
            batch = delete_ended_entries(connection, older_than_s=older_than_s, limit=ROWS_PER_BATCH)
        deleted += batch
        if batch < ROWS_PER_BATCH:
            return deleted
