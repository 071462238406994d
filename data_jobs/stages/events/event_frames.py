"""Write and read frames, in which the reading process sends checked events to the worker.

    write_frame(pipe, EventFrame(csv=b"...", last=500))
    read_frame(pipe)                           # the same frame; None at the end of the pipe

A frame consists of two lengths in bytes, JSON, and CSV. The file may be hostile. So the process that reads
the file sends no pickle, and the worker checks every length. The CSV holds no organisation, because the
worker writes the organisation of the job into every row.
"""

import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import IO

import orjson

from cluster.platform_data.read_events import EventFault
from cluster.text.well_formed import json_bytes

LENGTHS = struct.Struct("<II")
#: Maximum number of bytes of the JSON, and of the CSV, of a frame.
MAX_PART_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFrame:
    """Consecutive rows of the file, after the check."""

    #: The events for ``cluster.platform_data.ingestion.ingest_rows``.
    csv: bytes
    #: Number of rows of the file that the frame covers, without empty lines.
    rows: int
    #: Number of rows that have the source and id of an earlier row of the frame, and are not in ``csv``.
    duplicates: int = 0
    #: The faults of the rows that are no correct events. The index is the number of the row, from 1.
    faults: Sequence[EventFault] = ()
    #: Number of the last row.
    last: int
    #: Number of rows of the whole file; None if it is unknown.
    total: int | None = None
    #: Names of the ignored columns.
    ignored: Sequence[str] = ()


def write_frame(pipe: IO[bytes], frame: EventFrame) -> None:
    """Write the frame to the pipe."""
    described = json_bytes(
        {
            "rows": frame.rows,
            "duplicates": frame.duplicates,
            "faults": [astuple(fault) for fault in frame.faults],
            "last": frame.last,
            "total": frame.total,
            "ignored": list(frame.ignored),
        }
    )
    pipe.write(LENGTHS.pack(len(described), len(frame.csv)))
    pipe.write(described)
    pipe.write(frame.csv)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> EventFrame | None:
    """Return the next frame; None if the pipe ends before a whole frame.

    Raises:
        ValueError, KeyError, TypeError: the bytes are not a valid frame.
    """
    lengths = pipe.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    size, csv_size = LENGTHS.unpack(lengths)
    if max(size, csv_size) > MAX_PART_BYTES:
        raise ValueError(f"a frame of {size:,} and {csv_size:,} bytes")
    described, csv = pipe.read(size), pipe.read(csv_size)
    if len(described) < size or len(csv) < csv_size:
        return None
    found = orjson.loads(described)
    return EventFrame(
        csv=csv,
        rows=int(found["rows"]),
        duplicates=int(found["duplicates"]),
        faults=[
            EventFault(index=int(row), id=id, field=str(field), message=str(message))
            for row, id, field, message in found["faults"]
        ],
        last=int(found["last"]),
        total=found["total"] and int(found["total"]),
        ignored=[str(name) for name in found["ignored"]],
    )
