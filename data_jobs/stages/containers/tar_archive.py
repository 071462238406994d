"""Read the entries of a TAR archive, compressed or not, and of a single compressed file.

The bytes are decompressed as a stream. Every decompressed byte counts against the limit, even the bytes of
entries that are left out.
"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO, RawIOBase
from typing import Any, BinaryIO, cast

from cluster.records import Outcome
from data_jobs.stages.containers.contract import EntryBudget, FoundEntry
from data_jobs.stages.formats.contract import Unreadable

#: The opener of each kind of compressed stream, by the first bytes of the stream.
OPENERS: Mapping[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
#: Errors with which the libraries report damaged bytes.
DAMAGED = (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError)
#: Suffixes of compressed files. The file inside has the name of the compressed file without the suffix.
SUFFIXES = (".gz", ".bz2", ".xz")
#: Path of the entry that reports that the rest of an archive cannot be read.
REST = "rest of the archive"


class _Counted(RawIOBase):
    """A stream that counts its bytes in the budget."""

    def __init__(self, stream: BinaryIO, budget: EntryBudget, begin: bytes) -> None:
        self._stream, self._budget, self._begin = stream, budget, begin

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes."""
        data, self._begin = self._begin[:size], self._begin[size:]
        data = data or self._stream.read(size)
        self._budget.take(len(data))
        return data


def entries(data: bytes, name: str, budget: EntryBudget) -> Iterator[FoundEntry]:
    """Yield the entries in their order. Directories are left out.

    Raises:
        Unreadable: the first bytes cannot be decompressed.
        OverLimit: the archive is over a limit.
    """
    compressed: BinaryIO = BytesIO(data)
    opener = next((opener for mark, opener in OPENERS.items() if data.startswith(mark)), None)
    stream = compressed if opener is None else cast(BinaryIO, opener(compressed))
    try:
        begin = stream.read(tarfile.BLOCKSIZE)
    except DAMAGED as exc:
        raise Unreadable(Outcome.CORRUPT, f"is a damaged compressed file: {exc}") from exc
    counted = cast(BinaryIO, _Counted(stream, budget, begin))
    if _is_tar(begin):
        yield from _members(counted, budget)
    else:
        yield _single(counted, name, budget)


def _is_tar(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _single(stream: BinaryIO, name: str, budget: EntryBudget) -> FoundEntry:
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    path = name[: len(name) - len(suffix)] or name
    try:
        return budget.read(path, stream, counted=True)
    except DAMAGED as exc:
        return FoundEntry(path=path, outcome=Outcome.CORRUPT, detail=f"is damaged: {exc}")


def _members(stream: BinaryIO, budget: EntryBudget) -> Iterator[FoundEntry]:
    try:
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=0) as archive:
            for member in archive:
                if not member.isdir():
                    yield _entry(archive, member, budget)
                archive.members = []  # type: ignore[attr-defined]  # the library keeps every header otherwise
    except DAMAGED as exc:
        yield FoundEntry(path=REST, outcome=Outcome.CORRUPT, detail=f"is damaged: {exc}")


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo, budget: EntryBudget) -> FoundEntry:
    path = member.name
    if not member.isreg() or member.issparse():
        detail = "is a link, a device or a sparse file"
        return FoundEntry(path=path, outcome=Outcome.UNSUPPORTED, detail=detail)
    if member.size > budget.limits.entry_bytes:
        return budget.too_large(path)
    try:
        file = archive.extractfile(member)
        assert file is not None  # a regular file has bytes
        return budget.read(path, cast(BinaryIO, file), counted=True)
    except DAMAGED as exc:
        return FoundEntry(path=path, outcome=Outcome.CORRUPT, detail=f"is damaged: {exc}")
