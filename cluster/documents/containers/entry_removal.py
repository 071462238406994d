"""Remove many entries of a container from a vector store with a few statements.

``store_files`` and ``files`` call these functions when they detach or delete a container. A container can
have ten thousand entries. The statements that detach a single file, repeated for each entry, would take
minutes.

    lock_entries(connection, "default")
    detach_entries(connection, "default", "vs_1", ["file-1", "file-2"], collection="m_1", reason="...")
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.documents.chunks import chunk_changes
from cluster.jobs import queue
from cluster.jobs.jobs import GONE

SQL = queries("cluster.documents.containers", "entry_removal.sql")
#: Maximum number of entries in one statement. The limit bounds the memory for the ids of their chunks.
ENTRIES_PER_STATEMENT = 1_000


def detach_entries(
    connection: Connection[Any],
    organisation: str,
    store: str,
    entries: Sequence[str],
    *,
    collection: str,
    reason: str,
) -> None:
    """Remove entries from a vector store: delete their chunks and document records, and cancel their open
    jobs. Entries that are not attached to the store are ignored. Call ``lock_entries`` first.

    Args:
        entries: ids of the files of the entries.
        collection: name of the store's collection.
        reason: a sentence, which becomes the error of the cancelled jobs.
    """
    for start in range(0, len(entries), ENTRIES_PER_STATEMENT):
        files = list(entries[start : start + ENTRIES_PER_STATEMENT])
        key = {"organisation": organisation, "vector_store": store, "files": files}
        attached = connection.execute(SQL["lock"], key).fetchall()
        documents = [document for _, document, _, _ in attached]
        chunk_changes.delete_documents(connection, organisation, store, documents, collection=collection)
        values = {"organisation": organisation, "documents": documents}
        connection.execute(SQL["delete_documents"], values)
        connection.execute(SQL["detach"], key)
        connection.execute(SQL["leave_batches"], key)
        jobs = [job for _, _, job, status in attached if status == "in_progress"]
        if jobs:
            queue.cancel_many(connection, organisation, jobs, reason=reason, code=GONE)


def detach_entries_everywhere(
    connection: Connection[Any], organisation: str, entries: Sequence[str], *, reason: str
) -> None:
    """Call ``detach_entries`` for every vector store that has some of the entries."""
    values = {"organisation": organisation, "files": list(entries)}
    for store, collection, files in connection.execute(SQL["holders"], values).fetchall():
        detach_entries(connection, organisation, store, files, collection=collection, reason=reason)


def forget_entries(connection: Connection[Any], organisation: str, entries: Sequence[str]) -> None:
    """Forget that the files are entries. A container that is unpacked later makes new files for the same
    entries, so the files can be deleted after this transaction.
    """
    connection.execute(SQL["forget"], {"organisation": organisation, "files": list(entries)})
