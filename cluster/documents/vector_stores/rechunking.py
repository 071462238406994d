"""Change a vector store. If one of ``OPTIONS`` changes, queue the job that indexes its files again.

    change_store(connection, "acme", "vs_1", {"chunking_strategy": {"type": "headings"}})

The job calls ``next_files`` and ``attach_again``. Files that have their own value of each changed option
stay as they are. The job does not change documents of the bulk ingest, because the cluster does not store
their bytes. The next run of the bulk ingest indexes these documents again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.documents.vector_stores.attaching import Attachment, attach_many
from cluster.documents.vector_stores.ingesting import FILES_PER_TRANSACTION
from cluster.documents.vector_stores.stores import VectorStore, get_store, update_store
from cluster.jobs.kinds import RECHUNK_STORE
from cluster.jobs.queue import submit

SQL = queries("cluster.documents.vector_stores", "rechunking.sql")

#: Fields of a store that decide how its files are read and cut. A file can have its own value of each.
OPTIONS = ("chunking_strategy", "ocr", "ocr_languages")


def change_store(
    connection: Connection[Any], organisation: str, id: str, changes: Mapping[str, Any]
) -> VectorStore:
    """Change some fields of a store; see ``update_store``. If one of ``OPTIONS`` changes, queue a job.

    Raises:
        NotFound: the organisation has no such store.
        Conflict: the store has expired.
    """
    with connection.transaction():
        before = get_store(connection, organisation, id)
        store = update_store(connection, organisation, id, changes)
        changed = [name for name in OPTIONS if getattr(store, name) != getattr(before, name)]
        if changed:
            input = {"vector_store": store.id, "changed": changed}
            submit(connection, organisation, RECHUNK_STORE, input, subject=store.id)
    return store


def next_files(
    connection: Connection[Any],
    store: VectorStore,
    *,
    changed: Sequence[str],
    after: str,
    limit: int = FILES_PER_TRANSACTION,
) -> list[Attachment]:
    """Return the next attached files that use a changed option of the store, in the order of their ids.

    Entries of containers are left out, because the job of a container attaches its entries again. Expired
    files are left out, too.

    Args:
        changed: names of the changed options, from ``OPTIONS``.
        after: only files whose ids sort after this id are returned; "" for the first call.
    """
    values = {
        "organisation": store.organisation,
        "vector_store": store.id,
        "changed": list(changed),
        "after": after,
        "limit": limit,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["next_files"], values).fetchall()
    return [Attachment(**row) for row in rows]


def attach_again(
    connection: Connection[Any],
    store: VectorStore,
    files: Sequence[Attachment],
    *,
    batch: str,
    **options: Any,
) -> None:
    """Give each of the files a new job, in the caller's transaction. The new jobs replace open jobs of the
    files, because an open job may have read the old options.

    Args:
        batch: id of the file batch that shows the progress.
        options: priority class, priority and attempts of the files' jobs, see ``attach_many``.

    Raises:
        Conflict: the store has expired.
        NotFound, InvalidInput: see ``attach_many``.
    """
    if files:
        attach_many(connection, store, files, batch=batch, replace_open=True, **options)
