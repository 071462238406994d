"""Delete the content of a deleted or expired vector store, in transactions of limited size."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.jobs import attempts
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt


@dataclass(frozen=True)
class DeleteStore:
    """Runs jobs of the kind ``DELETE_STORE``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        await attempt.stage("delete", partial(self._delete, attempt), tries=attempt.settings.index_attempts)

    async def _delete(self, attempt: JobAttempt) -> None:
        deleted = 0
        while some := await attempt.in_transaction(partial(self._some, attempt)):
            deleted += some
            await attempt.progress(deleted)
        await attempt.in_transaction(
            lambda connection: attempts.finish(connection, attempt.job, result={"rows": deleted})
        )

    def _some(self, attempt: JobAttempt, connection: Connection[Any]) -> int:
        attempts.hold(connection, attempt.job)
        return delete_store_rows(connection, attempt.job.organisation, attempt.job.input["vector_store"])
