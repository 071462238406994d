"""Delete the content of a deleted or expired vector store, in transactions of limited size."""

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.crawls.site_pages import delete_site_files
from cluster.documents.files import release_blobs
from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import NotFound
from cluster.jobs import attempts
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt

#: Maximum number of files that one transaction deletes. With each file, its document and chunks are deleted.
SITE_FILES_AT_ONCE = 50


@dataclass(frozen=True)
class DeleteStore:
    """Runs jobs of the kind ``DELETE_STORE``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        await attempt.stage("delete", partial(self._delete, attempt), tries=attempt.settings.index_attempts)

    async def _delete(self, attempt: JobAttempt) -> None:
        deleted = await self._delete_site_files(attempt)
        while some := await attempt.in_transaction(partial(self._some, attempt)):
            deleted += some
            await attempt.progress(deleted)
        await attempt.in_transaction(
            lambda connection: attempts.finish(connection, attempt.job, result={"rows": deleted})
        )

    async def _delete_site_files(self, attempt: JobAttempt) -> int:
        """Delete the files that crawls made for the store, and return their number."""
        deleted = 0
        while released := await attempt.in_transaction(partial(self._some_site_files, attempt)):
            deleted += len(released)
            release = partial(self._release, attempt, released)
            await attempt.in_thread(release)
            await attempt.progress(deleted)
        return deleted

    def _some_site_files(self, attempt: JobAttempt, connection: Connection[Any]) -> list[str]:
        job, store = attempt.job, attempt.job.input["vector_store"]
        with contextlib.suppress(NotFound):  # no error, because a deleted store is not found
            if not get_store(connection, job.organisation, store).expired:
                return []
        released = delete_site_files(connection, job.organisation, store, limit=SITE_FILES_AT_ONCE)
        attempts.hold(connection, job)
        return released

    def _release(self, attempt: JobAttempt, released: list[str]) -> None:
        with attempt.pool.connection() as connection:
            release_blobs(connection, self.resources.blobs, attempt.job.organisation, released)

    def _some(self, attempt: JobAttempt, connection: Connection[Any]) -> int:
        attempts.hold(connection, attempt.job)
        return delete_store_rows(connection, attempt.job.organisation, attempt.job.input["vector_store"])
