"""The job that erases a customer with many rows, in transactions of limited size.

Each transaction also saves how many rows were deleted. So a job whose worker was killed continues with the
remaining rows, and the proof counts every row once.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.jobs import attempts
from cluster.jobs.file_rows.row_progress import forget_progress, get_progress, save_progress
from cluster.platform_data.erasure import TABLES, delete_some, end_erasure
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt


@dataclass(frozen=True)
class EraseCustomer:
    """Runs jobs of the kind ``ERASE_CUSTOMER``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        await attempt.stage("delete", partial(self._delete, attempt))
        await attempt.stage("prove", partial(attempt.in_transaction, partial(_prove, attempt)))

    async def _delete(self, attempt: JobAttempt) -> None:
        for table in TABLES:
            while done := await attempt.in_transaction(partial(_delete_some, attempt, table)):
                attempt.goes_on()
                await attempt.progress(done)


def _delete_some(attempt: JobAttempt, table: str, connection: Connection[Any]) -> int | None:
    """Delete some rows of the table. Return the number of all rows that the job has deleted; None if no row
    of the table is left.
    """
    job = attempts.hold(connection, attempt.job)
    count = delete_some(connection, job.organisation, job.input["customer"], table)
    if not count:
        return None
    before, deleted = get_progress(connection, job.organisation, job.id)
    counts = {**deleted, table: deleted.get(table, 0) + count}
    save_progress(connection, job, before + count, counts, [])
    return before + count


def _prove(attempt: JobAttempt, connection: Connection[Any]) -> None:
    """Count the rows that are left, and end the job."""
    job = attempts.hold(connection, attempt.job)
    customer = job.input["customer"]
    _, saved = get_progress(connection, job.organisation, job.id)
    deleted = {table: saved.get(table, 0) for table in TABLES}
    erasure = end_erasure(connection, job.organisation, customer, deleted)
    result = {
        "customer": customer,
        "deleted_rows": dict(erasure.deleted),
        "remaining_rows": dict(erasure.remaining),
    }
    forget_progress(connection, job.organisation, job.id)
    attempts.finish(connection, job, result=result)
