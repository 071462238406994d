"""Read a file of events through a process with limits, which also checks the events.

reader = EventReader(settings, file, organisation="acme", source="", after=0)
while (frame := reader.next()) is not None:
    ...                                            # frame.csv, frame.faults
reader.close()
"""

from typing import BinaryIO

from cluster.errors import Permanent
from cluster.settings import Settings
from data_jobs.stages.events.event_frames import EventFrame, read_frame
from data_jobs.stages.reading.reading_process import ReadingProcess

MODULE = "data_jobs.stages.events.reader_process"


class EventReader:
    """Reads the frames of one file. Only one thread at a time may use a reader, but any thread may call
    ``kill``.

    Args:
        file: the file, open for reading, at any position.
        organisation: owner of the events, for the ids of the rows.
        source: source of events that name none; an empty text if every event must name its source.
        after: number of the last row that is skipped; 0 if no row is skipped.

    Raises:
        Unavailable: the process cannot be started.
    """

    def __init__(
        self, settings: Settings, file: BinaryIO, *, organisation: str, source: str, after: int
    ) -> None:
        self._process = ReadingProcess(MODULE, [organisation, source, str(after)], settings, file)

    def next(self) -> EventFrame | None:
        """Return the next frame; None after the last frame.

        Raises:
            Permanent: the file cannot be read; the message says why.
            Unavailable: the process was killed, so another attempt may succeed.
        """
        try:
            frame = read_frame(self._process.pipe)
        except (ValueError, KeyError, TypeError) as exc:
            result = f"an invalid result ({type(exc).__name__})"
            raise Permanent(f"the file made its reader give {result}") from exc
        if frame is None:
            self._process.require_success()
        return frame

    def kill(self) -> None:
        """End the process immediately. A call of ``next`` in another thread then ends, too."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and close its pipes."""
        self._process.close()
