"""Read the rows of a file of JSON lines. ``row_files`` calls this module.

    for part in json_line_parts(file, 1_000):
        part.rows          # [(1, {"id": "a", "vector": [...], "text": ..., "attributes": ...}), ...]

To make Python objects for the numbers of the vectors would take most of the time. So the numbers of a vector
are cut out of the line, and simdjson converts the numbers to an array. orjson parses the rest of the line. If
one line of a part cannot be read in this way, for example because the line is not JSON, all lines of the part
are parsed whole. Both ways give the same rows.
"""

import json
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np
import orjson
import simdjson
from numpy.typing import NDArray

from cluster.documents.given_vectors.faults import FaultKind, Unfit
from data_jobs.stages.given_vectors.row_part import RowPart

#: Maximum number of bytes of a line. This number is enough for a vector of 16,000 numbers and a text in which
#: each byte is escaped.
MAX_LINE_BYTES = 4 * 1024 * 1024
#: A part ends when its lines have this many bytes. Larger parts do not fit into the processor's cache.
PART_BYTES = 512 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
VECTOR = b'"vector":'


def json_line_parts(file: BinaryIO, most: int) -> Iterator[RowPart]:
    """Yield the rows of the file in parts of at most ``most`` rows. The number of a row is the number of its
    line, from 1. Lines with only white space are skipped.
    """
    vectors = _Vectors()
    lines: list[tuple[int, bytes | Unfit]] = []
    size = 0
    for number, line in _lines(file):
        lines.append((number, line))
        size += len(line) if isinstance(line, bytes) else 0
        if len(lines) == most or size >= PART_BYTES:
            yield _part(lines, vectors)
            lines, size = [], 0
    if lines:
        yield _part(lines, vectors)


def json_value(text: bytes) -> Any:
    """Return the value of a JSON text. If the text is not JSON, return an ``Unfit``."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)  # Python's parser also reads NaN and Infinity
    except (ValueError, RecursionError):
        return Unfit(FaultKind.ROW, "is not JSON")


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | Unfit]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, Unfit(FaultKind.ROW, f"is a line of more than {MAX_LINE_BYTES:,} bytes")
        elif not line.isspace():
            yield number, line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line


def _part(lines: Sequence[tuple[int, bytes | Unfit]], vectors: "_Vectors") -> RowPart:
    found = vectors.cut([line for _, line in lines])
    if found is None:
        values = [line if isinstance(line, Unfit) else json_value(line) for _, line in lines]
        return RowPart(rows=[(number, value) for (number, _), value in zip(lines, values, strict=True)])
    rows, matrix = found
    return RowPart(rows=[(number, row) for (number, _), row in zip(lines, rows, strict=True)], vectors=matrix)


class _Vectors:
    """Cuts the vectors out of lines, and parses the lines and the vectors separately."""

    def __init__(self) -> None:
        self._parser = simdjson.Parser()
        #: A string that replaces the vector in the line. The string is random, so the file cannot contain it.
        self._mark = secrets.token_hex(16)
        self._marked = VECTOR + orjson.dumps(self._mark)

    def cut(self, lines: Sequence[bytes | Unfit]) -> tuple[list[dict[str, Any]], NDArray[np.float64]] | None:
        """Return the rows, each with the mark instead of the vector, and the vectors, (n, dim).

        Return None if a vector cannot be cut out of a line, or if the vectors have different lengths.
        """
        rows: list[dict[str, Any]] = []
        vectors: list[NDArray[np.float64]] = []
        for line in lines:
            if isinstance(line, Unfit):
                return None
            begin = line.find(VECTOR)
            numbers = begin + len(VECTOR)
            if line[numbers : numbers + 1] == b" ":  # ``json.dumps`` of Python writes a space here
                numbers += 1
            end = line.find(b"]", numbers) + 1
            if begin < 0 or line[numbers : numbers + 1] != b"[" or not end:
                return None
            vector = self._numbers(line[numbers:end])
            if vector is None or (vectors and len(vector) != len(vectors[0])):
                return None
            try:
                row = orjson.loads(line[:begin] + self._marked + line[end:])
            except orjson.JSONDecodeError:
                return None
            # If the value is not the mark, the vector belongs to an inner object, or the row has two vectors.
            if type(row) is not dict or row.get("vector") != self._mark:
                return None
            rows.append(row)
            vectors.append(vector)
        return rows, np.stack(vectors)

    def _numbers(self, array: bytes) -> NDArray[np.float64] | None:
        """Return the numbers of a JSON array; None if the array is empty or has a value that is not a number.

        Args:
            array: text without ``]`` before the end, so an array inside this array is not valid JSON.
        """
        try:
            parsed = self._parser.parse(array)
            assert isinstance(parsed, simdjson.Array)
            found = np.frombuffer(parsed.as_buffer(of_type="d"))
        except (ValueError, TypeError, RuntimeError):  # not JSON, not a number, or a large integer
            return None
        return found if len(found) else None
