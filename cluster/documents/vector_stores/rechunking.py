"""Change a vector store, and queue the job that cuts its files again if their ``chunking_strategy`` changed.

    change_store(connection, "acme", "vs_1", {"chunking_strategy": {"type": "headings"}})

The job calls ``next_files`` and ``attach_again``. Files with a strategy of their own stay as they are. A bulk
ingest cuts its documents again in its next run, because the cluster does not store their bytes.
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
    """Change some fields of a store; see ``update_store``. A new chunking strategy queues a job.

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

    Entries of containers are left out, because their containers attach them again.

    Args:
        after: only return files whose ids sort after this id.
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
    """Give each of the files a new job, in the caller's transaction. Open jobs are replaced, because they may
    have read the old strategy.

    Args:
        batch: id of the file batch that shows the progress.
        options: priority class, priority and attempts of the files' jobs, see ``attach_many``.
    """
    if files:
        attach_many(connection, store, files, batch=batch, replace_open=True, **options)
