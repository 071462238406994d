"""Checks uploaded files, and keeps blobs and rows consistent, for every route that stores or deletes files.

A route writes the blob first and then the row. If the database is lost between these writes, a blob without
a row remains, which ``cluster.doctor`` finds. A row never remains without its blob.

    media_type = accepted_type(b"%PDF-1.7 ...", name="a.pdf", purpose="assistants")   # "application/pdf"
    async with deleting_orphan_blob(service, organisation, blob):
        ...                                                         # require_kept_blob, then write the row
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException

from cluster.blobs import Blob
from cluster.database import translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.files import release_blobs, require_blob
from cluster.errors import Permanent, Retryable, Throttled, Unavailable
from cluster.formats import FORMATS, recognise
from serve_app.service import Service

log = structlog.get_logger(__name__)


def accepted_type(start: bytes, *, name: str, purpose: str) -> str:
    """Return the media type of a file, recognised from the first bytes.

    Args:
        start: the first bytes of the file.
        name: the name of the file, which decides only between kinds of text.
        purpose: the purpose of the upload. Some formats exist only for some purposes.

    Raises:
        HTTPException: 415, the purpose does not accept files of this format.
    """
    found = recognise(start, name=name, purpose=purpose)
    if purpose not in found.purposes:
        accepted = sorted(row.media_type for row in FORMATS if purpose in row.purposes)
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"{name!r} is {found.media_type} by its bytes;"
            f" files for {purpose!r} may be {', '.join(accepted)}",
        )
    return found.media_type


def require_kept_blob(connection: Connection[Any], service: Service, organisation: str, blob: Blob) -> None:
    """Check that the blob still exists, in the transaction that writes the row that refers to the blob.

    Until the transaction ends, the blob cannot be deleted.

    Raises:
        Unavailable: the last file with this content was deleted during the upload, together with the blob.
    """
    if not require_blob(connection, service.blobs, organisation, blob.sha256):
        raise Unavailable(
            "the last file with these bytes was deleted during the upload; send the file again",
            retry_after_s=1,
        )


async def delete_unused_blobs(service: Service, organisation: str, hashes: Sequence[str]) -> None:
    """Delete each blob with one of the given hashes, unless a row still refers to the blob.

    If a blob cannot be deleted now, ``cluster.doctor`` finds the blob later.

    Each blob is deleted in its own transaction, because one transaction for the thousands of parts of an
    upload would need thousands of locks.
    """

    def work(pool: ConnectionPool, _: ChunkIndexes) -> None:
        with translated(), pool.connection() as connection:
            release_blobs(connection, service.blobs, organisation, hashes)

    try:
        await service.in_database(work)
    except Retryable as exc:
        log.warning("blobs_not_released", organisation=organisation, reason=str(exc))


@asynccontextmanager
async def deleting_orphan_blob(service: Service, organisation: str, blob: Blob) -> AsyncIterator[None]:
    """Delete the blob if the ``async with`` block, which writes the row of the blob, raises an error that
    shows that the row was not written.
    """
    try:
        yield
    # A lost connection is not caught here, because the row may have been written.
    except (Permanent, Throttled):
        await delete_unused_blobs(service, organisation, [blob.sha256])
        raise
