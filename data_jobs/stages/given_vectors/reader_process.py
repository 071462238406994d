"""Run the process that reads a file of given vectors and checks the rows of the file.

    python -m data_jobs.stages.given_vectors.reader_process DIM ROWS MEMORY_BYTES < FILE > FRAMES

The file may be hostile. So ``row_reader.RowReader`` starts the process without the settings of the cluster,
and the process limits its own memory (``data_jobs.stages.reading.child``).
"""

import os
import sys
from typing import BinaryIO

import orjson

from cluster.documents.given_vectors.faults import RowFault
from cluster.documents.given_vectors.given_rows import GivenRows, RowChecker
from data_jobs.stages.given_vectors.frames import Frame, write_frame
from data_jobs.stages.given_vectors.row_files import ROWS_PER_PART, rows_of
from data_jobs.stages.given_vectors.row_part import RowPart
from data_jobs.stages.reading import child

#: A frame whose texts and attributes have more than this many characters gets no further rows.
FRAME_CHARACTERS = 8 * 1024 * 1024


def main(file: BinaryIO, pipe: BinaryIO, dim: int, rows_per_frame: int) -> None:
    """Check all rows of the file, and write the results as frames of at most ``rows_per_frame`` rows."""
    found = rows_of(file, min(ROWS_PER_PART, rows_per_frame))
    checker = RowChecker(dim)
    checker.ignored.update(found.unknown)
    rows: list[GivenRows] = []
    faults: list[RowFault] = []
    size = characters = 0

    def write() -> None:
        nonlocal size, characters
        joined = GivenRows.joined(rows)
        write_frame(
            pipe, Frame(rows=joined, faults=faults, ignored=sorted(checker.ignored), total=found.total)
        )
        rows.clear()
        faults.clear()
        size = characters = 0

    for part in found.parts:
        if size and (size + len(part.rows) > rows_per_frame or characters > FRAME_CHARACTERS):
            write()
        good, bad = _checked(checker, part, dim)
        rows.append(good)
        faults += bad
        size += len(part.rows)
        characters += sum(map(len, good.texts)) + len(orjson.dumps(good.attributes))
    if size:
        write()


def _checked(checker: RowChecker, part: RowPart, dim: int) -> tuple[GivenRows, list[RowFault]]:
    vectors = part.vectors
    if vectors is None or vectors.shape[1] == dim:
        return checker.check(part.rows, vectors)
    # Pass each vector with its row. Each row then gets a fault, because its vector does not have ``dim``
    # numbers.
    pairs = zip(part.rows, vectors, strict=True)
    return checker.check((number, {**row, "vector": vector}) for (number, row), vector in pairs)


def run(dim: int, rows_per_frame: int, memory_bytes: int) -> int:
    """Read the file from standard input, write the frames to standard output, and return the exit code."""
    return child.run(lambda file, pipe: main(file, pipe, dim, rows_per_frame), memory_bytes=memory_bytes)


if __name__ == "__main__":
    os._exit(run(*map(int, sys.argv[1:])))
