"""Write the output file and the error file of a batch from its parts, and end batches without a running job.

The job of a batch calls ``write_files``. Upkeep calls ``end_abandoned`` to end the batches that their jobs
cannot end, because a job failed, was cancelled, or did not begin before the completion window ended.

    files = write_files(blobs, batch, parts, BatchStatus.CANCELLED, max_line_bytes=1_000_000)
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from psycopg import Connection

from cluster.blobs import READ_BYTES, Blob, BlobStore, BlobWriter
from cluster.documents.batches import batch_progress
from cluster.documents.batches.batch_answers import unanswered_line
from cluster.documents.batches.batch_input import InputError, read_requests
from cluster.documents.batches.batch_progress import BatchFiles, PartHashes
from cluster.documents.batches.batches import SQL, BatchStatus, RequestBatch, get_batch, lock_batch
from cluster.documents.files import release_blobs
from cluster.errors import Permanent
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState

log = structlog.get_logger(__name__)

#: Maximum number of batches that one round of ``end_abandoned`` ends.
ROUND_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The error of a request that was not sent to a model, because the batch ended first."""

    code: str
    message: str


#: The error of requests without an answer, for each status in which a batch can end. The codes are those of
#: OpenAI, except the code for a failed batch.
UNANSWERED: Mapping[BatchStatus, Unanswered] = {
    BatchStatus.EXPIRED: Unanswered(
        "batch_expired", "This request could not be executed before the completion window expired."
    ),
    BatchStatus.CANCELLED: Unanswered(
        "batch_cancelled", "The batch was cancelled before this request was executed."
    ),
    BatchStatus.FAILED: Unanswered("batch_failed", "The batch failed before this request was executed."),
}


def write_files(
    blobs: BlobStore,
    batch: RequestBatch,
    parts: PartHashes,
    status: BatchStatus,
    *,
    max_line_bytes: int,
) -> BatchFiles:
    """Write the output file and the error file from the parts, in the order of the lines. Then add the
    requests without an answer to the error file.

    Args:
        parts: the hashes of the parts' blobs.
        status: the status in which the batch ends.
        max_line_bytes: maximum number of bytes of a line of the input file.

    Raises:
        Permanent: a blob is missing or damaged.
        Unavailable: the blob store does not answer.
    """
    with ExitStack() as stack:
        output = stack.enter_context(blobs.writer(batch.organisation))
        error = stack.enter_context(blobs.writer(batch.organisation))
        for of_output, of_error in parts:
            _append(blobs, batch, output, of_output)
            _append(blobs, batch, error, of_error)
        unanswered = 0
        if batch.completed + batch.failed < batch.total:
            unanswered = _append_unanswered(blobs, batch, error, UNANSWERED[status], max_line_bytes)
        return BatchFiles(output=_committed(output), error=_committed(error), unanswered=unanswered)


def end_abandoned(
    connection: Connection[Any], blobs: BlobStore, *, max_line_bytes: int
) -> list[RequestBatch]:
    """End open batches, of all organisations, that no job will end; at most ``ROUND_LIMIT`` batches. Return
    the batches that this call has ended, in their state before the end.

    Each batch ends in a separate transaction. Several processes may call this at the same time.
    """
    with connection.transaction():
        found = connection.execute(SQL["abandoned_of_all"], {"limit": ROUND_LIMIT}).fetchall()
    ended = []
    for organisation, id in found:
        with connection.transaction():
            batch = get_batch(connection, organisation, id)
            status = _status_of_abandoned(connection, batch)
            parts = batch_progress.parts_of(connection, batch)
        try:
            files = write_files(blobs, batch, parts, status, max_line_bytes=max_line_bytes)
        except Permanent as exc:  # a blob is missing or damaged, so the batch ends without files
            log.error("batch_files_lost", batch=id, organisation=organisation, reason=str(exc))
            status, files = BatchStatus.FAILED, BatchFiles()
        with connection.transaction():
            released = _end(connection, blobs, batch, status, files)
        if released is None:
            released = [blob.sha256 for blob in (files.output, files.error) if blob is not None]
        else:
            ended.append(batch)
        release_blobs(connection, blobs, organisation, released)
    return ended


def _end(
    connection: Connection[Any],
    blobs: BlobStore,
    seen: RequestBatch,
    status: BatchStatus,
    files: BatchFiles,
) -> list[str] | None:
    """End the batch, and return the hashes of the blobs to release. Return None if the batch has changed
    since the caller read it, or if its job runs.
    """
    batch = lock_batch(connection, seen.organisation, seen.id)
    if batch.status.ended or batch.next_line != seen.next_line:
        return None
    job = _lock_job(connection, batch)
    if job is not None and job.state == JobState.RUNNING:
        return None
    if job is not None and job.state == JobState.QUEUED:
        reason = f"the completion window of batch {batch.id} ended before the job began"
        queue.cancel(connection, batch.organisation, batch.job, reason=reason)
    failed = status == BatchStatus.FAILED
    message = (job and job.error) or "the job of the batch no longer exists"
    code = (job and job.error_code) or "job_lost"
    errors = [InputError(code=code, message=message)] if failed else []
    return batch_progress.end(connection, blobs, batch, status, files, errors=errors)


def _status_of_abandoned(connection: Connection[Any], batch: RequestBatch) -> BatchStatus:
    if batch.status == BatchStatus.CANCELLING:
        return BatchStatus.CANCELLED
    job = _lock_job(connection, batch)
    return BatchStatus.EXPIRED if job and job.state == JobState.QUEUED else BatchStatus.FAILED


def _lock_job(connection: Connection[Any], batch: RequestBatch) -> Job | None:
    found = queue.lock_jobs(connection, batch.organisation, [batch.job])
    return found[0] if found else None


def _append(blobs: BlobStore, batch: RequestBatch, writer: BlobWriter, sha256: str | None) -> None:
    if sha256 is None:
        return
    with blobs.open(batch.organisation, sha256) as part:
        while data := part.read(READ_BYTES):
            writer.write(data)


def _append_unanswered(
    blobs: BlobStore, batch: RequestBatch, writer: BlobWriter, error: Unanswered, max_line_bytes: int
) -> int:
    count = 0
    with blobs.open(batch.organisation, batch.input_sha256) as file:
        for request in read_requests(file, first_line=batch.next_line, max_line_bytes=max_line_bytes):
            writer.write(unanswered_line(batch.id, request, code=error.code, message=error.message))
            count += 1
    return count


def _committed(writer: BlobWriter) -> Blob | None:
    return writer.commit() if writer.bytes else None
