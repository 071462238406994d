"""Read the status of files that are attached to vector stores, change their attributes, and detach them.

``attaching`` attaches files and submits a job for each file. The worker that runs the job makes these calls
in its last transaction:

    with connection.transaction():
        attached = hold(connection, organisation, store_id, file_id, job_id)
        if attached is not None:           # None: this job must write nothing
            ...                            # write the chunks, with attached.attributes
            record_status(connection, organisation, store_id, file_id, job_id, status=FileStatus.COMPLETED)

A file is in progress exactly while its job is open. A trigger of the database
(``attached_file_follows_its_job``) copies the end of a job and the job's error into the row of the file. The
chunks that an earlier job indexed stay searchable until a later job succeeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.documents import documents
from cluster.documents.chunks import chunk_changes, chunk_store
from cluster.documents.containers.entry_removal import detach_entries
from cluster.documents.containers.membership import (
    entries_in_store,
    entries_left_in_store,
    lock_if_container,
)
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import NotFound
from cluster.formats.recognition import OcrMode
from cluster.jobs import queue
from cluster.jobs.jobs import GONE, JobState, PriorityClass
from cluster.jobs.kinds import INDEX_FILE
from cluster.records import Outcome
from cluster.vector_index.attributes import with_owner_attributes


class FileStatus(StrEnum):
    """The status of an attached file."""

    #: The file's job is queued or running.
    IN_PROGRESS = "in_progress"
    #: The file is searchable.
    COMPLETED = "completed"
    #: The file's job was cancelled.
    CANCELLED = "cancelled"
    #: The file's job is a dead letter; ``StoreFile.error`` holds the reason.
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreFile:
    """A file attached to a store, with its latest job and its document."""

    organisation: str
    vector_store: str
    file: str
    #: Id of the file's document; the chunks of the file are indexed under this id.
    document: str
    status: FileStatus
    #: Error code of the failed job; ``records.public_error`` maps this code to a public code.
    error_code: str | None
    #: Error of the failed job, as a sentence.
    error: str | None
    attributes: dict[str, Any]
    chunking_strategy: dict[str, Any] | None
    #: Mode of optical character recognition; None: the mode of the store.
    ocr: OcrMode | None
    #: Languages of the text to recognise, such as ``deu+eng``; None: the languages of the store.
    ocr_languages: str | None
    job: str
    usage_bytes: int
    #: Numbers of the unreadable pages, if the document is indexed in part.
    failed_pages: list[int]
    created_at: datetime
    filename: str
    #: Number of entries that were found in the file so far; 0 if the file is no container.
    entries: int
    #: This field and the fields up to ``retry_at`` describe the job; None after the job was archived.
    job_state: JobState | None
    priority_class: PriorityClass | None
    priority: int | None
    stage: str | None
    attempt: int | None
    done: int | None
    total: int | None
    unit: str | None
    retry_at: datetime | None
    #: This field and all fields below describe the searchable document; None until a document is searchable.
    pages: int | None
    chunks: int | None
    #: The outcome of reading the document.
    outcome: Outcome | None
    #: A sentence that names the parts of the document that could not be read.
    detail: str | None
    #: Facts about how the document was read.
    facts: dict[str, Any] | None


#: Maps fields of ``StoreFile`` that are not in ``vector_store_files`` to the columns of other tables.
OTHER_COLUMNS = {
    "filename": "files.filename",
    "entries": """(SELECT count(*) FROM container_entries AS entry
        WHERE entry.organisation = attached.organisation AND entry.container = attached.file)""",
    "job_state": "jobs.state",
    **{name: f"documents.{name}" for name in ("pages", "chunks", "outcome", "detail", "facts")},
    **{
        name: f"jobs.{name}"
        for name in ("priority_class", "priority", "stage", "attempt", "done", "total", "unit", "retry_at")
    },
}
COLUMNS = ", ".join(
    f"{OTHER_COLUMNS.get(field.name, f'attached.{field.name}')} AS {field.name}"
    for field in fields(StoreFile)
)
TABLES = """vector_store_files AS attached
JOIN files ON (files.organisation, files.id) = (attached.organisation, attached.file)
LEFT JOIN jobs ON (jobs.organisation, jobs.id) = (attached.organisation, attached.job)
LEFT JOIN documents ON (documents.organisation, documents.id) = (attached.organisation, attached.document)"""
SQL = {
    name: text.replace("{columns}", COLUMNS).replace("{tables}", TABLES)
    for name, text in queries("cluster.documents.vector_stores", "store_files.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])
LISTS_OF_BATCH = ListStatements(
    newest=SQL["newest_of_batch"], oldest=SQL["oldest_of_batch"], places=SQL["places"]
)


def get_store_file(connection: Connection[Any], organisation: str, store_id: str, file: str) -> StoreFile:
    """Return the attached file.

    Raises:
        NotFound: the file is not attached to the store.
    """
    return _one(connection, "get", organisation, store_id, file)


def list_store_files(
    connection: Connection[Any],
    store: VectorStore,
    page: PageRequest,
    *,
    status: FileStatus | None = None,
    batch: str | None = None,
) -> ListPage[StoreFile]:
    """Return a page of the files attached to the store.

    Args:
        status: only files with this status.
        batch: only files of the batch with this id.

    Raises:
        InvalidInput: the cursor of ``page`` names no file of the store.
    """
    values = {
        "organisation": store.organisation,
        "vector_store": store.id,
        "status": status,
        "batch": batch,
        "kind": INDEX_FILE.name,
    }
    found = read_page(connection, LISTS if batch is None else LISTS_OF_BATCH, values, page)
    return ListPage(items=[_store_file(row) for row in found.items], has_more=found.has_more)


def update_attributes(
    connection: Connection[Any], store: VectorStore, file: str, attributes: Mapping[str, Any]
) -> StoreFile:
    """Replace the attributes of a file and of its chunks. An open job writes its chunks with the new
    attributes. The entries of a container get the same attributes.

    Raises:
        NotFound: the file is not attached to the store.
    """
    with connection.transaction():
        has_entries = lock_if_container(connection, store.organisation, file)
        attached = _one(connection, "lock", store.organisation, store.id, file)
        place = (store.organisation, store.id)
        rows = chunk_store.document_chunks(connection, *place, attached.document, collection=store.collection)
        changed = {row.id: with_owner_attributes(row.attributes, attributes) for row in rows}
        chunk_changes.set_attributes(connection, *place, changed, collection=store.collection)
        values = {
            "organisation": store.organisation,
            "vector_store": store.id,
            "file": file,
            "attributes": Jsonb(dict(attributes)),
        }
        connection.execute(SQL["set_attributes"], values)
        if has_entries:
            for entry in entries_in_store(connection, *place, file):
                update_attributes(connection, store, entry, attributes)
    return replace(attached, attributes=dict(attributes))


def detach(connection: Connection[Any], store: VectorStore, file: str) -> None:
    """Remove the file from the store: delete its chunks and document record, and cancel its open job. With a
    container, its entries are removed, except entries that another attached container has.

    Raises:
        NotFound: the file is not attached to the store.
    """
    reason = f"file {file} was removed from vector store {store.id}"
    _detach(connection, store.organisation, store.id, store.collection, file, reason=reason)


def detach_everywhere(connection: Connection[Any], organisation: str, file: str) -> int:
    """Detach the file from every store, and return the number of these stores. Call this function in the
    transaction that deletes the file.
    """
    holders = connection.execute(SQL["holders"], {"organisation": organisation, "file": file}).fetchall()
    for store_id, collection in holders:
        _detach(connection, organisation, store_id, collection, file, reason=f"file {file} was deleted")
    return len(holders)


def hold(
    connection: Connection[Any], organisation: str, store_id: str, file: str, job: str
) -> StoreFile | None:
    """Lock the attached file for the job that is about to write the chunks of the file.

    Returns:
        The attached file in its current state. None if the file was detached, another job replaced this job,
        or the store was deleted or has expired. If None, the worker must write nothing.
    """
    if (
        connection.execute(
            SQL["hold_store"], {"organisation": organisation, "vector_store": store_id}
        ).fetchone()
        is None
    ):
        return None
    try:
        attached = _one(connection, "lock", organisation, store_id, file)
    except NotFound:
        return None
    return attached if attached.job == job else None


def record_status(
    connection: Connection[Any],
    organisation: str,
    store_id: str,
    file: str,
    job: str,
    *,
    status: FileStatus,
    error_code: str | None = None,
    error: str | None = None,
    usage_bytes: int | None = None,
    failed_pages: Sequence[int] | None = None,
) -> bool:
    """Record the result of a file's job in the transaction that ends the job. Returns False if a later job
    replaced this job, or if the file was detached.

    Args:
        usage_bytes: bytes that the file uses in the store; None: no change.
        failed_pages: numbers of the unreadable pages, if the document is searchable in part; None: no change.
    """
    values = {
        "organisation": organisation,
        "vector_store": store_id,
        "file": file,
        "job": job,
        "status": status,
        "error_code": error_code,
        "error": error,
        "usage_bytes": usage_bytes,
        "failed_pages": None if failed_pages is None else list(failed_pages),
    }
    return connection.execute(SQL["record_status"], values).rowcount > 0


def _detach(
    connection: Connection[Any],
    organisation: str,
    store_id: str,
    collection: str,
    file: str,
    *,
    reason: str,
) -> None:
    with connection.transaction():
        has_entries = lock_if_container(connection, organisation, file)
        attached = _one(connection, "lock", organisation, store_id, file)
        if attached.status == FileStatus.IN_PROGRESS:
            queue.cancel(connection, organisation, attached.job, reason=reason, code=GONE)
        chunk_changes.delete_document(
            connection, organisation, store_id, attached.document, collection=collection
        )
        documents.delete_document(connection, organisation, attached.document)
        key = {"organisation": organisation, "vector_store": store_id, "file": file}
        connection.execute(SQL["detach"], key)
        connection.execute(SQL["leave_batches"], key)
        if has_entries:
            left = entries_left_in_store(connection, organisation, store_id, file)
            detach_entries(connection, organisation, store_id, left, collection=collection, reason=reason)


def _one(
    connection: Connection[Any], statement: str, organisation: str, store_id: str, file: str
) -> StoreFile:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            SQL[statement], {"organisation": organisation, "vector_store": store_id, "file": file}
        ).fetchone()
    if row is None:
        raise NotFound(f"no file {file!r} in vector store {store_id!r}")
    return _store_file(row)


def _store_file(row: dict[str, Any]) -> StoreFile:
    states = {
        "status": FileStatus(row["status"]),
        "job_state": row["job_state"] and JobState(row["job_state"]),
        "priority_class": row["priority_class"] and PriorityClass(row["priority_class"]),
        "outcome": row["outcome"] and Outcome(row["outcome"]),
    }
    return StoreFile(**{**row, **states})
