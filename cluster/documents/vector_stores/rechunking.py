"""Change a vector store. If its ``chunking_strategy`` changes, queue the job that cuts its files again.

    change_store(connection, "acme", "vs_1", {"chunking_strategy": {"type": "headings"}})

The job calls ``next_files`` and ``attach_again``. Files with a strategy of their own stay as they are. The
job does not change documents of the bulk ingest, because the cluster does not store their bytes. The next run
of the bulk ingest cuts these documents again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.documents.vector_stores.attaching import Attachment, attach_many
from cluster.documents.vector_stores.ingesting import FILES_PER_TRANSACTION
from cluster.documents.vector_stores.stores import VectorStore, get_store, update_store
from cluster.jobs.kinds import RECHUNK_STORE
from cluster.jobs.queue import submit

SQL = queries("cluster.documents.vector_stores", "rechunking.sql")


def change_store(
    connection: Connection[Any], organisation: str, id: str, changes: Mapping[str, Any]
) -> VectorStore:
    """Change some fields of a store; see ``update_store``. If the chunking strategy changes, queue a job.

    Raises:
        NotFound: the organisation has no such store.
        Conflict: the store has expired.
    """
    with connection.transaction():
        before = get_store(connection, organisation, id)
        store = update_store(connection, organisation, id, changes)
        if store.chunking_strategy != before.chunking_strategy:
            submit(connection, organisation, RECHUNK_STORE, {"vector_store": store.id}, subject=store.id)
    return store


def next_files(
    connection: Connection[Any], store: VectorStore, *, after: str, limit: int = FILES_PER_TRANSACTION
) -> list[Attachment]:
    """Return the next attached files that use the strategy of the store, in the order of their ids.

    Entries of containers are left out, because the job of a container attaches its entries again. Expired
    files are left out, too.

    Args:
        after: only files whose ids sort after this id are returned; "" for the first call.
    """
    values = {"organisation": store.organisation, "vector_store": store.id, "after": after, "limit": limit}
    rows = connection.execute(SQL["next_files"], values).fetchall()
    return [Attachment(file=file, attributes=attributes) for file, attributes in rows]


def attach_again(
    connection: Connection[Any],
    store: VectorStore,
    files: Sequence[Attachment],
    *,
    batch: str,
    **options: Any,
) -> None:
    """Give each of the files a new job, in the caller's transaction. The new jobs replace open jobs of the
    files, because an open job may have read the old strategy.

    Args:
        batch: id of the file batch that shows the progress.
        options: priority class, priority and attempts of the files' jobs, see ``attach_many``.

    Raises:
        Conflict: the store has expired.
        NotFound, InvalidInput: see ``attach_many``.
    """
    if files:
        attach_many(connection, store, files, batch=batch, replace_open=True, **options)
