"""Uploads in parts: begun, filled, and made a file, or given up.

A part is known by its bytes: sent twice it is one part, and an upload may name a part more than once where its file
repeats itself. Called by the routes of uploads and by upkeep.

    upload = create_upload(connection, "default", "corpus.jsonl", "batch", 9_000_000_000, "text/jsonl", lifetime_s=3600,
        default_limits=limits)
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
from cluster.organisations.organisations import StorageLimits
from cluster.records import digest


class UploadStatus(StrEnum):
    """Where an upload is in its life."""

    #: Parts may be added.
    PENDING = "pending"
    #: It has become a file.
    COMPLETED = "completed"
    #: Somebody gave it up.
    CANCELLED = "cancelled"
    #: Its time was over before it was completed.
    EXPIRED = "expired"


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """An upload as the ledger has it."""

    organisation: str
    id: str
    filename: str
    purpose: str
    #: As announced; what its parts must add up to.
    bytes: int
    #: As announced.
    media_type: str
    status: UploadStatus
    #: Of the file it becomes: seconds it will last; None: as is usual for its purpose.
    expires_after: int | None
    #: Id of the file it became.
    file: str | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadPart:
    """A piece of an upload's bytes."""

    organisation: str
    upload: str
    id: str
    bytes: int
    #: Names its blob.
    sha256: str
    created_at: datetime


COLUMNS = ", ".join(field.name for field in fields(Upload))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.documents", "uploads.sql").items()
}

#: 8 GiB in parts of a megabyte.
MOST_PARTS = 8_192
#: A client that cut its file anew after a failure may send it twice; more than that is no mistake.
SENT_AT_MOST = 2
#: A completion that began in time may take this long to write a large file.
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
    """A new upload without parts. Inside a transaction.

    Args:
        bytes: what its parts will add up to.
        expires_after_s: of the file it becomes, as in ``create_file``.
        lifetime_s: it expires when it is not completed within this.

    Raises:
        Throttled: the organisation may not keep so much more.
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
    }
    return _upload(connection, "insert", values)


def get_upload(connection: Connection[Any], organisation: str, id: str) -> Upload:
    """The organisation's upload of this id.

    Raises:
        NotFound: it has none.
    """
    return _upload(connection, "get", {"organisation": organisation, "id": id})


def get_pending(connection: Connection[Any], organisation: str, id: str) -> Upload:
    """The same, if it still takes parts.

    Raises:
        NotFound: the organisation has none.
        InvalidInput: it takes none any more.
    """
    return _pending(get_upload(connection, organisation, id))


def add_part(connection: Connection[Any], organisation: str, upload: str, blob: Blob) -> UploadPart:
    """Add bytes whose blob is in place (see ``files.require_blob``). Inside a transaction.

    Raises:
        NotFound: no such upload.
        InvalidInput: it takes no part any more, or far more has arrived than was announced, or in far too many parts.
    """
    whole = _pending(_upload(connection, "lock", {"organisation": organisation, "id": upload}))
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
    if parts > SENT_AT_MOST * MOST_PARTS:
        raise InvalidInput(
            f"{parts:,} parts have arrived, and {MOST_PARTS:,} are the most; begin anew with larger ones",
            param="data",
        )
    if arrived > SENT_AT_MOST * whole.bytes:
        raise InvalidInput(
            f"the parts hold {arrived:,} bytes and {whole.bytes:,} were announced; begin a new upload",
            param="data",
        )
    return part


def ordered_parts(connection: Connection[Any], upload: Upload, ids: Sequence[str]) -> list[UploadPart]:
    """The parts of these ids, in this order.

    Raises:
        InvalidInput: an id is none of the upload's parts, or the parts do not add up to what was announced.
    """
    values = {"organisation": upload.organisation, "upload": upload.id, "ids": list(ids)}
    with connection.cursor(row_factory=class_row(UploadPart)) as cursor:
        parts = cursor.execute(SQL["parts"], values).fetchall()
    there = {part.id for part in parts}
    missing = [id for id in ids if id not in there]
    if missing:
        raise InvalidInput(f"{missing[0]!r} is no part of upload {upload.id}", param="part_ids")
    total = sum(part.bytes for part in parts)
    if total != upload.bytes:
        raise InvalidInput(
            f"the parts add up to {total:,} bytes, and {upload.bytes:,} were announced", param="part_ids"
        )
    return parts


def complete_upload(
    connection: Connection[Any], upload: Upload, blob: Blob, media_type: str, *, default_limits: StorageLimits
) -> tuple[Upload, File, list[str]]:
    """The upload becomes a file: both, and the hashes of the parts' blobs, which are for ``release_blobs`` after the commit.

    Inside a transaction. One that somebody else completed meanwhile gives what it became.

    Args:
        blob: its parts, one after the other, in place (see ``files.require_blob``).
        media_type: found in the bytes.

    Raises:
        InvalidInput: it was cancelled meanwhile.
        NotFound: the file it had become is gone.
        Throttled: the organisation may not keep so much more.
    """
    key = {"organisation": upload.organisation, "id": upload.id}
    locked = _upload(connection, "lock", key, grace_s=COMPLETION_GRACE_S)
    if locked.status == UploadStatus.COMPLETED:
        return locked, get_file(connection, upload.organisation, locked.file or ""), []
    if locked.status != UploadStatus.PENDING:
        raise _ended(locked)
    connection.execute(
        SQL["end"], {**key, "status": UploadStatus.COMPLETED}
    )  # from here on its bytes count as the file's
    file = create_file(
        connection, upload.organisation, upload.filename, upload.purpose, blob, media_type,
        expires_after_s=upload.expires_after, default_limits=default_limits,
    )  # fmt: skip
    connection.execute(SQL["becomes"], {**key, "file": file.id})
    return _upload(connection, "get", key), file, _drop_parts(connection, upload.organisation, upload.id)


def cancel_upload(connection: Connection[Any], organisation: str, id: str) -> tuple[Upload, list[str]]:
    """Give the upload up: it, and hashes of blobs as in ``complete_upload``. Cancelled twice is cancelled. Inside a transaction.

    Raises:
        NotFound: no such upload.
        InvalidInput: it has become a file, or has expired.
    """
    upload = _upload(connection, "lock", {"organisation": organisation, "id": id})
    if upload.status == UploadStatus.CANCELLED:
        return upload, []
    return _end(connection, _pending(upload), UploadStatus.CANCELLED)


def expire_uploads(connection: Connection[Any], *, limit: int = 100) -> list[tuple[Upload, list[str]]]:
    """End uploads of every organisation whose time is over; each with hashes of blobs as in ``complete_upload``. Inside a transaction.

    Args:
        limit: how many at most; call again while it returns as many.
    """
    over = connection.execute(
        SQL["expired_of_all"], {"limit": limit, "grace_s": COMPLETION_GRACE_S}
    ).fetchall()
    return [
        _end(
            connection,
            _upload(connection, "get", {"organisation": organisation, "id": id}),
            UploadStatus.EXPIRED,
        )
        for organisation, id in over
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
    return InvalidInput(f"upload {upload.id} is {upload.status}; begin a new one", param="upload_id")


def _upload(
    connection: Connection[Any], statement: str, values: dict[str, Any], *, grace_s: float = 0
) -> Upload:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL[statement], values).fetchone()
    if row is None:
        raise NotFound(f"no upload {values['id']!r}")
    over = row["status"] == UploadStatus.PENDING and row["expires_at"] + timedelta(
        seconds=grace_s
    ) <= datetime.now(UTC)
    return Upload(**{**row, "status": UploadStatus.EXPIRED if over else UploadStatus(row["status"])})
