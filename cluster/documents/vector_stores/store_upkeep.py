"""Upkeep of vector stores: mark expired stores, and delete the contents of deleted and expired stores.

The worker calls ``expire_stores`` at intervals. Jobs of kind ``kinds.DELETE_STORE`` call
``delete_store_rows``.

    while delete_store_rows(connection, organisation, id): ...      # each call in a transaction of its own
"""

from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.documents.chunks import chunk_changes
from cluster.documents.vector_stores.stores import submit_deletion
from cluster.errors import Conflict
from cluster.jobs import queue
from cluster.jobs.jobs import GONE

SQL = queries("cluster.documents.vector_stores", "store_upkeep.sql")
#: Maximum number of rows deleted in one transaction. The limit keeps locks short.
ROWS_AT_ONCE = 1_000
#: Maximum number of files detached in one transaction. Each file may have a job to cancel.
FILES_AT_ONCE = 500


def expire_stores(connection: Connection[Any]) -> int:
    """Mark expired stores of all organisations, and submit the jobs that delete the contents of these stores.
    Return the number of stores that were marked.
    """
    expired = 0
    for (organisation,) in connection.execute(SQL["organisations"]).fetchall():
        with connection.transaction():
            for id, made in connection.execute(SQL["expire"], {"organisation": organisation}).fetchall():
                submit_deletion(connection, organisation, id, made=made)
                expired += 1
    return expired


def delete_store_rows(connection: Connection[Any], organisation: str, id: str) -> int:
    """Delete some rows of a deleted or expired store in the caller's transaction. Returns the number of
    deleted rows; 0 means that no rows are left to delete.

    The first calls detach the store's files and cancel the open jobs of these files. The last call deletes
    the row of a deleted store. A transaction that is still writing into the store then fails.

    Raises:
        Conflict: the store is neither deleted nor expired.
    """
    values = {"organisation": organisation, "id": id, "limit": ROWS_AT_ONCE}
    with connection.cursor(row_factory=dict_row) as cursor:
        store = cursor.execute(SQL["lock"], values).fetchone()
    if store is None:
        return 0
    if not store["deleted"] and not store["expired"]:
        raise Conflict(f"vector store {id!r} is neither deleted nor expired; its contents stay")
    return (
        _detach_files(connection, organisation, id)
        or chunk_changes.delete_store(
            connection, organisation, id, collection=store["collection"], limit=ROWS_AT_ONCE
        )
        or connection.execute(SQL["delete_documents"], values).rowcount
        or connection.execute(SQL["delete_batches"], values).rowcount
        or (_delete(connection, values) if store["deleted"] else 0)
    )


def _detach_files(connection: Connection[Any], organisation: str, id: str) -> int:
    values = {"organisation": organisation, "id": id, "limit": FILES_AT_ONCE}
    found = connection.execute(SQL["files"], values).fetchall()
    if not found:
        return 0
    reason = f"vector store {id} was deleted or has expired"
    queue.cancel_many(
        connection, organisation, [job for _, job, is_open in found if is_open], reason=reason, code=GONE
    )
    return connection.execute(SQL["detach"], {**values, "files": [file for file, *_ in found]}).rowcount


def _delete(connection: Connection[Any], values: dict[str, Any]) -> int:
    return connection.execute(SQL["delete"], values).rowcount
