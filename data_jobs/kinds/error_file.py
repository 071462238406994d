"""Make the file of the rows that a job could not store, as a file of the organisation that can be downloaded.

``bulk_insert_vectors`` and ``import_events`` first write the blob, and then the file in the transaction that
ends the job.
"""

from typing import Any

from psycopg import Connection

from cluster.blobs import Blob, BlobStore
from cluster.documents.files import LIFETIMES_S, File, create_file, require_blob
from cluster.errors import Unavailable
from cluster.jobs.file_rows.row_progress import fault_lines
from cluster.jobs.jobs import Job
from cluster.organisations.organisations import StorageLimits
from cluster.settings import Settings
from data_jobs.worker.job_attempt import JobAttempt

#: OpenAI's purpose of a file that a job makes, and the media type of the file. Error files expire in the same
#: way as the files of batches.
ERROR_FILE_PURPOSE, ERROR_FILE_TYPE = "batch_output", "application/jsonl"


def write_error_blob(blobs: BlobStore, attempt: JobAttempt) -> Blob:
    """Write the failed rows of the job into a blob."""
    job = attempt.job
    with blobs.writer(job.organisation) as writer:
        for lines in fault_lines(attempt.pool, job.organisation, job.id):
            writer.write(lines)
        return writer.commit()


def create_error_file(
    connection: Connection[Any], blobs: BlobStore, job: Job, blob: Blob, settings: Settings
) -> File:
    """Create the file of the blob, in the transaction that ends the job."""
    if not require_blob(connection, blobs, job.organisation, blob.sha256):
        raise Unavailable("the file of the failed rows vanished from the blob store")
    return create_file(
        connection,
        job.organisation,
        f"{job.id}_errors.jsonl",
        ERROR_FILE_PURPOSE,
        blob,
        ERROR_FILE_TYPE,
        expires_after_s=LIFETIMES_S["batch"],
        default_limits=StorageLimits.of(settings),
    )
