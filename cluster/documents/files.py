"""Store files with their names, purposes and lifetimes, and check the limits on the number and the bytes of
files.

The bytes of a file are in the blob store. The row of the file is written after its bytes, and deleted before
its bytes. The routes of files and uploads, the jobs that make or read files, and upkeep call this module.

    with connection.transaction():
        file = create_file(
            connection, "default", "manual.pdf", "assistants", blob, "application/pdf", default_limits=limits
        )

    with connection.transaction():
        gone = delete_file(connection, "default", file.id)
    release_blobs(connection, blobs, "default", [one.sha256 for one in gone])     # after the commit
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import class_row

from cluster.blobs import Blob, BlobStore
from cluster.database.paging import ListPage, unknown_cursor
from cluster.database.queries import queries
from cluster.documents.containers.entry_removal import detach_entries_everywhere, forget_entries
from cluster.documents.containers.membership import lock_if_container, unshared_entries
from cluster.documents.vector_stores.store_files import detach_everywhere
from cluster.errors import NotFound, Throttled
from cluster.organisations.caller import current_key
from cluster.organisations.organisations import StorageLimits, storage_limits

SQL = queries("cluster.documents", "files.sql")
#: Pattern of the ids that ``files.sql`` makes. An id begins with the creation time of the file, so the id of
#: a deleted file still has a place in lists.
ID = re.compile(r"file-[0-9a-f]{26}")

#: Clients repeat an upload if they did not receive the answer. Uploads with the same bytes, name, purpose and
#: lifetime within this many seconds are one file.
SAME_WITHIN_S = 600
#: Default lifetime in seconds by purpose, the same as OpenAI's: files of batches expire after thirty days,
#: other files do not expire.
LIFETIMES_S = {"batch": 30 * 24 * 3600}
#: Seconds that a client has to wait after a storage limit was reached. Space is freed only by deletions and
#: expiries, which take time.
STORAGE_RETRY_AFTER_S = 60.0
#: Upkeep deletes the entries of a container with more entries, because deleting their blobs takes minutes.
ENTRIES_DELETED_AT_ONCE = 100
NO_LIMITS = StorageLimits()


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """An uploaded file, or a file that the cluster made."""

    organisation: str
    id: str
    filename: str
    #: One of OpenAI's purposes: assistants, batch, ...
    purpose: str
    bytes: int
    #: SHA-256 of the file's bytes. It names the blob in the organisation's part of the blob store.
    sha256: str
    #: Media type, recognised from the bytes; files that name a URL have another type (``linked_files``).
    media_type: str
    created_at: datetime
    #: From this time on, the file is not found; None: the file does not expire.
    expires_at: datetime | None


def create_file(
    connection: Connection[Any],
    organisation: str,
    filename: str,
    purpose: str,
    blob: Blob,
    media_type: str,
    *,
    expires_after_s: int | None = None,
    default_limits: StorageLimits | None,
    is_upload: bool = True,
) -> File:
    """Create a file whose blob is stored. A repeated upload (``SAME_WITHIN_S``) returns the existing file.

    The blob cannot be deleted until the caller's transaction ends. Call ``require_blob`` before, because the
    blob may have been deleted together with another file of the same content.

    Args:
        filename: a result of ``file_names.plain_name``.
        media_type: media type that was recognised from the bytes.
        expires_after_s: seconds until the file expires; None: the default of its purpose.
        default_limits: limits from the settings, for an organisation without limits of its own; None: no
            storage limit is checked, because the file holds results of finished work.
        is_upload: False to create a new file even if the same file was created within ``SAME_WITHIN_S``.

    Raises:
        Throttled: the organisation would exceed a storage limit.
    """
    values = {
        "organisation": organisation,
        "filename": filename,
        "purpose": purpose,
        "bytes": blob.bytes,
        "sha256": blob.sha256,
        "media_type": media_type,
        "lifetime_s": LIFETIMES_S.get(purpose) if expires_after_s is None else expires_after_s,
        "within_s": SAME_WITHIN_S,
        "random": uuid4().hex[:12],
        "key": current_key(),
    }
    limits = _limits(connection, organisation, default_limits)
    if limits:
        connection.execute(SQL["lock_storage"], values)  # before the blob, to prevent deadlocks
    connection.execute(SQL["lock_blob"], values)
    same = _one(connection, "same", values) if is_upload else None
    if same is not None:
        return same
    _require_room(connection, organisation, limits, files=1, bytes=blob.bytes)
    return _inserted(connection, values)


def require_room(
    connection: Connection[Any], organisation: str, *, default_limits: StorageLimits, files: int, bytes: int
) -> None:
    """Check that the organisation may store so many more files and bytes. If the organisation has limits,
    other calls for the same organisation wait until the transaction ends.

    Args:
        default_limits: limits from the settings, for an organisation without limits of its own.

    Raises:
        Throttled: the organisation would exceed a storage limit.
    """
    limits = _limits(connection, organisation, default_limits)
    _require_room(connection, organisation, limits, files=files, bytes=bytes)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limits:
    """The storage limits that apply to one new file."""

    organisation: StorageLimits
    #: The limits of the API key that asks for the file.
    own: StorageLimits = NO_LIMITS
    #: Id of this key; None if the key has no limits of its own, or if no key asks for the file.
    key: str | None = None

    def __bool__(self) -> bool:
        return bool(self.organisation or self.own)


def _limits(connection: Connection[Any], organisation: str, default: StorageLimits | None) -> _Limits:
    if default is None:
        return _Limits(organisation=NO_LIMITS)
    limits = storage_limits(connection, organisation, default=default)
    key = current_key()
    values = {"organisation": organisation, "key": key}
    row = None if key is None else connection.execute(SQL["key_limits"], values).fetchone()
    if row is None:
        return _Limits(organisation=limits)
    return _Limits(organisation=limits, own=StorageLimits(files=row[0] or 0, bytes=row[1] or 0), key=key)


def _require_room(
    connection: Connection[Any], organisation: str, limits: _Limits, *, files: int, bytes: int
) -> None:
    if not limits:
        return
    values = {"organisation": organisation, "key": limits.key}
    connection.execute(SQL["lock_storage"], values)
    owners = (
        (
            "the organisation",
            limits.organisation,
            "kept",
            "CLUSTER_ORGANISATION_{0}, or {1} of the organisation",
        ),
        (f"the API key {limits.key}", limits.own, "kept_by_key", "{1} of the key"),
    )
    for owner, own, statement, source in owners:
        if not own:
            continue
        row = connection.execute(SQL[statement], values).fetchone()
        assert row is not None
        amounts = {"files": (row[0], files, own.files), "bytes": (row[1], bytes, own.bytes)}
        for unit, (kept, more, limit) in amounts.items():
            if limit and kept + more > limit:
                raise Throttled(
                    f"{owner} keeps {kept:,} {unit} of at most {limit:,} "
                    f"({source.format(unit.upper(), unit + '_limit')}), and this would add {more:,}; delete "
                    "files that are no longer needed",
                    retry_after_s=STORAGE_RETRY_AFTER_S,
                )


def get_file(connection: Connection[Any], organisation: str, id: str) -> File:
    """Return the file with this id.

    Raises:
        NotFound: the organisation has no such file, or the file has expired.
    """
    found = _one(connection, "get", {"organisation": organisation, "id": id})
    if found is None:
        raise NotFound(f"no file {id!r}")
    return found


def keep_file(connection: Connection[Any], organisation: str, id: str) -> File:
    """Return the file like ``get_file``. The file cannot be deleted before the transaction ends.

    Raises:
        NotFound: the organisation has no such file, or the file has expired.
    """
    found = _one(connection, "keep", {"organisation": organisation, "id": id})
    if found is None:
        raise NotFound(f"no file {id!r}")
    return found


def missing_files(connection: Connection[Any], organisation: str, ids: Sequence[str]) -> list[str]:
    """Return the ids that belong to no file of the organisation. An expired file counts as missing."""
    values = {"organisation": organisation, "ids": list(ids)}
    return [id for (id,) in connection.execute(SQL["missing"], values)]


def list_files(
    connection: Connection[Any],
    organisation: str,
    *,
    purpose: str | None = None,
    after: str | None = None,
    limit: int = 100,
    newest_first: bool = True,
) -> ListPage[File]:
    """Return a page of the organisation's files, ordered by creation time.

    Args:
        purpose: only files with this purpose.
        after: id of the file before the page; that file may be deleted by now.
        limit: maximum number of files on the page.

    Raises:
        InvalidInput: ``after`` does not have the form of a file id.
    """
    if after is not None and not ID.fullmatch(after):
        raise unknown_cursor("after", after)
    values = {"organisation": organisation, "purpose": purpose, "after": after, "limit": limit + 1}
    with connection.cursor(row_factory=class_row(File)) as cursor:
        found = cursor.execute(SQL["newest" if newest_first else "oldest"], values).fetchall()
    return ListPage(items=found[:limit], has_more=len(found) > limit)


def delete_file(connection: Connection[Any], organisation: str, id: str) -> list[File]:
    """Delete the file and detach it from every vector store. Call this function inside a transaction. With a
    container, its entries are deleted, except entries that another container has. If more than
    ``ENTRIES_DELETED_AT_ONCE`` entries are to be deleted, they are hidden, and upkeep deletes them.

    Returns:
        The file, and the files of its deleted entries. Call ``release_blobs`` with their hashes after the
        commit.

    Raises:
        NotFound: the organisation has no such file.
    """
    has_entries = lock_if_container(connection, organisation, id)
    key = {"organisation": organisation, "id": id}
    file = _one(connection, "lock", key)
    if file is None:
        raise NotFound(f"no file {id!r}")
    entries = unshared_entries(connection, organisation, id) if has_entries else []
    if entries:  # lock files before their rows in stores, as ``attach_many`` does, to prevent deadlocks
        connection.execute(SQL["lock_many"], {"organisation": organisation, "ids": entries})
    detach_everywhere(connection, organisation, id)
    connection.execute(SQL["delete"], key)
    return [file, *_delete_entries(connection, organisation, entries, container=id)]


def expire_files(connection: Connection[Any], *, limit: int = 100) -> list[File]:
    """Call ``delete_file`` for at most ``limit`` expired files of all organisations, and return all files
    that were deleted.

    Args:
        limit: maximum number of expired files per call; call again until a call returns no file.
    """
    expired = connection.execute(SQL["expired_of_all"], {"limit": limit}).fetchall()
    return [file for organisation, id in expired for file in delete_file(connection, organisation, id)]


def require_blob(connection: Connection[Any], blobs: BlobStore, organisation: str, sha256: str) -> bool:
    """Lock the blob until the transaction ends, and return True if the blob is stored. Call this function
    before a row that names the blob is written.
    """
    connection.execute(SQL["lock_blob"], {"organisation": organisation, "sha256": sha256})
    return blobs.exists(organisation, sha256)


def release_blob(connection: Connection[Any], blobs: BlobStore, organisation: str, sha256: str) -> bool:
    """Delete the blob in a separate transaction, unless a row still names the blob. Returns True if the blob
    was deleted.

    Raises:
        Unavailable: the blob store does not answer.
    """
    values = {"organisation": organisation, "sha256": sha256}
    with connection.transaction():
        connection.execute(SQL["lock_blob"], values)
        needed = connection.execute(SQL["blob_needed"], values).fetchone()
        return needed == (False,) and blobs.delete(organisation, sha256)


def release_blobs(
    connection: Connection[Any], blobs: BlobStore, organisation: str, hashes: Iterable[str]
) -> int:
    """Call ``release_blob`` for each hash; returns the number of deleted blobs.

    A crash before the end leaves blobs without rows, which ``cluster.doctor`` finds.
    """
    return sum(release_blob(connection, blobs, organisation, sha256) for sha256 in sorted(set(hashes)))


def _delete_entries(
    connection: Connection[Any], organisation: str, entries: list[str], *, container: str
) -> list[File]:
    """Delete or hide the entries as ``delete_file`` describes, and return the files that were deleted."""
    if not entries:
        return []
    reason = f"file {container}, which has the entry, was deleted"
    detach_entries_everywhere(connection, organisation, entries, reason=reason)
    values = {"organisation": organisation, "ids": entries}
    if len(entries) > ENTRIES_DELETED_AT_ONCE:
        forget_entries(connection, organisation, entries)
        connection.execute(SQL["expire_many"], values)
        return []
    with connection.cursor(row_factory=class_row(File)) as cursor:
        return cursor.execute(SQL["delete_many"], values).fetchall()


def _inserted(connection: Connection[Any], values: dict[str, Any]) -> File:
    made = _one(connection, "insert", values)
    assert made is not None
    return made


def _one(connection: Connection[Any], statement: str, values: dict[str, Any]) -> File | None:
    with connection.cursor(row_factory=class_row(File)) as cursor:
        return cursor.execute(SQL[statement], values).fetchone()
