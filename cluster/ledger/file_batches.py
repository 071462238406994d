"""Batches: files attached to a vector store together, watched and cancelled together.

Called by the routes.

    with connection.transaction():
        batch = create_batch(connection, store, [Attachment(file="file-1"), Attachment(file="file-2")])
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.ledger import queue
from cluster.ledger.jobs import JobClass
from cluster.ledger.store_files import Attachment, FileStatus, attach_many
from cluster.ledger.stores import FileCounts, VectorStore

SQL = queries("cluster.ledger", "file_batches.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBatch:
    """A batch and how far its files are; a file that came with a later one counts there."""

    organisation: str
    id: str
    vector_store: str
    created_at: datetime
    cancelled_at: datetime | None
    files: FileCounts
    #: Somebody works on one of them now.
    running: bool

    @property
    def status(self) -> FileStatus:
        """In progress while one of its files is; failed where all are."""
        if self.files.in_progress:
            return FileStatus.IN_PROGRESS
        if self.cancelled_at is not None:
            return FileStatus.CANCELLED
        return FileStatus.FAILED if self.files.failed and self.files.failed == self.files.total else FileStatus.COMPLETED


def create_batch(
    connection: Connection[Any],
    store: VectorStore,
    attachments: Sequence[Attachment],
    *,
    job_class: JobClass = JobClass.MEDIUM,
    priority: int = queue.DEFAULT_PRIORITY,
    attempts: int = queue.DEFAULT_ATTEMPTS,
) -> FileBatch:
    """Attach the files as one batch; arguments and errors as ``attach_many``'s."""
    key = _key(store, f"vsfb_{secrets.token_hex(12)}")
    with connection.transaction():
        connection.execute(SQL["insert"], key)
        attach_many(connection, store, attachments, job_class=job_class, priority=priority, attempts=attempts, batch=key["id"])
        return get_batch(connection, store, key["id"])


def get_batch(connection: Connection[Any], store: VectorStore, id: str) -> FileBatch:
    """The store's batch of this id.

    Raises:
        NotFound: it has none.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], _key(store, id)).fetchone()
    if row is None:
        raise NotFound(f"no file batch {id!r} in vector store {store.id!r}")
    counts = FileCounts(**{status: row.pop(status) for status in ("in_progress", "completed", "failed", "cancelled")})
    return FileBatch(**row, files=counts)


def cancel_batch(connection: Connection[Any], store: VectorStore, id: str) -> FileBatch:
    """Cancel what has not ended: jobs that are queued at once, those that run as soon as their workers see it.

    Raises:
        NotFound: the store has no such batch.
    """
    with connection.transaction():
        if connection.execute(SQL["cancel"], _key(store, id)).rowcount == 0:
            raise NotFound(f"no file batch {id!r} in vector store {store.id!r}")
        open = [job for (job,) in connection.execute(SQL["open_jobs"], _key(store, id))]
        queue.cancel_many(connection, store.organisation, open)
        return get_batch(connection, store, id)


def _key(store: VectorStore, id: str) -> dict[str, Any]:
    return {"organisation": store.organisation, "vector_store": store.id, "id": id}
