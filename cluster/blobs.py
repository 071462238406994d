"""The bytes of uploaded files: each content once for an organisation, under its SHA-256, in a folder or a bucket.

Bytes are written first and the row that names them after, so a crash in between leaves a blob without a row, never a row
without its blob; ``cluster.doctor`` finds such blobs. Called by uploads, by the jobs that read what was uploaded, and by deletion.

    store = open_blob_store(settings)
    with store.writer("default") as writer:
        writer.write(b"...")
        blob = writer.commit()
    store.read("default", blob.sha256)
"""

import errno
import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import TracebackType
from typing import Any, BinaryIO, Self, cast
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from cluster.errors import InvalidInput, Misconfigured, Permanent, Resource, Shortage, Unavailable
from cluster.settings import Settings

#: Of an organisation and of a hash: nothing else becomes a path.
ORGANISATION = re.compile(r"[A-Za-z0-9_-]{1,64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
#: Beside the folders of the finished: what is still being written, or was when its writer died.
UNFINISHED = "incoming"
READ_BYTES = 1024 * 1024
FULL_RETRY_AFTER_S, AWAY_RETRY_AFTER_S = 30.0, 5.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
#: How buckets say it: MinIO, Ceph, Google, Azure, and by HTTP status.
FULL_WORDS = re.compile(r"quota ?exceeded|storage ?full|insufficient ?storage|\b507\b", re.IGNORECASE)
#: Packages under fsspec whose errors are not OSErrors: of S3, Google and Azure, and of the HTTP beneath.
VENDORS = frozenset({"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "fsspec"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """A content that is kept."""

    #: Hex; its name in the store.
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredBlob:
    """A blob as the store lists it."""

    organisation: str
    sha256: str
    bytes: int
    modified_at: datetime


def open_blob_store(settings: Settings) -> "BlobStore":
    """The settings' blob store: ``CLUSTER_BLOB_URL``, by default a folder under ``home``. Nothing is made before the first write.

    Raises:
        Misconfigured: no such kind of storage, or its extra is not installed.
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
    """Threads share it. Every call names the organisation.

    Raises (every call):
        Shortage: the storage is full or read-only.
        Unavailable: it does not answer.
        Misconfigured: it refuses us.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self._files = filesystem
        self._root = root
        self._local = isinstance(filesystem, LocalFileSystem)

    def writer(self, organisation: str) -> "BlobWriter":
        """A new blob to write to; leave its block without ``commit`` and nothing is kept."""
        folder = f"{self._root}/{_checked(ORGANISATION, organisation)}/{UNFINISHED}"
        with _translated():
            self._make(folder)
            path = f"{folder}/{uuid4().hex}"
            return BlobWriter(self, organisation, path, self._files.open(path, "wb"))

    def open(self, organisation: str, sha256: str) -> BinaryIO:
        """The blob's bytes in their order; the read that would hand out the last of them fails if the whole is not what its name says.

        Raises:
            Permanent: it is gone, or damaged.
        """
        path = self._path(organisation, sha256)
        with _translated(), _present(organisation, sha256):
            # What a bucket listed before may be out of date.
            self._files.invalidate_cache(path)
            size = self._files.size(path)
            file = self._files.open(path, "rb")
        return cast(BinaryIO, io.BufferedReader(_Verified(file, size, sha256), READ_BYTES))

    def read(self, organisation: str, sha256: str) -> bytes:
        """The whole blob.

        Raises:
            Permanent: it is gone, or damaged.
        """
        with self.open(organisation, sha256) as file:
            return file.read()

    def exists(self, organisation: str, sha256: str) -> bool:
        """True when the blob is there."""
        path = self._path(organisation, sha256)
        with _translated():
            self._files.invalidate_cache(path)
            return bool(self._files.exists(path))

    def delete(self, organisation: str, sha256: str) -> bool:
        """True when it was there. Whether a row still needs it is the caller's to know (``files.release_blob``)."""
        path = self._path(organisation, sha256)
        with _translated():
            try:
                self._files.rm_file(path)
            except FileNotFoundError:
                return False
        return True

    def list(self) -> Iterator[StoredBlob]:
        """Every finished blob of every organisation, in no order."""
        for organisation, folder, name, info in self._find():
            if folder != UNFINISHED and SHA256.fullmatch(name):
                yield StoredBlob(
                    organisation=organisation,
                    sha256=name,
                    bytes=int(info["size"]),
                    modified_at=_modified(info),
                )

    def discard_unfinished(self, *, older_than_s: float) -> int:
        """Remove what dead writers left; their number. A writer that lives has written to its own not long ago."""
        before, removed = time.time() - older_than_s, 0
        for organisation, folder, name, info in self._find():
            if folder == UNFINISHED and _modified(info).timestamp() < before:
                with _translated(), suppress(FileNotFoundError):
                    self._files.rm_file(f"{self._root}/{organisation}/{UNFINISHED}/{name}")
                    removed += 1
        return removed

    def _find(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Organisation, folder, name and details of every file, however far it got."""
        with _translated():
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
        """The folder and those above it, lasting; a bucket has none."""
        if not self._local or os.path.isdir(folder):
            return
        os.makedirs(self._root, mode=0o700, exist_ok=True)  # the mode is that of the last folder only
        os.makedirs(folder, exist_ok=True)
        while len(folder) > len(self._root):
            folder = os.path.dirname(folder)
            _sync_folder(folder)
        _sync_folder(os.path.dirname(self._root))

    def _place(self, organisation: str, unfinished: str, sha256: str) -> None:
        """Put what was written under its hash, whole or not at all."""
        path = self._path(organisation, sha256)
        if not self._local:
            self._files.mv(unfinished, path)
            return
        folder = os.path.dirname(path)
        self._make(folder)
        os.replace(unfinished, path)
        _sync_folder(folder)


class BlobWriter:
    """A blob on its way; for one thread at a time."""

    def __init__(self, store: BlobStore, organisation: str, path: str, file: Any) -> None:
        self._store, self._organisation, self._path, self._file = store, organisation, path, file
        self._hash = sha256()
        self._done = False
        #: So far.
        self.bytes = 0

    def write(self, part: bytes | bytearray | memoryview) -> None:
        """Append."""
        with _translated():
            view = memoryview(part)
            while view:
                view = view[self._file.write(view) :]
        self._hash.update(part)
        self.bytes += len(part)

    def commit(self) -> Blob:
        """The blob is in place, and on a local disk it survives a power cut, when this returns. The same content twice is one blob."""
        with _translated():
            if self._store._local:
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()
            blob = Blob(sha256=self._hash.hexdigest(), bytes=self.bytes)
            self._store._place(self._organisation, self._path, blob.sha256)
        self._done = True
        return blob

    def discard(self) -> None:
        """Keep nothing; after ``commit`` there is nothing to discard."""
        if self._done:
            return
        self._done = True
        with (
            suppress(Unavailable),
            _translated(),
        ):  # the disk may be the reason why we are here; ``discard_unfinished`` comes by
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
    """A blob's bytes, hashed on their way out."""

    def __init__(self, file: Any, size: int, sha256_: str) -> None:
        self._file, self._left, self._expected = file, size, sha256_
        self._hash = sha256()
        self._check()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _translated():
            part = self._file.read(min(len(buffer), self._left))
        if not part and self._left:
            raise Permanent(
                f"blob {self._expected} ends {self._left:,} bytes early: restore it from a copy",
                row_ids=[self._expected],
            )
        buffer[: len(part)] = part
        self._hash.update(part)
        self._left -= len(part)
        self._check()
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _check(self) -> None:
        if self._left == 0 and self._hash.hexdigest() != self._expected:
            raise Permanent(
                f"blob {self._expected} is damaged: its bytes have another hash; restore it from a copy",
                row_ids=[self._expected],
            )


def _checked(pattern: re.Pattern[str], name: str) -> str:
    if not pattern.fullmatch(name):
        raise InvalidInput(f"{name!r} cannot name a part of the blob store")
    return name


def _modified(info: dict[str, Any]) -> datetime:
    """Each storage says it under a name and in a type of its own."""
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


@contextmanager
def _present(organisation: str, sha256: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise Permanent(
            f"blob {sha256} of organisation {organisation} is gone: restore it from a copy", row_ids=[sha256]
        ) from exc


@contextmanager
def _translated() -> Iterator[None]:
    """The storage's errors as ours."""
    try:
        yield
    except PermissionError as exc:
        if FULL_WORDS.search(str(exc)):
            raise _full(exc) from exc
        raise Misconfigured(f"the blob store refuses us: {exc}; see CLUSTER_BLOB_URL") from exc
    except OSError as exc:
        if exc.errno in FULL or FULL_WORDS.search(str(exc)):
            raise _full(exc) from exc
        raise _away(exc) from exc
    except Exception as exc:
        if type(exc).__module__.partition(".")[0] not in VENDORS:
            raise
        raise (_full(exc) if FULL_WORDS.search(str(exc)) else _away(exc)) from exc


def _full(exc: Exception) -> Shortage:
    return Shortage(
        f"{Resource.BLOB_STORE.sentence} ({exc})",
        resource=Resource.BLOB_STORE,
        retry_after_s=FULL_RETRY_AFTER_S,
    )


def _away(exc: Exception) -> Unavailable:
    return Unavailable(
        f"the blob store does not answer: {type(exc).__name__}: {exc}", retry_after_s=AWAY_RETRY_AFTER_S
    )
