"""Delete everything that a deleted organisation owns: jobs, vectors, rows, blobs and archived jobs.

Each step is safe to repeat, so an attempt after a crash continues with the remaining data. The result of the
job proves the deletion: for each table, the result has the number of rows that remain, which is 0. For tables
whose rows are kept on purpose, the result has the number of kept rows.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from psycopg import Connection

from cluster.database import translated
from cluster.documents import organisation_deletion as deletion
from cluster.documents.files import release_blobs
from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.errors import Conflict, Retryable
from cluster.jobs import attempts
from cluster.jobs.archive.archive_file import open_archive
from cluster.jobs.jobs import SYSTEM
from cluster.usage_reports.reports import delete_drafts
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt, transaction

T = TypeVar("T")

#: Maximum seconds that one attempt spends on deleting vectors from external indexes.
OUTBOX_S = 45.0
#: Seconds until the job checks again whether jobs of the organisation still run.
RUNNING_RETRY_S = 2.0
#: Seconds until the next attempt to delete vectors from an external index.
INDEX_RETRY_S = 10.0
#: Maximum number of passes over all tables. The first pass deletes the existing rows. The second pass deletes
#: rows that were inserted during the first pass; later insertions are refused.
MAX_PASSES = 5


@dataclass(frozen=True)
class DeleteOrganisation:
    """Runs jobs of the kind ``DELETE_ORGANISATION``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        tries = attempt.settings.index_attempts
        await attempt.stage("cancel", partial(self._cancel_jobs, attempt), tries=10 * tries)
        await attempt.stage("vectors", partial(self._delete_vectors, attempt), tries=10 * tries)
        await attempt.stage("delete", partial(self._delete_rest, attempt), tries=tries)

    async def _cancel_jobs(self, attempt: JobAttempt) -> None:
        """Cancel the jobs of the organisation.

        Raises:
            Retryable: some of these jobs still run.
        """
        running = await self._in(attempt, deletion.cancel_jobs)
        if running:
            raise Retryable(f"{running} jobs of the organisation still run", retry_after_s=RUNNING_RETRY_S)

    async def _delete_vectors(self, attempt: JobAttempt) -> None:
        """Delete the vector stores with their vectors, also on external indexes.

        Raises:
            Retryable: an index has not deleted all vectors yet.
            Conflict: an index that still has vectors is not in the settings of this node.
        """
        organisation = _organisation(attempt)
        for store in await self._in(attempt, deletion.mark_stores):
            rows = partial(self._store_rows, attempt, store)
            while await attempt.in_transaction(rows):
                attempt.goes_on()
        await attempt.in_thread(partial(self.resources.indexes.empty_outbox, limit_s=OUTBOX_S))
        unsent = await self._in(attempt, deletion.unsent_deletions)
        unknown = sorted(unsent.keys() - attempt.settings.index_sources.keys())
        if unknown:
            raise Conflict(
                f"vectors of organisation {organisation!r} are on the index {unknown[0]!r}, which is not "
                "configured here; add it to CLUSTER_INDEXES, then queue this job again"
            )
        if unsent:
            raise Retryable(
                f"{sum(unsent.values())} vectors are still to be deleted from {', '.join(sorted(unsent))}",
                retry_after_s=INDEX_RETRY_S,
            )

    def _store_rows(self, attempt: JobAttempt, store: str, connection: Connection[Any]) -> int:
        attempts.hold(connection, attempt.job)
        return delete_store_rows(connection, _organisation(attempt), store)

    async def _delete_rest(self, attempt: JobAttempt) -> None:
        """Delete all other rows, the blobs and the archived jobs, and end the job with the proof.

        Raises:
            Retryable: rows remain after ``MAX_PASSES`` passes.
        """
        organisation, deleted, blobs = _organisation(attempt), Counter[str](), 0
        archive = open_archive(attempt.settings)
        for _ in range(MAX_PASSES):
            await self._in(attempt, deletion.delete_turns)
            for column in await self._in(attempt, lambda connection, _: deletion.owner_columns(connection)):
                some = partial(self._some, attempt, column)
                while count := await attempt.in_transaction(some):
                    deleted[column.table] += count
                    attempt.goes_on()
                    await attempt.progress(deleted.total())
            blobs += await attempt.in_thread(partial(self.resources.blobs.delete_organisation, organisation))
            blobs += await attempt.in_thread(partial(self._delete_drafts, attempt))
            deleted["archived files"] += await attempt.in_thread(
                partial(archive.delete_organisation, organisation)
            )
            left = await self._in(attempt, deletion.remaining)
            if not any(left.values()):
                break
        else:
            raise Retryable(f"rows of organisation {organisation!r} are left: {left}")
        result = {
            "organisation": organisation,
            "deleted": dict(deleted),
            "blobs": blobs,
            "remaining": left,
            "kept": await self._in(attempt, deletion.kept),
        }
        await attempt.in_transaction(
            lambda connection: attempts.finish(connection, attempt.job, result=result)
        )

    def _delete_drafts(self, attempt: JobAttempt) -> int:
        """Delete the usage reports that are not final, and return the number of deleted blobs. Final reports
        are kept, because they are bills.
        """
        with transaction(attempt.pool, lease_s=attempt.settings.lease_s) as connection:
            attempts.hold(connection, attempt.job)
            hashes = delete_drafts(connection, _organisation(attempt))
        with translated(), attempt.pool.connection() as connection:
            return release_blobs(connection, self.resources.blobs, SYSTEM, hashes)

    def _some(self, attempt: JobAttempt, column: deletion.OwnerColumn, connection: Connection[Any]) -> int:
        attempts.hold(connection, attempt.job)
        return deletion.delete_some(connection, column, _organisation(attempt))

    async def _in(self, attempt: JobAttempt, step: Callable[[Connection[Any], str], T]) -> T:
        """Run one step in a transaction that locks the job, so that no other attempt can begin. Return the
        result of the step.
        """

        def held(connection: Connection[Any]) -> T:
            attempts.hold(connection, attempt.job)
            return step(connection, _organisation(attempt))

        return await attempt.in_transaction(held)


def _organisation(attempt: JobAttempt) -> str:
    return str(attempt.job.input["organisation"])
