"""Manage file batches, which are groups of files that are attached, counted and cancelled together.

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
from cluster.documents.containers.cancellation import cancel_entries
from cluster.documents.containers.membership import lock_entries
from cluster.documents.vector_stores.attaching import Attachment, attach_many
from cluster.documents.vector_stores.store_files import FileStatus
from cluster.documents.vector_stores.store_usage import FileCounts
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import NotFound
from cluster.jobs import queue
from cluster.jobs.jobs import PriorityClass

SQL = queries("cluster.documents.vector_stores", "file_batches.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileBatch:
    """A file batch and the numbers of its files by status.

    A file that belongs to several batches is indexed once and counts in each batch. A file that was deleted,
    or detached from the store, counts as cancelled, unless its indexing had failed before.
    """

    organisation: str
    id: str
    vector_store: str
    created_at: datetime
    cancelled_at: datetime | None
    files: FileCounts
    #: True while the job of a file of this batch runs.
    running: bool

    @property
    def status(self) -> FileStatus:
        """The status of the batch. The batch is in progress while any of its files is in progress.

        After that, the batch is cancelled if it was cancelled as a batch, or if all of its files count as
        cancelled. Otherwise the batch is completed if any file is completed, and failed if no file is
        completed.
        """
        if self.files.in_progress:
            return FileStatus.IN_PROGRESS
        if self.cancelled_at is not None or not (self.files.completed or self.files.failed):
            return FileStatus.CANCELLED
        return FileStatus.COMPLETED if self.files.completed else FileStatus.FAILED


def create_batch(
    connection: Connection[Any],
    store: VectorStore,
    attachments: Sequence[Attachment],
    *,
    priority_class: PriorityClass = PriorityClass.MEDIUM,
    priority: int = queue.DEFAULT_PRIORITY,
    attempts: int | None = None,
) -> FileBatch:
    """Attach the files as one batch; see ``attach_many`` for the arguments and errors."""
    key = _key(store, f"vsfb_{secrets.token_hex(12)}")
    with connection.transaction():
        connection.execute(SQL["insert"], key)
        attach_many(
            connection,
            store,
            attachments,
            priority_class=priority_class,
            priority=priority,
            attempts=attempts,
            batch=key["id"],
        )
        return get_batch(connection, store, key["id"])


def get_batch(connection: Connection[Any], store: VectorStore, id: str) -> FileBatch:
    """Return the store's batch with this id.

    Raises:
        NotFound: the store has no such batch.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], _key(store, id)).fetchone()
    if row is None:
        raise NotFound(f"no file batch {id!r} in vector store {store.id!r}")
    counts = FileCounts(
        **{status: row.pop(status) for status in ("in_progress", "completed", "failed", "cancelled")}
    )
    return FileBatch(**row, files=counts)


def cancel_batch(connection: Connection[Any], store: VectorStore, id: str) -> FileBatch:
    """Cancel the open jobs of the batch. A queued job ends immediately. A running job ends when its worker
    notices the cancellation.

    A job that another batch waits for continues, but its file counts as cancelled in this batch. A batch
    without open jobs does not change. The open jobs of the entries of a container are cancelled, too.

    Raises:
        NotFound: the store has no such batch.
    """
    key = _key(store, id)
    with connection.transaction():
        lock_entries(connection, store.organisation)
        if connection.execute(SQL["lock"], key).fetchone() is None:
            raise NotFound(f"no file batch {id!r} in vector store {store.id!r}")
        found = connection.execute(SQL["open_jobs"], key).fetchall()
        if found:
            connection.execute(SQL["cancel"], key)
            connection.execute(SQL["leave"], {**key, "jobs": [job for job, shared in found if shared]})
            own_jobs = [job for job, shared in found if not shared]
            queue.cancel_many(
                connection, store.organisation, own_jobs, reason=f"its file batch {id} was cancelled"
            )
            cancel_entries(connection, store.organisation, own_jobs)
        return get_batch(connection, store, id)


def _key(store: VectorStore, id: str) -> dict[str, Any]:
    return {"organisation": store.organisation, "vector_store": store.id, "id": id}
