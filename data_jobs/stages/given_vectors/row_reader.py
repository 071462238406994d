"""Read a file of given vectors through a process with limits, which also checks the rows.

with RowReader(settings, file, dim=384, rows_per_frame=1_000) as reader:
    while (frame := reader.next()) is not None:
        ...                                        # frame.rows, frame.faults
"""

from types import TracebackType
from typing import BinaryIO, Self

from cluster.errors import Permanent
from cluster.settings import Settings
from data_jobs.stages.given_vectors.frames import Frame, read_frame
from data_jobs.stages.reading.reading_process import ReadingProcess


class RowReader:
    """Reads the frames of one file. Only one thread at a time may use a reader, but any thread may call
    ``kill``.

    Args:
        file: the file, open for reading, at any position.
        dim: number of dimensions of a vector.
        rows_per_frame: maximum number of rows of a frame.

    Raises:
        Unavailable: the process cannot be started.
    """

    def __init__(self, settings: Settings, file: BinaryIO, *, dim: int, rows_per_frame: int) -> None:
        self._dim, self._rows = dim, rows_per_frame
        module = "data_jobs.stages.given_vectors.reader_process"
        self._process = ReadingProcess(module, [str(dim), str(rows_per_frame)], settings, file)

    def next(self) -> Frame | None:
        """Return the next frame; None after the last frame.

        Raises:
            Permanent: the file cannot be read; the message says why.
            Unavailable: the process was killed, so another attempt may succeed.
        """
        try:
            frame = read_frame(self._process.pipe, dim=self._dim, most=self._rows)
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
