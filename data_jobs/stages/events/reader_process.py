"""Run the process that reads a file of events and checks the events.

    python -m data_jobs.stages.events.reader_process ORGANISATION SOURCE AFTER MEMORY_BYTES < FILE > FRAMES

SOURCE is the source of events that name none, or an empty text. Rows up to the number AFTER are skipped,
because an earlier attempt at the job has imported them.
"""

import os
import sys
from datetime import UTC, datetime
from typing import BinaryIO

from cluster.platform_data.event_csv import event_csv
from cluster.platform_data.read_events import EventFault, PlatformEvent, read_events
from data_jobs.stages.events.event_files import Rows, UnreadableRow, rows_of
from data_jobs.stages.events.event_frames import EventFrame, write_frame
from data_jobs.stages.reading import child

#: Maximum number of rows of a frame. The worker writes a frame in one transaction.
ROWS_PER_FRAME = 2_000
#: A frame whose CSV has at least this many bytes gets no further rows.
FRAME_BYTES = 8 * 1024 * 1024


class _FrameBuilder:
    """Collects the rows of one frame."""

    def __init__(self) -> None:
        self.csv = bytearray()
        self.faults: list[EventFault] = []
        self.rows = self.duplicates = self.last = 0
        self._known: set[tuple[str, str]] = set()

    def add(self, organisation: str, source: str, part: Rows) -> None:
        """Check the rows, and add them."""
        numbers = [number for number, value in part if not isinstance(value, UnreadableRow)]
        values = [_with_source(value, source) for _, value in part if not isinstance(value, UnreadableRow)]
        events, faults = read_events(organisation, values, now=datetime.now(UTC))
        self.faults += [
            EventFault(index=numbers[fault.index], id=fault.id, field=fault.field, message=fault.message)
            for fault in faults
        ]
        self.faults += [
            EventFault(index=number, id=None, field="", message=str(value))
            for number, value in part
            if isinstance(value, UnreadableRow)
        ]
        new = [(numbers[event.index], event) for event in events if self._is_new(event)]
        self.csv += event_csv(new)
        self.duplicates += len(events) - len(new)
        self.rows += len(part)
        self.last = part[-1][0]

    def _is_new(self, event: PlatformEvent) -> bool:
        before = len(self._known)
        self._known.add((event.source, event.id))
        return len(self._known) > before


def main(file: BinaryIO, pipe: BinaryIO, organisation: str, source: str, after: int) -> None:
    """Check all rows of the file after the row ``after``, and write frames."""
    found, frame = rows_of(file), _FrameBuilder()

    def write() -> None:
        nonlocal frame
        faults = sorted(frame.faults, key=lambda fault: fault.index)
        write_frame(
            pipe,
            EventFrame(
                csv=bytes(frame.csv),
                rows=frame.rows,
                duplicates=frame.duplicates,
                faults=faults,
                last=frame.last,
                total=found.total,
                ignored=found.ignored,
            ),
        )
        frame = _FrameBuilder()

    for part in found.parts:
        rest = part if part[0][0] > after else [row for row in part if row[0] > after]
        if rest:
            frame.add(organisation, source, rest)
        if frame.rows >= ROWS_PER_FRAME or len(frame.csv) >= FRAME_BYTES:
            write()
    if frame.rows:
        write()


def _with_source(value: object, source: str) -> object:
    if source and isinstance(value, dict) and value.get("source") is None:
        return {**value, "source": source}
    return value


def run(organisation: str, source: str, after: int, memory_bytes: int) -> int:
    """Read the file from standard input, write the frames to standard output, and return the exit code."""
    return child.run(
        lambda file, pipe: main(file, pipe, organisation, source, after), memory_bytes=memory_bytes
    )


if __name__ == "__main__":
    os._exit(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
