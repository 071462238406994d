"""The process that reads a file of given vectors and checks its rows.

    python -m data_jobs.stages.given_vectors.reader_process DIM MEMORY_BYTES < FILE > FRAMES

``row_reader.RowReader`` starts it with limited memory and without the settings of the cluster, because the
file may be hostile. It ends with a sentence in its standard error and ``EXIT_REFUSED`` if the file cannot be
read.
"""

import os
import resource
import sys
from typing import BinaryIO

from cluster.documents.given_vectors.given_rows import RowChecker
from cluster.errors import InvalidInput
from data_jobs.stages.given_vectors.frames import Frame, write_frame
from data_jobs.stages.given_vectors.row_files import BUFFER_BYTES, rows_of
from data_jobs.stages.parsing.child_contract import EXIT_MEMORY
from data_jobs.stages.parsing.out_of_memory import is_out_of_memory

EXIT_REFUSED = 78


def main(file: BinaryIO, pipe: BinaryIO, dim: int) -> None:
    """Write all rows of the file as frames."""
    found = rows_of(file)
    checker = RowChecker(dim)
    checker.ignored.update(found.unknown)
    for part in found.parts:
        vectors = part.vectors
        if vectors is not None and vectors.shape[1] != dim:  # each row then says so
            pairs = zip(part.rows, vectors, strict=True)
            good, faults = checker.check((number, {**row, "vector": one}) for (number, row), one in pairs)
        else:
            good, faults = checker.check(part.rows, vectors)
        frame = Frame(rows=good, faults=faults, ignored=sorted(checker.ignored), total=found.total)
        write_frame(pipe, frame)


def run(dim: int, memory_bytes: int) -> int:
    """Limit the memory, read standard input, and return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with (
            os.fdopen(0, "rb", BUFFER_BYTES, closefd=False) as file,
            os.fdopen(1, "wb", BUFFER_BYTES, closefd=False) as pipe,
        ):
            main(file, pipe, dim)
    except BrokenPipeError:
        return 0  # the worker needs no more rows
    except InvalidInput as exc:
        print(exc, file=sys.stderr, flush=True)
        return EXIT_REFUSED
    except Exception as exc:  # the edge of the process: the worker reads the exit code
        if is_out_of_memory(exc):
            return EXIT_MEMORY
        raise
    return 0


if __name__ == "__main__":
    os._exit(run(int(sys.argv[1]), int(sys.argv[2])))
