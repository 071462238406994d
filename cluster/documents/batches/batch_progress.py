"""Record the progress of a batch: when it begins, which parts are done, and how it ends.

A part holds the answers of consecutive lines of the input file, as blobs. A new attempt of the batch's job
continues after the last recorded part, so each line is in exactly one part. The tokens and requests of a part
are recorded as usage in the transaction that adds the part. The caller locks the batch
(``batches.lock_batch``) and its job (``attempts.hold``).

    begin(connection, batch, total=20_000, fingerprints={...})
    add_part(connection, blobs, batch, part)
    end(connection, blobs, batch, BatchStatus.COMPLETED, files, errors=[])
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.types.json import Jsonb

from cluster.blobs import Blob, BlobStore
from cluster.documents.batches.batch_input import InputError
from cluster.documents.batches.batches import SQL, BatchStatus, RequestBatch
from cluster.documents.files import create_file, require_blob
from cluster.errors import Conflict, Unavailable
from cluster.usage.events import record_usage
from cluster.usage.work import batch_usage

#: For each part, the hashes of its output blob and its error blob. A hash is None if the part has no such
#: blob.
PartHashes = list[tuple[str | None, str | None]]

OUTPUT_PURPOSE, MEDIA_TYPE = "batch_output", "application/jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchPart:
    """One part of a batch: the answers to consecutive lines of the input file."""

    #: Number of the first line of the part, from 1.
    first_line: int
    #: Number of the line after the part.
    next_line: int
    #: Blob with the lines for the output file; None if no request of the part succeeded.
    output: Blob | None
    #: Blob with the lines for the error file; None if no request of the part failed.
    error: Blob | None
    completed: int
    failed: int
    #: For each model, by name, the number of tokens that the model read.
    tokens: dict[str, int] = field(default_factory=dict)
    #: For each model, by name, the number of requests that the model answered.
    requests: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchFiles:
    """The blobs of the output file and the error file of a batch; None for a file without lines."""

    output: Blob | None = None
    error: Blob | None = None
    #: Number of requests in the error file that have no answer.
    unanswered: int = 0


def begin(
    connection: Connection[Any], batch: RequestBatch, *, total: int, fingerprints: dict[str, str]
) -> None:
    """Record that the input file was checked, and that the batch is in progress.

    Args:
        total: number of requests.
        fingerprints: for each model, by name, the id of the fingerprint that its answers must have.
    """
    connection.execute(SQL["begin"], {**_key(batch), "total": total, "fingerprints": Jsonb(fingerprints)})


def add_part(connection: Connection[Any], blobs: BlobStore, batch: RequestBatch, part: BatchPart) -> None:
    """Add the part to the batch. Its counts are added to the counts of the batch, and its usage is recorded.

    Args:
        batch: the current state of the batch; the caller has locked it.

    Raises:
        Conflict: the part does not follow the last part, or the batch has ended.
        Unavailable: a blob of the part was deleted.
    """
    if batch.status.ended or batch.next_line != part.first_line:
        raise Conflict(
            f"the next line of batch {batch.id}, which is {batch.status}, is {batch.next_line}, "
            f"not {part.first_line}"
        )
    _require_blobs(connection, blobs, batch, part.output, part.error)
    values = {
        **_key(batch),
        "first_line": part.first_line,
        "next_line": part.next_line,
        "output_sha256": part.output and part.output.sha256,
        "error_sha256": part.error and part.error.sha256,
        "completed": part.completed,
        "failed": part.failed,
        "tokens": Jsonb({name: batch.tokens.get(name, 0) + count for name, count in part.tokens.items()}),
    }
    connection.execute(SQL["add_part"], values)
    connection.execute(SQL["count_part"], values)
    record_usage(
        connection,
        batch_usage(
            batch.organisation,
            f"{batch.id}/{part.first_line}",
            tokens=part.tokens,
            requests=part.requests,
            job=batch.job,
        ),
    )


def finalise(connection: Connection[Any], batch: RequestBatch) -> None:
    """Record that the output file and the error file are being written."""
    connection.execute(SQL["finalise"], _key(batch))


def parts_of(connection: Connection[Any], batch: RequestBatch) -> PartHashes:
    """Return the hashes of the blobs of all parts, in the order of the parts."""
    return [(output, error) for output, error in connection.execute(SQL["parts"], _key(batch))]


def end(
    connection: Connection[Any],
    blobs: BlobStore,
    batch: RequestBatch,
    status: BatchStatus,
    files: BatchFiles,
    *,
    errors: list[InputError],
) -> list[str]:
    """End the batch, and create its output file and its error file.

    Args:
        batch: the current state of the batch; the caller has locked it.
        status: the status in which the batch ends.
        files: the blobs of the two files.
        errors: the reasons why the batch failed; empty if it did not fail.

    Returns:
        The hashes of the blobs of the parts and of the input file. Pass these hashes to ``release_blobs``
        after the commit.

    Raises:
        Unavailable: the blob of a file was deleted.
    """
    _require_blobs(connection, blobs, batch, files.output, files.error)
    values = {
        **_key(batch),
        "status": status,
        "errors": Jsonb([asdict(error) for error in errors]),
        "unanswered": files.unanswered,
        "output_file": _file(connection, batch, "output", files.output),
        "error_file": _file(connection, batch, "error", files.error),
    }
    connection.execute(SQL["end"], values)
    parts = connection.execute(SQL["drop_parts"], _key(batch)).fetchall()
    return [batch.input_sha256, *(hash for part in parts for hash in part if hash is not None)]


def _require_blobs(
    connection: Connection[Any], blobs: BlobStore, batch: RequestBatch, *written: Blob | None
) -> None:
    for blob in sorted((blob for blob in written if blob is not None), key=lambda blob: blob.sha256):
        if not require_blob(connection, blobs, batch.organisation, blob.sha256):
            raise Unavailable(
                f"blob {blob.sha256} of batch {batch.id} was deleted before its row was written"
            )


def _file(connection: Connection[Any], batch: RequestBatch, name: str, blob: Blob | None) -> str | None:
    """Create the file with this content, and return its id."""
    if blob is None:
        return None
    return create_file(
        connection,
        batch.organisation,
        f"{batch.id}_{name}.jsonl",
        OUTPUT_PURPOSE,
        blob,
        MEDIA_TYPE,
        expires_after_s=batch.output_lifetime_s,
        default_limits=None,
    ).id


def _key(batch: RequestBatch) -> dict[str, Any]:
    return {"organisation": batch.organisation, "id": batch.id}
