"""The contract between the parse process and the reader of a container's entries.

A reader is a module with one function, ``entries(data, name, budget) -> Iterator[FoundEntry]``, which
``cluster.formats`` names. The reader runs in a child process with limits on memory and time, like a parser.
The reader writes nothing to the disk, because the path of an entry is only a name. The reader raises
``Unreadable`` if the container cannot be read, and ``OverLimit`` if the container is over a limit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable

#: Number of bytes that are read from an entry in one step.
READ_BYTES = 1024 * 1024
#: The limit on the ratio never refuses a container whose entries have at most this many bytes together,
#: because small files often compress well.
MIN_UNPACKED_BYTES = 16 * 1024 * 1024


class OverLimit(Unreadable):
    """Raised if the entries of a container are over a limit on their number or bytes. The whole container is
    refused, because the entries that were read so far are an arbitrary part of the container.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(Outcome.TOO_LARGE, detail)


@dataclass(frozen=True, kw_only=True, slots=True)
class EntryLimits:
    """The limits on the entries of one container, including the entries of containers inside it."""

    #: Maximum number of entries.
    entries: int
    #: Maximum number of bytes of all entries.
    bytes: int
    #: Maximum number of bytes of one entry.
    entry_bytes: int
    #: Maximum ratio of the bytes of all entries to the bytes of the container.
    ratio: int
    #: Maximum number of containers inside each other, the outermost container included.
    depth: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundEntry:
    """One entry as a reader finds it, with its bytes or with the reason why the bytes cannot be read."""

    #: Path as the container writes it.
    path: str
    data: bytes = b""
    outcome: Outcome = Outcome.OK
    #: A predicate that says why the entry cannot be read; empty if it can be read.
    detail: str = ""


class EntryBudget:
    """Counts the entries of one container and their bytes, and refuses a container that is over a limit.

    Args:
        limits: the limits.
        container_bytes: number of bytes of the outermost container.
    """

    def __init__(self, limits: EntryLimits, container_bytes: int) -> None:
        self.limits = limits
        by_ratio = max(MIN_UNPACKED_BYTES, limits.ratio * container_bytes)
        self._most = min(limits.bytes, by_ratio)
        self._by_ratio = by_ratio < limits.bytes
        self._entries = self._bytes = 0

    def count(self) -> None:
        """Count one more entry.

        Raises:
            OverLimit: the container has too many entries.
        """
        self._entries += 1
        self.require(self._entries)

    def require(self, entries: int) -> None:
        """Check a number of entries that a container announces.

        Raises:
            OverLimit: the container has too many entries.
        """
        if entries > self.limits.entries:
            raise OverLimit(f"has more than {self.limits.entries:,} entries (CLUSTER_MAX_CONTAINER_ENTRIES)")

    def take(self, size: int) -> None:
        """Count bytes that were read from entries.

        Raises:
            OverLimit: the entries have too many bytes.
        """
        self._bytes += size
        if self._bytes <= self._most:
            return
        if self._by_ratio:
            raise OverLimit(
                f"unpacks to more than {self.limits.ratio:,} times its size (CLUSTER_MAX_CONTAINER_RATIO)"
            )
        raise OverLimit(f"unpacks to more than {self._most:,} bytes (CLUSTER_MAX_CONTAINER_BYTES)")

    def read(self, path: str, file: BinaryIO, *, counted: bool = False) -> FoundEntry:
        """Read an entry from a stream. An entry over its limit gets the outcome ``too_large``, and the rest
        of its bytes is not read.

        Args:
            path: path of the entry.
            file: the stream.
            counted: True if the stream counts its bytes itself.

        Raises:
            OverLimit: the entries have too many bytes.
        """
        parts, size = [], 0
        while part := file.read(READ_BYTES):
            size += len(part)
            if not counted:
                self.take(len(part))
            if size > self.limits.entry_bytes:
                return self.too_large(path)
            parts.append(part)
        return FoundEntry(path=path, data=b"".join(parts))

    def too_large(self, path: str) -> FoundEntry:
        """Return the result for an entry that is over the limit of one entry."""
        limit = f"{self.limits.entry_bytes:,} bytes (CLUSTER_MAX_DOCUMENT_BYTES)"
        return FoundEntry(path=path, outcome=Outcome.TOO_LARGE, detail=f"is larger than {limit}")


EntryReader = Callable[[bytes, str, EntryBudget], Iterator[FoundEntry]]
