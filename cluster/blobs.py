"""Keep the bytes of uploaded files in the blob store, which is a folder or a bucket.

A blob is named by the SHA-256 of its bytes, and each organisation has at most one copy of the same bytes. The
bytes are written before the row that names them. So a crash in between leaves a blob without a row, which
``cluster.doctor`` finds, but never a row without its blob. Called by uploads, by the jobs that read files,
and by deletion.

    store = open_blob_store(settings)
    with store.writer("default") as writer:
        writer.write(b"...")
        blob = writer.commit()
    store.read("default", blob.sha256)
"""

import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cluster.blob_errors import missing_blob_is_permanent, translated_storage_errors
from cluster.errors import InvalidInput, Misconfigured, Permanent, Unavailable
from cluster.settings import Settings

#: Permitted names of organisations. Other names never become part of a path.
ORGANISATION = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: Permitted names of blobs.
SHA256 = re.compile(r"[0-9a-f]{64}")
#: Folder for blobs that are being written, and for unfinished blobs whose writer died.
UNFINISHED = "incoming"
READ_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """The name and size of a blob."""

    #: SHA-256 of the bytes in hexadecimal, which is the blob's name in the store.
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredBlob:
    """A blob as ``BlobStore.list`` returns it."""

    organisation: str
    sha256: str
    bytes: int
    modified_at: datetime


def open_blob_store(settings: Settings) -> "BlobStore":
    """Open the blob store at ``CLUSTER_BLOB_URL``, by default a folder under ``home``. The first write
    creates the folder.

    Raises:
        Misconfigured: this kind of storage is unknown, or its package is not installed.
    """
    url = settings.blob_url or str(settings.home / "blobs")
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except ImportError as exc:
        raise Misconfigured(
            f"CLUSTER_BLOB_URL={url}: {exc}; pip install 'embedding-cluster[s3]' or '[gcs]'"
        ) from exc
    except ValueError as exc:
        raise Misconfigured(f"CLUSTER_BLOB_URL={url}: {exc}") from exc
    return BlobStore(filesystem, root.rstrip("/"))


class BlobStore:
    """Stores and reads blobs. Several threads may share one store.

    Raises (every method):
        Shortage: the storage is full or read-only.
        Unavailable: the storage does not answer.
        Misconfigured: the storage denies access.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self._files = filesystem
        self._root = root
        self._local = isinstance(filesystem, LocalFileSystem)

    def writer(self, organisation: str) -> "BlobWriter":
        """Make a writer for a new blob, for a ``with`` block. Only ``commit`` stores the blob."""
        folder = f"{self._root}/{_checked(ORGANISATION, organisation)}/{UNFINISHED}"
        with translated_storage_errors():
            self._make(folder)
            path = f"{folder}/{uuid4().hex}"
            return BlobWriter(self, organisation, path, self._files.open(path, "wb"))

    def open(self, organisation: str, sha256: str) -> BinaryIO:
        """Open the blob for reading once, in order. The bytes are hashed while they are read, so a damaged
        blob raises an error before its last bytes are returned.

        Raises:
            Permanent: the blob is missing. Reading raises the same error if the blob is damaged.
        """
        path = self._path(organisation, sha256)
        with translated_storage_errors(), missing_blob_is_permanent(organisation, sha256):
            # Forget an earlier listing of the bucket, because it may be out of date.
            self._files.invalidate_cache(path)
            size = self._files.size(path)
            file = self._files.open(path, "rb")
        return cast(BinaryIO, io.BufferedReader(_Verified(file, size, sha256), READ_BYTES))

    def open_local(self, organisation: str, sha256: str) -> BinaryIO | None:
        """Open the blob's file without a check of its hash; None if the blobs are not in a local folder.

        Raises:
            Permanent: the blob is missing.
        """
        if not self._local:
            return None
        with translated_storage_errors(), missing_blob_is_permanent(organisation, sha256):
            return open(self._path(organisation, sha256), "rb")

    def read(self, organisation: str, sha256: str) -> bytes:
        """Return all bytes of the blob.

        Raises:
            Permanent: the blob is missing or damaged.
        """
        with self.open(organisation, sha256) as file:
            return file.read()

    def exists(self, organisation: str, sha256: str) -> bool:
        """True if the blob is stored."""
        path = self._path(organisation, sha256)
        with translated_storage_errors():
            self._files.invalidate_cache(path)
            return bool(self._files.exists(path))

    def delete(self, organisation: str, sha256: str) -> bool:
        """Delete the blob. First delete all rows that refer to it. Return True if the blob was stored."""
        path = self._path(organisation, sha256)
        with translated_storage_errors():
            try:
                self._files.rm_file(path)
            except FileNotFoundError:
                return False
        return True

    def delete_organisation(self, organisation: str) -> int:
        """Delete all blobs of the organisation, including unfinished blobs. Return the number of blobs."""
        folder = f"{self._root}/{_checked(ORGANISATION, organisation)}"
        with translated_storage_errors():
            self._files.invalidate_cache()
            found = list(self._files.find(folder)) if self._files.exists(folder) else []
            for path in found:
                with suppress(FileNotFoundError):  # another attempt may delete the same file
                    self._files.rm_file(path)
        return len(found)

    def list(self) -> Iterator[StoredBlob]:
        """List the stored blobs of all organisations, in no particular order."""
        for organisation, folder, name, info in self._find():
            if folder != UNFINISHED and SHA256.fullmatch(name):
                yield StoredBlob(
                    organisation=organisation,
                    sha256=name,
                    bytes=int(info["size"]),
                    modified_at=_modified(info),
                )

    def discard_unfinished(self, *, older_than_s: float) -> int:
        """Delete the unfinished blobs of dead writers, and return the number of deleted blobs.

        Args:
            older_than_s: an unfinished blob counts as abandoned if nothing was written to it for this long.
        """
        before, removed = time.time() - older_than_s, 0
        for organisation, folder, name, info in self._find():
            if folder == UNFINISHED and _modified(info).timestamp() < before:
                with translated_storage_errors(), suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{organisation}/{UNFINISHED}/{name}")
                    removed += 1
        return removed

    def _find(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """List every file, finished or not, with its organisation, folder, name and details."""
        with translated_storage_errors():
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)
        for path, info in found.items():
            parts = path.removeprefix(self._root).strip("/").split("/")
            if len(parts) == 3:
                yield parts[0], parts[1], parts[2], info

    def _path(self, organisation: str, sha256: str) -> str:
        name = _checked(SHA256, sha256)
        return f"{self._root}/{_checked(ORGANISATION, organisation)}/{name[:2]}/{name}"

    def _make(self, folder: str) -> None:
        """Create the folder and its parent folders, and make the new folders survive a power cut. A bucket
        has no folders.
        """
        if not self._local or os.path.isdir(folder):
            return
        os.makedirs(self._root, mode=0o700, exist_ok=True)  # parent folders do not get this mode
        os.makedirs(folder, exist_ok=True)
        while len(folder) > len(self._root):
            folder = os.path.dirname(folder)
            _sync_folder(folder)
        _sync_folder(os.path.dirname(self._root))

    def _place(self, organisation: str, unfinished: str, sha256: str) -> None:
        """Move a finished blob to its final path in one step."""
        path = self._path(organisation, sha256)
        if not self._local:
            self._files.mv(unfinished, path)
            return
        folder = os.path.dirname(path)
        self._make(folder)
        os.replace(unfinished, path)
        _sync_folder(folder)


class BlobWriter:
    """Writes one blob. Only one thread at a time may use a writer."""

    def __init__(self, store: BlobStore, organisation: str, path: str, file: Any) -> None:
        self._store, self._organisation, self._path, self._file = store, organisation, path, file
        self._hash = sha256()
        self._done = False
        #: Number of bytes written so far.
        self.bytes = 0

    def write(self, part: bytes | bytearray | memoryview) -> None:
        """Append the bytes."""
        with translated_storage_errors():
            view = memoryview(part)
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(part)
        self.bytes += len(part)

    def commit(self) -> Blob:
        """Store the blob under its hash. On a local disk the blob survives a power cut as soon as this method
        has returned.
        """
        with translated_storage_errors():
            if self._store._local:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            blob = Blob(sha256=self._hash.hexdigest(), bytes=self.bytes)
            self._store._place(self._organisation, self._path, blob.sha256)
        self._done = True
        return blob

    def discard(self) -> None:
        """Delete the written bytes. Does nothing after ``commit``."""
        if self._done:
            return
        self._done = True
        # Errors are ignored, because a full disk may be the reason for the discard. ``discard_unfinished``
        # later deletes what cannot be deleted now.
        with suppress(Unavailable), translated_storage_errors():
            with suppress(OSError):
                self._file.close()
            with suppress(FileNotFoundError):
                self._store._files.rm_file(self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class _Verified(io.RawIOBase):
    """Reads a blob's bytes and checks their hash at the end."""

    def __init__(self, file: Any, size: int, sha256_: str) -> None:
        self._file, self._remaining, self._expected = file, size, sha256_
        self._hash = sha256()
        self._check()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with translated_storage_errors():
            part = self._file.read(min(len(buffer), self._remaining))
        if not part and self._remaining:
            raise Permanent(
                f"blob {self._expected} ends {self._remaining:,} bytes early: restore it from a copy",
                row_ids=[self._expected],
            )
        buffer[: len(part)] = part
        self._hash.update(part)
        self._remaining -= len(part)
        self._check()
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _check(self) -> None:
        if self._remaining == 0 and self._hash.hexdigest() != self._expected:
            raise Permanent(
                f"blob {self._expected} is damaged: its bytes have another hash; restore it from a copy",
                row_ids=[self._expected],
            )


def _checked(pattern: re.Pattern[str], name: str) -> str:
    if not pattern.fullmatch(name):
        raise InvalidInput(f"{name!r} cannot name a part of the blob store")
    return name


def _modified(info: dict[str, Any]) -> datetime:
    """Return when a file was last modified. Each storage has its own name and type for this time."""
    at = next(
        info[key]
        for key in ("mtime", "LastModified", "created", "updated", "last_modified")
        if info.get(key) is not None
    )
    if isinstance(at, datetime):
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return datetime.fromisoformat(at) if isinstance(at, str) else datetime.fromtimestamp(at, UTC)


def _sync_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
