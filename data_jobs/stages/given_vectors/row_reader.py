"""Read a file of given vectors through a process with limits, which also checks the rows.

with RowReader(settings, file, dim=384, rows_per_frame=1_000) as reader:
    while (frame := reader.next()) is not None:
        ...                                        # frame.rows, frame.faults
"""

import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import BinaryIO, Self

from cluster.errors import InvalidInput, Permanent, Unavailable
from cluster.settings import Settings
from data_jobs.stages.given_vectors.frames import Frame, read_frame
from data_jobs.stages.given_vectors.reader_process import EXIT_REFUSED
from data_jobs.stages.parsing.child_contract import EXIT_MEMORY

#: Environment variables that the reading process gets, such as the paths of Python and the libraries. The
#: process gets none of the cluster's settings.
KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "TMPDIR")
#: Variables that limit the address space that allocators and threads reserve, because reserved address space
#: counts against the memory limit.
LIMITED = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
MAX_STDERR_BYTES = 4_096
#: Size of the pipe in bytes, the maximum that Linux allows for all users. A large pipe lets the process
#: continue to read the file while the worker writes rows.
PIPE_BYTES = 1024 * 1024


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
        self._dim, self._rows, self._memory_bytes = dim, rows_per_frame, settings.parse_memory_bytes
        file.seek(0)
        variables = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "data_jobs.stages.given_vectors.reader_process"),
                    *map(str, (dim, rows_per_frame, self._memory_bytes)),
                ],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pipesize=PIPE_BYTES,
                env={**variables, **LIMITED},
            )
        except OSError as exc:
            raise Unavailable(f"the process that reads vectors cannot be started: {exc}") from exc

    def next(self) -> Frame | None:
        """Return the next frame; None after the last frame.

        Raises:
            Permanent: the file cannot be read; the message says why.
            Unavailable: the process was killed, so another attempt may succeed.
        """
        assert self._process.stdout is not None
        try:
            frame = read_frame(self._process.stdout, dim=self._dim, most=self._rows)
        except (ValueError, KeyError, TypeError) as exc:
            result = f"an invalid result ({type(exc).__name__})"
            raise Permanent(f"the file made its reader give {result}") from exc
        if frame is None:
            self._require_success()
        return frame

    def kill(self) -> None:
        """End the process immediately. A call of ``next`` in another thread then ends, too."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and close its pipes."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_success(self) -> None:
        """Raise an error if the process did not read the whole file."""
        assert self._process.stderr is not None
        said = self._process.stderr.read(MAX_STDERR_BYTES).decode("utf-8", "replace").strip()
        code = self._process.wait()
        if code == 0:
            return
        if code == EXIT_REFUSED:
            raise InvalidInput(said)
        if code == EXIT_MEMORY:
            limit = f"{self._memory_bytes // (1024 * 1024):,} MiB (CLUSTER_PARSE_MEMORY_BYTES)"
            raise Permanent(f"reading the file needs more memory than {limit}; write smaller pages or rows")
        if code == -signal.SIGKILL:
            raise Unavailable("the process that reads the file was killed")
        last = said.splitlines()[-1:] or [f"exit code {code}"]
        raise Permanent(f"the file crashed its reader: {last[0]}")
