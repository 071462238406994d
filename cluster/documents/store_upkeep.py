"""What the cluster does to vector stores by itself: those whose time has come expire, and what a store held is deleted.

Called by the worker: ``expire_stores`` now and then, ``delete_store_rows`` by a job of kind ``kinds.DELETE_STORE``.

    while delete_store_rows(connection, organisation, id): ...      # each call in a transaction of its own
"""

from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.documents import indexing
from cluster.documents.stores import submit_deletion
from cluster.errors import Conflict
from cluster.jobs import queue
from cluster.jobs.jobs import GONE

SQL = queries("cluster.documents", "store_upkeep.sql")
#: Rows deleted in one transaction, so that none holds its locks for long.
ROWS_AT_ONCE = 1_000
#: Attached files given up in one transaction; each may have a job to cancel.
FILES_AT_ONCE = 500


def expire_stores(connection: Connection[Any]) -> int:
    """Mark the stores of all organisations whose time has come, and have what they hold deleted; how many there were."""
    expired = 0
    for (organisation,) in connection.execute(SQL["organisations"]).fetchall():
        with connection.transaction():
            for id, made in connection.execute(SQL["expire"], {"organisation": organisation}).fetchall():
                submit_deletion(connection, organisation, id, made=made)
                expired += 1
    return expired


def delete_store_rows(connection: Connection[Any], organisation: str, id: str) -> int:
    """Delete some of what a deleted or expired store holds, in the caller's transaction; 0 once nothing is left.

    The jobs of its files are cancelled first. Of a deleted store the row goes last, and with it the last chance to write
    into it: a writer who was in the middle is refused.

    Raises:
        Conflict: the store is neither deleted nor has it expired.
    """
    values = {"organisation": organisation, "id": id, "limit": ROWS_AT_ONCE}
    with connection.cursor(row_factory=dict_row) as cursor:
        store = cursor.execute(SQL["lock"], values).fetchone()
    if store is None:
        return 0
    if not store["deleted"] and not store["expired"]:
        raise Conflict(f"vector store {id!r} is neither deleted nor has it expired; what it holds stays")
    return (
        _give_up_files(connection, organisation, id)
        or indexing.delete_store(
            connection, organisation, id, collection=store["collection"], limit=ROWS_AT_ONCE
        )
        or connection.execute(SQL["delete_documents"], values).rowcount
        or connection.execute(SQL["delete_batches"], values).rowcount
        or (_delete(connection, values) if store["deleted"] else 0)
    )


def _give_up_files(connection: Connection[Any], organisation: str, id: str) -> int:
    values = {"organisation": organisation, "id": id, "limit": FILES_AT_ONCE}
    found = connection.execute(SQL["files"], values).fetchall()
    if not found:
        return 0
    reason = f"vector store {id} was deleted, or has expired"
    queue.cancel_many(
        connection, organisation, [job for _, job, open in found if open], reason=reason, code=GONE
    )
    return connection.execute(SQL["detach"], {**values, "files": [file for file, *_ in found]}).rowcount


def _delete(connection: Connection[Any], values: dict[str, Any]) -> int:
    return connection.execute(SQL["delete"], values).rowcount
