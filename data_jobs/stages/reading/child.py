"""Run the code of a reading process: limit the memory, read standard input, write standard output.

    os._exit(run(lambda file, pipe: ..., memory_bytes=1024**3))

``reading_process.ReadingProcess`` starts such a process, without the settings of the cluster. If the file has
the wrong form, the process writes a sentence to its standard error and exits with ``EXIT_REFUSED``.
"""

import os
import resource
import sys
from collections.abc import Callable
from typing import BinaryIO

from cluster.errors import InvalidInput
from data_jobs.stages.parsing.child_contract import EXIT_MEMORY
from data_jobs.stages.parsing.out_of_memory import is_out_of_memory

EXIT_REFUSED = 78
#: Number of bytes that are read from the file, or written to the pipe, in one step.
BUFFER_BYTES = 1024 * 1024


def run(read: Callable[[BinaryIO, BinaryIO], None], *, memory_bytes: int) -> int:
    """Limit the memory, call ``read`` with the file and the pipe, and return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with (
            os.fdopen(0, "rb", BUFFER_BYTES, closefd=False) as file,
            os.fdopen(1, "wb", BUFFER_BYTES, closefd=False) as pipe,
        ):
            read(file, pipe)
    except BrokenPipeError:
        return 0  # the worker needs no more rows, and has closed the pipe
    except InvalidInput as exc:
        print(exc, file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except Exception as exc:  # the exit code tells the worker if memory ran out
        if is_out_of_memory(exc):
            return EXIT_MEMORY
        raise
    return 0
