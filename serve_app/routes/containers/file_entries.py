"""GET /v1/vector_stores/{id}/files/{file_id}/entries: list the entries of an archive or an e-mail.

An entry is a file of its own with its own status; see ``cluster.documents.containers``.
"""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import Query
from psycopg import Connection

from cluster.documents.containers.container_entries import (
    NO_ENTRIES,
    EntryCounts,
    ListedEntry,
    count_entries,
    list_entries,
)
from cluster.documents.vector_stores.store_files import FileStatus, get_store_file
from cluster.documents.vector_stores.stores import get_store
from cluster.errors import InvalidInput
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep

#: Maximum number of digits of the number of an entry.
MAX_DIGITS = 9

router = json_router(404)


class EntryObject(ResponseModel):
    """An entry of a container."""

    object: Literal["vector_store.file.entry"] = "vector_store.file.entry"
    """Always `vector_store.file.entry`."""
    path: str
    """Path in the container, such as `2026/a.eml`; `inner.zip!/b.txt` for an entry of an inner container."""
    file_id: str | None
    """Id of the file that was made from the entry; null if the entry could not be read."""
    status: FileStatus | Literal["left_out"]
    """Status of the file in this vector store. `left_out` if the entry could not be read; `cancelled` also if
    the file was removed from the store."""
    outcome: str | None
    """How reading the entry ended, such as `ok` or `encrypted`; null while the entry is in progress."""
    detail: str | None
    """A sentence that says what could not be read, and why."""


class EntryCountsObject(ResponseModel):
    """Numbers of the entries by status."""

    total: int
    """Number of all entries."""
    in_progress: int
    """Entries that are being processed."""
    completed: int
    """Entries that can be searched."""
    failed: int
    """Entries whose file failed."""
    cancelled: int
    """Entries that were cancelled, or removed from the vector store."""
    left_out: int
    """Entries that could not be read from the container."""


class EntryPage(ResponseModel):
    """One page of the entries of a container, in the container's order."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[EntryObject]
    """The entries of this page."""
    has_more: bool
    """True if more entries follow."""
    next_page: str | None
    """Value of the query parameter `page` for the next page; null on the last page."""
    entry_counts: EntryCountsObject
    """Numbers of all entries of the container by status; all 0 for a file without entries."""


@router.get(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}/entries",
    summary="List the entries of an archive or an e-mail",
)
async def get_entries(
    vector_store_id: str,
    file_id: str,
    service: ServiceDep,
    organisation: Organisation,
    page: Annotated[str | None, Query(description="`next_page` of the previous answer")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000, description="Number of entries at most")] = 100,
) -> EntryPage:
    """Returns the entries of the container with their status in this vector store. A file that is no
    container has no entries.
    """
    after = _entry_before(page)

    def read(connection: Connection[Any]) -> tuple[list[ListedEntry], EntryCounts]:
        store = get_store(connection, organisation, vector_store_id)
        get_store_file(connection, organisation, store.id, file_id)
        counts = count_entries(connection, organisation, store.id, [file_id]).get(file_id, NO_ENTRIES)
        listed = list_entries(connection, organisation, store.id, file_id, after=after, limit=limit + 1)
        return listed, counts

    found, counts = await service.read(read)
    shown = found[:limit]
    more = len(found) > limit
    return EntryPage(
        data=[_entry(entry) for entry in shown],
        has_more=more,
        next_page=str(shown[-1].number) if more else None,
        entry_counts=EntryCountsObject(**asdict(counts)),
    )


def _entry(entry: ListedEntry) -> EntryObject:
    if entry.file is None:
        status: FileStatus | Literal["left_out"] = "left_out"
    else:
        status = FileStatus(entry.status) if entry.status else FileStatus.CANCELLED
    return EntryObject(
        path=entry.path,
        file_id=entry.file,
        status=status,
        outcome=entry.outcome,
        detail=entry.detail or None,
    )


def _entry_before(page: str | None) -> int:
    """Return the number of the last entry of the previous page; -1 for the first page.

    Raises:
        InvalidInput: the parameter is not a ``next_page``.
    """
    if page is None:
        return -1
    if not (page.isascii() and page.isdecimal() and len(page) <= MAX_DIGITS):
        raise InvalidInput(f"page is {page!r}; send the next_page of the previous answer", param="page")
    return int(page)
