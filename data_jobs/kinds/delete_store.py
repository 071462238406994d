"""The job that deletes what a deleted or expired vector store held, some of it in each transaction."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.documents.store_upkeep import delete_store_rows
from cluster.jobs import attempts
from data_jobs.kinds.resources import Resources
from data_jobs.worker.run import Run


@dataclass(frozen=True)
class DeleteStore:
    """Does jobs of the kind ``DELETE_STORE``; called with each attempt."""

    resources: Resources

    async def __call__(self, run: Run) -> None:
        await run.stage("delete", partial(self._delete, run), tries=run.settings.index_attempts)

    async def _delete(self, run: Run) -> None:
        deleted = 0
        while some := await run.in_transaction(partial(self._some, run)):
            deleted += some
            await run.progress(deleted)
        await run.in_transaction(
            lambda connection: attempts.finish(connection, run.job, result={"rows": deleted})
        )

    def _some(self, run: Run, connection: Connection[Any]) -> int:
        attempts.hold(connection, run.job)
        return delete_store_rows(
            connection, self.resources.index, run.job.organisation, run.job.input["vector_store"]
        )
