"""Start a process that reads a file of rows, and read the results of the process from a pipe.

``given_vectors.RowReader`` and ``events.EventReader`` use this class. ``child`` is the code of the process.

    process = ReadingProcess("data_jobs.stages.events.reader_process", ["acme", "0"], settings, file)
    process.pipe.read(8)
    process.close()
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, BinaryIO

from cluster.errors import InvalidInput, Permanent, Unavailable
from cluster.settings import Settings
from data_jobs.stages.parsing.child_contract import EXIT_MEMORY
from data_jobs.stages.reading.child import EXIT_REFUSED

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


class ReadingProcess:
    """A process that reads one file. Only one thread at a time may read from ``pipe``, but any thread may
    call ``kill``.

    Args:
        module: name of the module that the process runs. The last argument of the module is the limit of the
            memory in bytes.
        arguments: the other arguments of the module.
        file: the file, open for reading, at any position.

    Raises:
        Unavailable: the process cannot be started.
    """

    def __init__(self, module: str, arguments: Sequence[str], settings: Settings, file: BinaryIO) -> None:
        self._memory_bytes = settings.parse_memory_bytes
        file.seek(0)
        variables = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments, str(self._memory_bytes)],
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pipesize=PIPE_BYTES,
                env={**variables, **LIMITED},
            )
        except OSError as exc:
            raise Unavailable(f"the process that reads the file cannot be started: {exc}") from exc

    @property
    def pipe(self) -> IO[bytes]:
        """The results of the process."""
        assert self._process.stdout is not None
        return self._process.stdout

    def kill(self) -> None:
        """End the process immediately. A read from ``pipe`` in another thread then ends, too."""
        self._process.kill()

    def close(self) -> None:
        """End the process, and close its pipes."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def require_success(self) -> None:
        """Check, after the end of ``pipe``, that the process has read the whole file.

        Raises:
            Permanent: the file cannot be read; the message says why.
            Unavailable: the process was killed, so another attempt may succeed.
        """
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
