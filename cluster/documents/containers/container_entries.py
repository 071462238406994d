"""Store the entries of a container as files of their own, attach these files, and count them by status.

A container is a file whose entries are documents: an archive, or an e-mail with attachments. The job
``index_file`` calls these functions.

    with connection.transaction():
        lock_entries(connection, "default")
        add_entries(connection, blobs, container, entries, default_limits=limits)
        mark_unpacked(connection, container, version, total=len(entries))
    count_entries(connection, "default", store.id, [container.id])

Containers with the same name share the file of an entry if the entry has the same path and the same bytes in
them. So a new version of an archive needs new files only for the entries that changed.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from cluster.blobs import Blob, BlobStore
from cluster.database.queries import queries
from cluster.documents.containers.cancellation import CONTAINER_CANCELLED
from cluster.documents.files import File, require_blob, require_room
from cluster.documents.vector_stores.attaching import attach_many, like
from cluster.documents.vector_stores.store_files import StoreFile
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Unavailable
from cluster.organisations.organisations import StorageLimits
from cluster.records import Outcome, digest

SQL = queries("cluster.documents.containers", "container_entries.sql")
#: Maximum number of entries that one transaction adds or attaches.
ENTRIES_PER_TRANSACTION = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEntry:
    """An entry that was found in a container."""

    #: Number of the entry in the order of the container, from 0.
    number: int
    #: Path in the container.
    path: str
    #: The stored bytes; None if the entry cannot be read.
    blob: Blob | None = None
    media_type: str = ""
    outcome: Outcome = Outcome.OK
    #: Why the entry cannot be read; empty if it can be read.
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryPlace:
    """The container and the path of an entry that became a file."""

    #: File name of the container.
    container_name: str
    #: Path in the container.
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryCounts:
    """Numbers of the entries of a container by their status in a vector store."""

    total: int
    in_progress: int
    completed: int
    failed: int
    #: Entries that were cancelled, or detached from the store.
    cancelled: int
    #: Entries that could not be read from the container.
    left_out: int


NO_ENTRIES = EntryCounts(total=0, in_progress=0, completed=0, failed=0, cancelled=0, left_out=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedEntry:
    """An entry of a container, with its status in a vector store."""

    number: int
    path: str
    #: Id of the file that was made from the entry; None if the entry could not be read.
    file: str | None
    #: Status of the attached file; None if the entry has no file, or its file is not attached.
    status: str | None
    #: How reading or indexing the entry ended; None if this is not known yet.
    outcome: str | None
    #: Why the entry could not be read or indexed, as far as this is known; "" if there is nothing to say.
    detail: str


def is_unpacked(connection: Connection[Any], container: File, version: str) -> bool:
    """Return True if all entries of the container are stored, and this version of the code unpacked them."""
    found = connection.execute(SQL["unpacked"], {**_key(container), "version": version}).fetchone()
    return found == (True,)


def place_of(connection: Connection[Any], organisation: str, file: str) -> EntryPlace | None:
    """Return the container and the path of the file's entry; None if the file was not made from an entry."""
    with connection.cursor(row_factory=class_row(EntryPlace)) as cursor:
        return cursor.execute(SQL["place"], {"organisation": organisation, "file": file}).fetchone()


def add_entries(
    connection: Connection[Any],
    blobs: BlobStore,
    container: File,
    entries: Sequence[NewEntry],
    *,
    default_limits: StorageLimits,
) -> None:
    """Store some entries of the container. An entry that has a file already keeps this file. Call
    ``lock_entries`` first.

    Args:
        blobs: the blob store, which has the bytes of the entries.
        container: the container.
        entries: the entries; at most ``ENTRIES_PER_TRANSACTION``.
        default_limits: limits from the settings, for an organisation without limits of its own.

    Raises:
        Throttled: the organisation would exceed a storage limit.
        Unavailable: the bytes of an entry are no longer stored, because another file with the same bytes was
            deleted. Store the bytes again.
    """
    readable = {_entry_key(container, entry): entry for entry in entries if entry.blob is not None}
    values = {**_key(container), "keys": list(readable)}
    files = dict(connection.execute(SQL["known"], values).fetchall())
    new = {key: entry for key, entry in readable.items() if key not in files}
    if new:
        files |= _add_files(connection, blobs, container, new, default_limits)
    rows: dict[str, list[Any]] = {"numbers": [], "paths": [], "files": [], "outcomes": [], "details": []}
    for entry in entries:
        rows["numbers"].append(entry.number)
        rows["paths"].append(entry.path)
        rows["files"].append(files[_entry_key(container, entry)] if entry.blob is not None else None)
        rows["outcomes"].append(entry.outcome)
        rows["details"].append(entry.detail)
    connection.execute(SQL["add_entries"], {**_key(container), **rows})


def mark_unpacked(connection: Connection[Any], container: File, version: str, *, total: int) -> None:
    """Record that all entries of the container are stored, and delete the rows of further entries, which an
    earlier version found.

    Args:
        version: the version of the code that unpacked the container.
        total: number of entries.
    """
    values = {**_key(container), "version": version, "total": total}
    connection.execute(SQL["remove_rest"], values)
    connection.execute(SQL["mark_unpacked"], values)


def attach_entries(
    connection: Connection[Any],
    store: VectorStore,
    attached: StoreFile,
    *,
    pipeline_version: str,
    before: datetime,
    **options: Any,
) -> int:
    """Attach the next entries of an attached container, with the attributes and the options of the container.
    An entry that this version of the pipeline has indexed already with the same attributes and options stays
    as it is. Returns the number of attached entries; call again until the number is 0.

    Args:
        attached: the attached container.
        pipeline_version: version of the pipeline with which the jobs of the entries would index.
        before: submission time of the container's job. An entry with a newer job stays as it is,
            unless that job was cancelled together with the job of a container.
        options: priority class, priority and attempts of the jobs, see ``attach_many``.

    Raises:
        Conflict: the store has expired.
        NotFound, InvalidInput: see ``attach_many``.
    """
    values = {
        "organisation": store.organisation,
        "container": attached.file,
        "vector_store": store.id,
        "attributes": Jsonb(attached.attributes),
        "chunking_strategy": attached.chunking_strategy and Jsonb(attached.chunking_strategy),
        "ocr": attached.ocr,
        "ocr_languages": attached.ocr_languages,
        "pipeline_version": pipeline_version,
        "before": before,
        "container_cancelled": CONTAINER_CANCELLED,
        "limit": ENTRIES_PER_TRANSACTION,
    }
    files = [file for (file,) in connection.execute(SQL["to_attach"], values).fetchall()]
    if files:
        attach_many(connection, store, [like(attached, file=file) for file in files], **options)
    return len(files)


def count_entries(
    connection: Connection[Any], organisation: str, store: str, containers: Iterable[str]
) -> dict[str, EntryCounts]:
    """Return the numbers of entries by status for each of the containers, by the id of the container. A file
    without entries has no item in the result.
    """
    values = {"organisation": organisation, "vector_store": store, "containers": list(containers)}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["counts"], values).fetchall()
    return {row.pop("container"): EntryCounts(**row) for row in rows}


def list_entries(
    connection: Connection[Any], organisation: str, store: str, container: str, *, after: int, limit: int
) -> list[ListedEntry]:
    """Return the next entries of the container, in the order of the container.

    Args:
        after: number of the entry before the first entry to return; -1 to begin with the first entry.
        limit: maximum number of entries.
    """
    values = {
        "organisation": organisation,
        "vector_store": store,
        "container": container,
        "after": after,
        "limit": limit,
    }
    with connection.cursor(row_factory=class_row(ListedEntry)) as cursor:
        return cursor.execute(SQL["list"], values).fetchall()


def _add_files(
    connection: Connection[Any],
    blobs: BlobStore,
    container: File,
    new: Mapping[str, NewEntry],
    default_limits: StorageLimits,
) -> dict[str, str]:
    """Create the files of new entries. Return the id of each file by the key of its entry.

    Raises:
        Throttled: the organisation would exceed a storage limit.
        Unavailable: the bytes of an entry are no longer stored, because another file with the same bytes was
            deleted.
    """
    stored = {key: entry.blob for key, entry in new.items() if entry.blob is not None}
    size = sum(blob.bytes for blob in stored.values())
    organisation = container.organisation
    require_room(connection, organisation, default_limits=default_limits, files=len(new), bytes=size)
    for sha256 in sorted({blob.sha256 for blob in stored.values()}):  # ordered, to prevent deadlocks
        if not require_blob(connection, blobs, organisation, sha256):
            raise Unavailable("the bytes of an entry were deleted together with another file")
    suffixes = {f"{entry.number:06x}"[-6:] + secrets.token_hex(3): key for key, entry in new.items()}
    values = {
        **_key(container),
        "container_name": container.filename,
        "suffixes": list(suffixes),
        "filenames": [entry.path.rpartition("/")[2][-255:] for entry in new.values()],
        "bytes": [blob.bytes for blob in stored.values()],
        "hashes": [blob.sha256 for blob in stored.values()],
        "media_types": [entry.media_type for entry in new.values()],
    }
    made = {suffixes[suffix]: id for suffix, id in connection.execute(SQL["add_files"], values).fetchall()}
    values |= {
        "keys": list(made),
        "files": list(made.values()),
        "paths": [new[key].path for key in made],
    }
    connection.execute(SQL["add_places"], values)
    return made


def _entry_key(container: File, entry: NewEntry) -> str:
    assert entry.blob is not None
    return digest(container.filename, entry.path, entry.blob.sha256)


def _key(container: File) -> dict[str, Any]:
    return {"organisation": container.organisation, "container": container.id}
