"""The job of a batch of embedding requests: check the input file, send the requests in the file to the
models, and write the answers.

The answers are stored in parts (``cluster.documents.batches``). A new attempt continues after the last part.
The job also ends the batch if the batch is cancelled or its completion window ends. Answers that are stored
by then are kept. If the models cannot answer for long, the job gives up its slot and continues later, until
the window ends.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from psycopg import Connection

from cluster.database import translated
from cluster.documents.batches import batch_progress
from cluster.documents.batches.batch_files import write_files
from cluster.documents.batches.batch_input import CheckedInput, InputError, check_input
from cluster.documents.batches.batch_progress import BatchFiles, PartHashes
from cluster.documents.batches.batches import BatchStatus, RequestBatch, lock_batch
from cluster.documents.files import release_blobs
from cluster.engines import Registry, describe
from cluster.errors import BudgetExceeded, NotFound, Retryable
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE
from data_jobs.kinds.answer_requests import AnswerRequests
from data_jobs.kinds.resources import Resources
from data_jobs.worker.budget_hold import BudgetHold
from data_jobs.worker.job_attempt import BACKOFF, JobAttempt, NotWanted
from data_jobs.worker.stage_errors import TryLater

log = structlog.get_logger(__name__)

#: Error code of a job whose batch has a wrong input file.
INVALID_BATCH = "invalid_batch"
#: Maximum seconds after which a batch that waits for a budget asks again, because the budget may be raised.
BUDGET_WAIT_S = 300.0


@dataclass(frozen=True)
class EmbedBatch:
    """Runs jobs of the kind ``EMBED_BATCH``; the worker calls an instance with each attempt."""

    resources: Resources

    async def __call__(self, attempt: JobAttempt) -> None:
        async with BudgetHold(attempt) as hold:
            await _BatchWork(self.resources, attempt, hold).do()


@dataclass
class _BatchWork:
    """Runs one attempt at the job."""

    resources: Resources
    attempt: JobAttempt
    hold: BudgetHold

    async def do(self) -> None:
        """Run all stages in order.

        Raises:
            NotWanted: the batch does not exist or has ended.
            TryLater: the models cannot answer now, or a budget does not cover the next requests. The job
                gives up its slot until this may change, or until the completion window ends.
        """
        attempt = self.attempt
        batch = await attempt.in_transaction(self._open)
        if batch.in_progress_at is None and batch.status != BatchStatus.CANCELLING:
            checked = await attempt.stage("validate", partial(attempt.in_thread, partial(self._check, batch)))
            if checked.errors:
                await self._end(BatchStatus.FAILED, errors=checked.errors)
                return
            await attempt.in_transaction(partial(self._begin, checked.requests))
        answering = AnswerRequests(self.resources, attempt, self.hold)
        reached = await attempt.stage("embed", answering)
        if isinstance(reached, BudgetExceeded):
            wait_s = min(BUDGET_WAIT_S, max(BACKOFF.longest_s, reached.retry_after_s))
            run_at = min(batch.expires_at, datetime.now(UTC) + timedelta(seconds=wait_s))
            raise TryLater(run_at, *attempt.describe(reached), counts=False)
        if isinstance(reached, Retryable):
            wait_s = max(BACKOFF.longest_s, reached.retry_after_s or 0.0)
            run_at = min(batch.expires_at, datetime.now(UTC) + timedelta(seconds=wait_s))
            raise TryLater(run_at, *attempt.describe(reached), counts=False)
        await self._end(reached)

    def _open(self, connection: Connection[Any]) -> RequestBatch:
        """Lock the batch of the job until the transaction ends, and return the batch.

        Raises:
            NotWanted: the batch does not exist or has ended.
        """
        try:
            batch = lock_batch(connection, self.attempt.job.organisation, self.attempt.job.input["batch"])
        except NotFound as exc:
            raise NotWanted(str(exc), GONE) from exc
        if batch.status.ended:
            raise NotWanted(f"batch {batch.id} has ended: it is {batch.status}", GONE)
        return batch

    def _hold(self, connection: Connection[Any]) -> RequestBatch:
        """Lock the batch, then the job, until the transaction ends, and return the batch."""
        batch = self._open(connection)
        attempts.hold(connection, self.attempt.job)
        return batch

    def _check(self, batch: RequestBatch) -> CheckedInput:
        with self.resources.blobs.open(batch.organisation, batch.input_sha256) as file:
            return check_input(file, max_line_bytes=self.attempt.settings.max_request_bytes)

    def _begin(self, requests: int, connection: Connection[Any]) -> None:
        registry = Registry(self.attempt.settings)
        fingerprints = {name: describe(entry).id for name, entry in registry.entries.items()}
        batch_progress.begin(connection, self._hold(connection), total=requests, fingerprints=fingerprints)

    async def _end(self, status: BatchStatus, *, errors: list[InputError] | None = None) -> None:
        """Write the files of the batch, and end the batch in this status. Also end the job."""
        attempt = self.attempt

        async def write() -> list[str]:
            batch, parts = await attempt.in_transaction(self._finalise)
            files = await attempt.in_thread(
                lambda: write_files(
                    self.resources.blobs,
                    batch,
                    parts,
                    status,
                    max_line_bytes=attempt.settings.max_request_bytes,
                )
            )
            end = partial(self._end_in_transaction, status, files, errors or [])
            return await attempt.in_transaction(end)

        released = await attempt.stage("write", write, tries=attempt.settings.index_attempts)
        await attempt.in_thread(partial(self._release, released))

    def _finalise(self, connection: Connection[Any]) -> tuple[RequestBatch, PartHashes]:
        batch = self._hold(connection)
        batch_progress.finalise(connection, batch)
        return batch, batch_progress.parts_of(connection, batch)

    def _end_in_transaction(
        self, status: BatchStatus, files: BatchFiles, errors: list[InputError], connection: Connection[Any]
    ) -> list[str]:
        job, batch = self.attempt.job, self._hold(connection)
        released = batch_progress.end(connection, self.resources.blobs, batch, status, files, errors=errors)
        ended = self._open_ended(connection)
        result = {
            "batch": batch.id,
            "status": status,
            "total": ended.total,
            "completed": ended.completed,
            "failed": ended.failed,
            "tokens": sum(ended.tokens.values()),
            "output_file": ended.output_file,
            "error_file": ended.error_file,
        }
        if status == BatchStatus.FAILED:
            line = f"line {errors[0].line}: " if errors[0].line else ""
            attempts.fail(connection, job, line + errors[0].message, code=INVALID_BATCH, result=result)
        elif status == BatchStatus.CANCELLED:
            reason = f"its batch {batch.id} was cancelled"
            attempts.end_cancelled(connection, job, reason=reason, result=result)
        else:
            attempts.finish(connection, job, result=result)
        return released

    def _open_ended(self, connection: Connection[Any]) -> RequestBatch:
        return lock_batch(connection, self.attempt.job.organisation, self.attempt.job.input["batch"])

    def _release(self, hashes: list[str]) -> None:
        """Delete the blobs with these hashes, except blobs that a row still names. ``cluster.doctor`` finds
        blobs that could not be deleted.
        """
        try:
            with translated(), self.attempt.pool.connection() as connection:
                release_blobs(connection, self.resources.blobs, self.attempt.job.organisation, hashes)
        except Retryable as exc:
            log.warning("blobs_not_released", reason=str(exc))
