"""Manage uploads in parts: create an upload, add parts, and complete the upload as a file or cancel it.

The id of a part is made from its bytes, so the same bytes sent twice are one part. A completion may list the
same part more than once if the file contains these bytes repeatedly. Called by the routes of uploads and by
upkeep.

    upload = create_upload(
        connection, "default", "corpus.jsonl", "batch", 9_000_000_000, "text/jsonl", lifetime_s=3600,
        default_limits=limits,
    )
    part = add_part(connection, "default", upload.id, blob)
    parts = ordered_parts(connection, upload, [part.id])
    with connection.transaction():
        upload, file, released = complete_upload(connection, upload, blob, media_type, default_limits=limits)
    release_blobs(connection, blobs, "default", released)
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import uuid4

from psycopg import Connection
from psycopg.rows import class_row, dict_row

from cluster.blobs import Blob
from cluster.database.queries import queries
from cluster.documents.files import File, create_file, get_file, require_room
from cluster.errors import InvalidInput, NotFound
from cluster.organisations.caller import current_key
from cluster.organisations.organisations import StorageLimits
from cluster.records import digest


class UploadStatus(StrEnum):
    """The status of an upload."""

    #: Parts may be added.
    PENDING = "pending"
    #: The upload has become a file.
    COMPLETED = "completed"
    #: The upload was cancelled.
    CANCELLED = "cancelled"
    #: The upload was not completed in time.
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """An upload in parts."""

    organisation: str
    id: str
    filename: str
    purpose: str
    #: Number of bytes that the client announced. The parts that a completion lists must have exactly this
    #: many bytes in all.
    bytes: int
    #: Media type that the client announced.
    media_type: str
    status: UploadStatus
    #: Seconds after which the completed file expires; None means the default for the purpose of the file.
    expires_after: int | None
    #: Id of the completed file.
    file: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPart:
    """A part of an upload."""

    organisation: str
    upload: str
    id: str
    bytes: int
    #: SHA-256 of the part's bytes. This hash is the name of the blob.
    sha256: str
    created_at: datetime


COLUMNS = ", ".join(field.name for field in fields(Upload))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.documents", "uploads.sql").items()
}

#: Maximum number of parts that a completion may list. This is enough for 8 GiB in parts of a megabyte.
MAX_PARTS = 8_192
#: A client that divides its file differently after a failure sends the file twice. So the parts of an upload
#: may have this many times the announced bytes, and their number may be this many times ``MAX_PARTS``. More
#: than that is abuse.
MAX_TIMES_SENT = 2
#: Number of seconds after the expiry of an upload in which a completion may still finish, because writing a
#: large file takes time.
COMPLETION_GRACE_S = 600


def create_upload(
    connection: Connection[Any],
    organisation: str,
    filename: str,
    purpose: str,
    bytes: int,
    media_type: str,
    *,
    expires_after_s: int | None = None,
    lifetime_s: float,
    default_limits: StorageLimits,
) -> Upload:
    """Create an upload. Its parts are added later. The caller begins the transaction.

    Args:
        bytes: number of bytes of the whole file.
        expires_after_s: seconds until the completed file expires, as in ``create_file``.
        lifetime_s: the upload expires if it is not completed within this many seconds.
        default_limits: limits from the settings, for an organisation without limits of its own.

    Raises:
        Throttled: the organisation would exceed a storage limit.
    """
    require_room(connection, organisation, default_limits=default_limits, files=1, bytes=bytes)
    values = {
        "organisation": organisation,
        "id": f"upload_{uuid4().hex}",
        "filename": filename,
        "purpose": purpose,
        "bytes": bytes,
        "media_type": media_type,
        "expires_after_s": expires_after_s,
        "lifetime_s": lifetime_s,
        "key": current_key(),
    }
    return _upload(connection, "insert", values)


def get_upload(connection: Connection[Any], organisation: str, id: str) -> Upload:
    """Return the upload with this id.

    Raises:
        NotFound: the organisation has no such upload.
    """
    return _upload(connection, "get", {"organisation": organisation, "id": id})


def get_pending(connection: Connection[Any], organisation: str, id: str) -> Upload:
    """Return the upload with this id if it is pending.

    Raises:
        NotFound: the organisation has no such upload.
        InvalidInput: the upload is completed, cancelled or expired.
    """
    return _pending(get_upload(connection, organisation, id))


def add_part(connection: Connection[Any], organisation: str, upload: str, blob: Blob) -> UploadPart:
    """Add a part whose blob is stored (see ``files.require_blob``). Called inside a transaction.

    Raises:
        NotFound: the organisation has no such upload.
        InvalidInput: the upload is not pending, or too many parts or bytes have arrived for it.
    """
    announced = _pending(_upload(connection, "lock", {"organisation": organisation, "id": upload}))
    values = {
        "organisation": organisation,
        "upload": upload,
        "id": f"part_{digest(organisation, upload, blob.sha256, size=12)}",
        "bytes": blob.bytes,
        "sha256": blob.sha256,
    }
    with connection.cursor(row_factory=class_row(UploadPart)) as cursor:
        part = cursor.execute(SQL["add_part"], values).fetchone()
    assert part is not None
    ((arrived, parts),) = connection.execute(SQL["arrived"], values).fetchall()
    if parts > MAX_TIMES_SENT * MAX_PARTS:
        raise InvalidInput(
            f"{parts:,} parts have arrived; an upload may have {MAX_PARTS:,}. "
            "Create a new upload with larger parts",
            param="data",
        )
    if arrived > MAX_TIMES_SENT * announced.bytes:
        raise InvalidInput(
            f"the parts hold {arrived:,} bytes, and {announced.bytes:,} were announced; create a new upload",
            param="data",
        )
    return part


def ordered_parts(connection: Connection[Any], upload: Upload, ids: Sequence[str]) -> list[UploadPart]:
    """Return the parts with these ids, in the order of the ids.

    Raises:
        InvalidInput: the upload has no part with one of the ids, or the total size of the parts is not the
            announced number of bytes.
    """
    values = {"organisation": upload.organisation, "upload": upload.id, "ids": list(ids)}
    with connection.cursor(row_factory=class_row(UploadPart)) as cursor:
        parts = cursor.execute(SQL["parts"], values).fetchall()
    found = {part.id for part in parts}
    missing = [id for id in ids if id not in found]
    if missing:
        raise InvalidInput(f"{missing[0]!r} is not a part of upload {upload.id}", param="part_ids")
    total = sum(part.bytes for part in parts)
    if total != upload.bytes:
        raise InvalidInput(
            f"the parts add up to {total:,} bytes, and {upload.bytes:,} were announced", param="part_ids"
        )
    return parts


def complete_upload(
    connection: Connection[Any], upload: Upload, blob: Blob, media_type: str, *, default_limits: StorageLimits
) -> tuple[Upload, File, list[str]]:
    """Make a file of the upload. Called inside a transaction. An upload that was completed before keeps its
    file.

    Args:
        blob: the whole file, stored (see ``files.require_blob``).
        media_type: media type that was recognised from the bytes.
        default_limits: limits from the settings, for an organisation without limits of its own.

    Returns:
        The upload, the file, and the hashes of the parts' blobs. Pass the hashes to ``release_blobs`` after
        the commit.

    Raises:
        InvalidInput: the upload was cancelled or has expired.
        NotFound: the organisation has no such upload, or the upload was completed before and its file was
            deleted or has expired.
        Throttled: the organisation would exceed a storage limit.
    """
    key = {"organisation": upload.organisation, "id": upload.id}
    locked = _upload(connection, "lock", key, grace_s=COMPLETION_GRACE_S)
    if locked.status == UploadStatus.COMPLETED:
        return locked, get_file(connection, upload.organisation, locked.file or ""), []
    if locked.status != UploadStatus.PENDING:
        raise _ended(locked)
    # End the upload before the file exists. Otherwise the storage limits would count the bytes twice, for the
    # upload and for the file.
    connection.execute(SQL["end"], {**key, "status": UploadStatus.COMPLETED})
    file = create_file(
        connection, upload.organisation, upload.filename, upload.purpose, blob, media_type,
        expires_after_s=upload.expires_after, default_limits=default_limits,
    )  # fmt: skip
    connection.execute(SQL["becomes"], {**key, "file": file.id})
    return _upload(connection, "get", key), file, _drop_parts(connection, upload.organisation, upload.id)


def cancel_upload(connection: Connection[Any], organisation: str, id: str) -> tuple[Upload, list[str]]:
    """Cancel the upload. An upload that was cancelled before does not change. Called inside a transaction.

    Returns:
        The upload, and the hashes of its parts' blobs as in ``complete_upload``.

    Raises:
        NotFound: the organisation has no such upload.
        InvalidInput: the upload is completed or expired.
    """
    upload = _upload(connection, "lock", {"organisation": organisation, "id": id})
    if upload.status == UploadStatus.CANCELLED:
        return upload, []
    return _end(connection, _pending(upload), UploadStatus.CANCELLED)


def expire_uploads(connection: Connection[Any], *, limit: int = 100) -> list[tuple[Upload, list[str]]]:
    """End uploads, of any organisation, that expired more than ``COMPLETION_GRACE_S`` seconds ago. Called
    inside a transaction.

    Args:
        limit: maximum number of uploads per call; call again while a call returns that many.

    Returns:
        The uploads, each with the hashes of its parts' blobs as in ``complete_upload``.
    """
    expired = connection.execute(
        SQL["expired_of_all"], {"limit": limit, "grace_s": COMPLETION_GRACE_S}
    ).fetchall()
    return [
        _end(
            connection,
            _upload(connection, "get", {"organisation": organisation, "id": id}),
            UploadStatus.EXPIRED,
        )
        for organisation, id in expired
    ]


def _end(connection: Connection[Any], upload: Upload, status: UploadStatus) -> tuple[Upload, list[str]]:
    key = {"organisation": upload.organisation, "id": upload.id}
    connection.execute(SQL["end"], {**key, "status": status})
    return _upload(connection, "get", key), _drop_parts(connection, upload.organisation, upload.id)


def _drop_parts(connection: Connection[Any], organisation: str, upload: str) -> list[str]:
    return [
        sha256
        for (sha256,) in connection.execute(
            SQL["drop_parts"], {"organisation": organisation, "upload": upload}
        )
    ]


def _pending(upload: Upload) -> Upload:
    if upload.status != UploadStatus.PENDING:
        raise _ended(upload)
    return upload


def _ended(upload: Upload) -> InvalidInput:
    return InvalidInput(f"upload {upload.id} is {upload.status}; create a new one", param="upload_id")


def _upload(
    connection: Connection[Any], statement: str, values: dict[str, Any], *, grace_s: float = 0
) -> Upload:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL[statement], values).fetchone()
    if row is None:
        raise NotFound(f"no upload {values['id']!r}")
    expired = row["status"] == UploadStatus.PENDING and row["expires_at"] + timedelta(
        seconds=grace_s
    ) <= datetime.now(UTC)
    return Upload(**{**row, "status": UploadStatus.EXPIRED if expired else UploadStatus(row["status"])})
