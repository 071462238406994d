"""Attach many files of an organisation to a vector store as one file batch, some files at a time.

The job ``ingest_files`` calls this module. Files that are indexed in the store already, or are being indexed
now, do not change. So a repeated call attaches only the remaining files.

    batch = ensure_batch(connection, store, job.id)
    some = next_documents(connection, store.organisation, files=None, after="", limit=500)
    attach_new(connection, store, some, batch=batch, options={"attributes": {}}, priority=5)
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.documents.vector_stores.attaching import Attachment, attach_many
from cluster.documents.vector_stores.stores import VectorStore
from cluster.formats import DOCUMENT_PURPOSES, INGESTIBLE
from cluster.records import digest

SQL = queries("cluster.documents.vector_stores", "ingesting.sql")

#: Maximum number of files that one transaction attaches.
FILES_PER_TRANSACTION = 500


def ensure_batch(connection: Connection[Any], store: VectorStore, job: str) -> str:
    """Make the file batch of the job if it does not exist, and return the id of the batch."""
    batch = "vsfb_" + digest("batch of a job", job, size=12)
    connection.execute(SQL["ensure_batch"], _owner(store, batch))
    return batch


def next_documents(
    connection: Connection[Any],
    organisation: str,
    *,
    files: Sequence[str] | None,
    after: str,
    limit: int = FILES_PER_TRANSACTION,
) -> list[str]:
    """Return the next ids, in ascending order, of the organisation's files whose formats can be ingested.

    Args:
        files: ids of the only files to choose from; None means all files.
        after: only return ids that sort after this id.
    """
    values = {
        "organisation": organisation,
        "files": None if files is None else list(files),
        "after": after,
        "limit": limit,
        "purposes": list(DOCUMENT_PURPOSES),
        "media_types": [row.media_type for row in INGESTIBLE],
    }
    return [id for (id,) in connection.execute(SQL["next_documents"], values)]


def attach_new(
    connection: Connection[Any],
    store: VectorStore,
    files: Sequence[str],
    *,
    batch: str,
    options: Mapping[str, Any],
    **of_jobs: Any,
) -> None:
    """Attach the files that are neither indexed in the store nor being indexed, in the caller's transaction.

    Args:
        options: the fields of each ``Attachment``, except the file.
        of_jobs: priority class, priority and attempts of the files' jobs, see ``attach_many``.
    """
    found = connection.execute(SQL["attached"], {**_owner(store, batch), "files": list(files)})
    there = {file for (file,) in found}
    attachments = [Attachment(file=file, **options) for file in files if file not in there]
    if attachments:
        attach_many(connection, store, attachments, batch=batch, **of_jobs)


def count_members(connection: Connection[Any], store: VectorStore, batch: str) -> int:
    """Return the number of files that were attached with the batch."""
    row = connection.execute(SQL["members"], _owner(store, batch)).fetchone()
    assert row is not None
    return int(row[0])


def _owner(store: VectorStore, batch: str) -> dict[str, Any]:
    return {"organisation": store.organisation, "vector_store": store.id, "batch": batch}
