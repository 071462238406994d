"""Write and read frames, in which the reading process sends checked rows to the worker.

    write_frame(pipe, Frame(rows=rows, faults=faults))
    read_frame(pipe, dim=384, most=1_000)    # the same frame; None at the end of the pipe

A frame consists of two lengths (number of bytes of the JSON, and number of rows), JSON with a list for each
column except the vectors, and the vectors as float32. The file may be hostile. So the process that reads the
file sends no pickle, and the worker checks every length.
"""

import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import IO, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from cluster.documents.given_vectors.faults import FaultKind, RowFault
from cluster.documents.given_vectors.given_rows import GivenRows

LENGTHS = struct.Struct("<II")
#: Maximum number of bytes of the JSON of a frame.
MAX_JSON_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Consecutive rows of the file, after the check."""

    #: Rows that can be stored, in order.
    rows: GivenRows
    #: The faults of the rows that cannot be stored, in order.
    faults: Sequence[RowFault]
    #: Names of the unknown fields of all rows so far.
    ignored: Sequence[str] = ()
    #: Number of rows of the whole file; None if it is unknown.
    total: int | None = None


def write_frame(pipe: IO[bytes], frame: Frame) -> None:
    """Write the frame to the pipe."""
    rows = frame.rows
    found = {
        "numbers": rows.numbers,
        "ids": rows.ids,
        "texts": rows.texts if any(rows.texts) else None,
        "attributes": rows.attributes,
        "faults": [astuple(fault) for fault in frame.faults],
        "ignored": sorted(frame.ignored),
        "total": frame.total,
    }
    described = orjson.dumps(found)
    pipe.write(LENGTHS.pack(len(described), len(rows)))
    pipe.write(described)
    pipe.write(np.ascontiguousarray(rows.vectors).data.cast("B") if len(rows) else b"")
    pipe.flush()


def read_frame(pipe: IO[bytes], *, dim: int, most: int) -> Frame | None:
    """Return the next frame; None if the pipe ends before a whole frame.

    Args:
        dim: number of dimensions of a vector.
        most: maximum number of rows.

    Raises:
        ValueError, KeyError, TypeError: the bytes are not a valid frame.
    """
    lengths = pipe.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    size, count = LENGTHS.unpack(lengths)
    if size > MAX_JSON_BYTES or count > most:
        raise ValueError(f"a frame of {size:,} bytes and {count:,} rows")
    described, vectors = pipe.read(size), pipe.read(count * dim * 4)
    if len(described) < size or len(vectors) < count * dim * 4:
        return None
    found: dict[str, Any] = orjson.loads(described)
    matrix = np.frombuffer(vectors, dtype=np.float32).reshape(count, dim)
    return Frame(
        rows=_rows(found, matrix),
        faults=[
            RowFault(row=int(number), id=id, kind=FaultKind(kind), message=str(message))
            for number, id, kind, message in found["faults"]
        ],
        ignored=[str(name) for name in found["ignored"]],
        total=found["total"] and int(found["total"]),
    )


def _rows(found: dict[str, Any], vectors: NDArray[np.float32]) -> GivenRows:
    """Return the rows of a frame.

    Raises:
        KeyError: a column is missing.
        TypeError: a column is not a list.
        ValueError: the columns have different lengths, or a value has the wrong type.
    """
    numbers, ids, attributes = found["numbers"], found["ids"], found["attributes"]
    texts = [""] * len(ids) if found["texts"] is None else found["texts"]
    for column, kind in ((numbers, int), (ids, str), (texts, str), (attributes, dict)):
        if len(column) != len(vectors) or not all(type(value) is kind for value in column):
            raise ValueError(f"a column with {len(column):,} values, or a value that is no {kind.__name__}")
    return GivenRows(numbers=numbers, ids=ids, texts=texts, attributes=attributes, vectors=vectors)
