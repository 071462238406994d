"""The frames in which the reading process sends checked rows to the worker.

    write_frame(pipe, Frame(rows=rows, faults=faults))
    read_frame(pipe, dim=384)                # the same frame; None at the end of the pipe

A frame is two lengths, JSON without the vectors, and the vectors as float32. The file may be hostile, so the
process that reads it sends no pickle, and the worker checks every length.
"""

import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import IO, Any

import numpy as np
import orjson

from cluster.documents.given_vectors.given_rows import FaultKind, GivenRow, RowFault

LENGTHS = struct.Struct("<II")
#: Maximum number of rows of a frame, and of bytes of its JSON.
MAX_ROWS = 1_000
MAX_JSON_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """Some consecutive rows of the file."""

    #: Rows that can be stored, in order.
    rows: Sequence[GivenRow]
    #: Rows that cannot, in order.
    faults: Sequence[RowFault]
    #: Names of the unknown fields of all rows so far.
    ignored: Sequence[str] = ()
    #: Number of rows of the whole file; None if it is unknown.
    total: int | None = None


def write_frame(pipe: IO[bytes], frame: Frame) -> None:
    """Write the frame."""
    found = {
        "rows": [(row.row, row.id, row.text, row.attributes) for row in frame.rows],
        "faults": [astuple(fault) for fault in frame.faults],
        "ignored": sorted(frame.ignored),
        "total": frame.total,
    }
    described = orjson.dumps(found)
    pipe.write(LENGTHS.pack(len(described), len(frame.rows)))
    pipe.write(described)
    if frame.rows:
        pipe.write(np.stack([row.vector for row in frame.rows]).data)
    pipe.flush()


def read_frame(pipe: IO[bytes], *, dim: int) -> Frame | None:
    """Return the next frame; None if the pipe ends before a whole frame.

    Raises:
        ValueError: the bytes are not a frame.
    """
    lengths = pipe.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    size, count = LENGTHS.unpack(lengths)
    if size > MAX_JSON_BYTES or count > MAX_ROWS:
        raise ValueError(f"a frame of {size:,} bytes and {count:,} rows")
    described, vectors = pipe.read(size), pipe.read(count * dim * 4)
    if len(described) < size or len(vectors) < count * dim * 4:
        return None
    found: dict[str, Any] = orjson.loads(described)
    matrix = np.frombuffer(vectors, dtype=np.float32).reshape(count, dim)
    return Frame(
        rows=[
            GivenRow(row=int(number), id=str(id), text=str(text), attributes=dict(attributes), vector=vector)
            for (number, id, text, attributes), vector in zip(found["rows"], matrix, strict=True)
        ],
        faults=[
            RowFault(row=int(number), id=id, kind=FaultKind(kind), message=str(message))
            for number, id, kind, message in found["faults"]
        ],
        ignored=[str(name) for name in found["ignored"]],
        total=found["total"] and int(found["total"]),
    )
