"""Unpack a container and the containers inside it into a flat list of documents. Runs in the parse process.

    unpack(data, name="mails.zip", limits=limits, write=print)

An entry in a format without a parser, a link, an encrypted or a damaged entry is written without its bytes,
with the reason. Hidden entries are left out.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module

from cluster.documents.file_names import shown_name
from cluster.formats import INGESTIBLE, READABLE, UNPACKABLE, Format, recognise
from cluster.records import Outcome
from data_jobs.stages.containers.contract import (
    EntryBudget,
    EntryLimits,
    EntryReader,
    FoundEntry,
    OverLimit,
)
from data_jobs.stages.containers.entry_frames import UnpackedEntry
from data_jobs.stages.containers.entry_paths import (
    INSIDE,
    LONGEST_PATH,
    distinct,
    entry_path,
    is_hidden,
)
from data_jobs.stages.formats.contract import Unreadable

#: Characters that ``distinct`` may add to a path.
ROOM_FOR_NUMBER = 12
NAMELESS = "entry without a usable path"
Write = Callable[[UnpackedEntry], None]


@cache
def readers() -> dict[str, EntryReader]:
    """Return the reader of each media type of a container. The first call imports all readers."""
    return {row.media_type: import_module(row.entries).entries for row in UNPACKABLE if row.entries}


def unpack(data: bytes, *, name: str, limits: EntryLimits, write: Write) -> None:
    """Write each entry of the container.

    Args:
        data: the container.
        name: its file name.
        limits: limits on all entries together.
        write: called with each entry.

    Raises:
        Unreadable: the container cannot be read, or is over a limit.
    """
    format = recognise(data, name=name)
    if format not in UNPACKABLE:
        raise Unreadable(Outcome.UNSUPPORTED, f"is {format.media_type}, which has no entries")
    _Unpacking(EntryBudget(limits, len(data)), write).entries(data, name, format, prefix="", depth=1)


class _Unpacking:
    """Unpacks one outermost container."""

    def __init__(self, budget: EntryBudget, write: Write) -> None:
        self._budget, self._write = budget, write
        self._paths = set[str]()

    def entries(self, data: bytes, name: str, format: Format, *, prefix: str, depth: int) -> None:
        """Write the entries of one container, whose paths begin with ``prefix``."""
        for found in readers()[format.media_type](data, name, self._budget):
            path = entry_path(found.path)
            if path is not None and is_hidden(path):
                continue
            self._budget.count()
            self._entry(found, path, prefix=prefix, depth=depth)

    def _entry(self, found: FoundEntry, path: str | None, *, prefix: str, depth: int) -> None:
        longest = LONGEST_PATH - ROOM_FOR_NUMBER
        shown = distinct((prefix + (path or NAMELESS))[:longest], self._paths)
        if path is None or len(prefix + path) > longest:
            self._leave_out(
                shown,
                Outcome.UNSUPPORTED,
                f"has no usable path: it is empty, leaves the container, or is longer than {longest} "
                "characters",
            )
            return
        if found.outcome is not Outcome.OK:
            self._leave_out(shown, found.outcome, found.detail)
            return
        format = recognise(found.data, name=path)
        if format not in INGESTIBLE:
            self._leave_out(shown, Outcome.UNSUPPORTED, f"is {format.media_type}, which no parser here reads")
            return
        if format in READABLE:
            self._write(UnpackedEntry(path=shown, media_type=format.media_type, data=found.data))
        if format in UNPACKABLE:
            self._inner(found.data, path, format, shown, depth=depth + 1)

    def _inner(self, data: bytes, name: str, format: Format, shown: str, *, depth: int) -> None:
        """Write the entries of a container that is itself an entry."""
        if depth > self._budget.limits.depth:
            if format not in READABLE:
                limit = f"{self._budget.limits.depth} (CLUSTER_MAX_CONTAINER_DEPTH)"
                self._leave_out(shown, Outcome.TOO_LARGE, f"is in too many containers; the limit is {limit}")
            return
        try:
            self.entries(data, name, format, prefix=shown + INSIDE, depth=depth)
        except OverLimit:
            raise
        except Unreadable as exc:
            if format not in READABLE:
                self._leave_out(shown, exc.outcome, exc.detail)

    def _leave_out(self, path: str, outcome: Outcome, detail: str) -> None:
        self._write(UnpackedEntry(path=path, outcome=outcome, detail=shown_name(detail)))
