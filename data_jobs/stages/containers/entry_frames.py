"""Write the entries of a container to a file, and read them back in another process.

The child of the parse process writes the file, and may have read hostile bytes. So the reader checks every
field, and nothing is unpickled.

    write_entry(file, UnpackedEntry(path="a.txt", media_type="text/plain", data=b"..."))
    write_end(file, Outcome.OK, "")
    for entry in read_entries(file, max_entry_bytes=1024): ...       # the last entry has no path
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from cluster.formats import READABLE
from cluster.records import Outcome
from cluster.text.storable_text import is_text
from data_jobs.stages.containers.entry_paths import LONGEST_PATH

#: Number of bytes in which the length of a header is written.
LENGTH_BYTES = 4
MAX_HEADER_BYTES = 32 * 1024
MAX_DETAIL_CHARACTERS = 1_000
READABLE_TYPES = frozenset(row.media_type for row in READABLE)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpackedEntry:
    """One document of a container, or an entry that cannot be read."""

    #: Path inside the outermost container: ``2026/a.eml``, ``inner.zip!/b.txt``. Empty in the last frame,
    #: which says how reading the container ended.
    path: str
    #: Media type of the entry; empty if the entry cannot be read.
    media_type: str = ""
    #: Bytes of the entry; empty if the entry cannot be read.
    data: bytes = b""
    #: OK, or why the entry cannot be read.
    outcome: Outcome = Outcome.OK
    #: A predicate that says why the entry cannot be read; empty if it can be read.
    detail: str = ""


class BadFrames(ValueError):
    """Raised if the file of entries does not have the expected form."""


def write_entry(file: BinaryIO, entry: UnpackedEntry) -> None:
    """Append the entry to the file."""
    header = json.dumps(
        {
            "path": entry.path,
            "media_type": entry.media_type,
            "outcome": entry.outcome,
            "detail": entry.detail[:MAX_DETAIL_CHARACTERS],
            "bytes": len(entry.data),
        }
    ).encode()
    file.write(len(header).to_bytes(LENGTH_BYTES, "big"))
    file.write(header)
    file.write(entry.data)


def write_end(file: BinaryIO, outcome: Outcome, detail: str) -> None:
    """Append the last frame, which says how reading the container ended."""
    write_entry(file, UnpackedEntry(path="", outcome=outcome, detail=detail))


def read_entries(file: BinaryIO, *, max_entry_bytes: int) -> Iterator[UnpackedEntry]:
    """Yield the entries of the file from its beginning, and then the frame that ``write_end`` wrote.

    Raises:
        BadFrames: the file does not have the expected form.
    """
    remaining = os.fstat(file.fileno()).st_size
    file.seek(0)
    ended = False
    while not ended:
        length = int.from_bytes(_read(file, LENGTH_BYTES, remaining), "big")
        remaining -= LENGTH_BYTES
        if length > MAX_HEADER_BYTES:
            raise BadFrames("a header is too long")
        header = _header(_read(file, length, remaining))
        remaining -= length
        size = header.pop("bytes")
        if not isinstance(size, int) or not 0 <= size <= max_entry_bytes:
            raise BadFrames("an entry has an impossible size")
        yield UnpackedEntry(**header, data=_read(file, size, remaining))
        remaining -= size
        ended = not header["path"]
    if remaining:
        raise BadFrames("bytes follow the last frame")


def _read(file: BinaryIO, size: int, remaining: int) -> bytes:
    data = file.read(size) if size <= remaining else b""
    if len(data) != size:
        raise BadFrames("the file ends inside an entry")
    return data


def _header(written: bytes) -> dict[str, Any]:
    try:
        header = json.loads(written)
        outcome = Outcome(header["outcome"])
        path, detail, media_type = header["path"], header["detail"], header["media_type"]
        fits = len(path) <= LONGEST_PATH and len(detail) <= MAX_DETAIL_CHARACTERS
        if not (fits and is_text(path) and is_text(detail)):
            raise BadFrames("a path or a reason is not a text of a valid length")
        if (outcome is Outcome.OK and path != "") != (media_type in READABLE_TYPES):
            raise BadFrames("an entry has an impossible media type")
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise BadFrames(f"a header is invalid: {exc}") from exc
    return {
        "path": path,
        "media_type": media_type,
        "outcome": outcome,
        "detail": detail,
        "bytes": header["bytes"],
    }
