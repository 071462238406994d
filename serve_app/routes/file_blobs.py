"""Between blobs and rows, for every route that takes or deletes files: what is named is there, what nobody names goes.

The blob is written first, the row after. A database that is down in between leaves a blob without a row, which
``cluster.doctor`` finds; nothing leaves a row without its blob.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.blobs import Blob
from cluster.database import translated
from cluster.documents.files import release_blobs, require_blob
from cluster.documents.indexing import ChunkIndexes
from cluster.errors import Permanent, Retryable, Throttled, Unavailable
from serve_app.service import Service

log = structlog.get_logger(__name__)


def require_kept_blob(connection: Connection[Any], service: Service, organisation: str, blob: Blob) -> None:
    """Before a row names the blob, in the row's transaction; until it ends nobody deletes the blob.

    Raises:
        Unavailable: the last file with this content was deleted just now, and the bytes with it.
    """
    if not require_blob(connection, service.blobs, organisation, blob.sha256):
        raise Unavailable(
            "another file with these bytes was deleted at the same moment; send them again", retry_after_s=1
        )


async def delete_unused_blobs(service: Service, organisation: str, hashes: Sequence[str]) -> None:
    """Delete those blobs that nothing names any more, each in a transaction of its own: an upload's thousands of parts would hold as
    many locks. One that cannot be deleted now is left for ``cluster.doctor``."""

    def work(pool: ConnectionPool, _: ChunkIndexes) -> None:
        with translated(), pool.connection() as connection:
            release_blobs(connection, service.blobs, organisation, hashes)

    try:
        await service.in_database(work)
    except Retryable as exc:
        log.warning("blobs_not_released", organisation=organisation, reason=str(exc))


@asynccontextmanager
async def deleting_orphan_blob(service: Service, organisation: str, blob: Blob) -> AsyncIterator[None]:
    """Around the transaction of the row that will name the blob: where the row is refused, the blob goes too."""
    try:
        yield
    except (Permanent, Throttled):  # a database that is away would only be asked in vain
        await delete_unused_blobs(service, organisation, [blob.sha256])
        raise
