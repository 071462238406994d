"""Read the rows of a file of events: JSON lines, CSV or Parquet. ``reader_process`` calls this module.

    for part in rows_of(file).parts:
        part               # [(1, {"id": "a", "source": "/shop", "type": ..., "data": {...}}), ...]

The memory in use does not grow with the file. In JSON lines, the number of a row is the number of its line.
In CSV and Parquet, it is the number of the record, from 1, without the header. In CSV and Parquet, ``data``
is a text with JSON; in Parquet it may also be a struct or a map.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from cluster.errors import InvalidInput
from cluster.formats import BEFORE_JSON

PARQUET_MARK = b"PAR1"
#: Number of bytes of a Parquet column that are read in one step.
BUFFER_BYTES = 1024 * 1024
#: Maximum number of rows of a part. This number is small, because each row may have 1,000,000 bytes of data.
ROWS_PER_PART = 50
#: Maximum number of bytes of a line of JSON, and maximum number of characters of a field of CSV. An event may
#: have 1,000,000 bytes of data, and escapes can make a text longer.
MAX_LINE_BYTES = 8 * 1024 * 1024
FIELDS = ("id", "source", "type", "time", "subject", "data", "specversion")
REQUIRED = frozenset({"id", "type", "time"})
#: Maximum number of unknown columns whose names are kept.
MAX_IGNORED_NAMES = 32


class UnreadableRow(str):
    """The reason why a row cannot be read, in the place of the row's value."""


Rows = list[tuple[int, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class EventFile:
    """The contents of a file of events."""

    #: All rows, in order, in parts of limited size, each with its number. A row that cannot be read has an
    #: ``UnreadableRow`` as value.
    parts: Iterator[Rows]
    #: Names of columns that no event has, which are ignored; empty for JSON lines.
    ignored: Sequence[str] = ()
    #: Number of rows; None if the format does not say it.
    total: int | None = None


def rows_of(file: BinaryIO) -> EventFile:
    """Return the rows of the file. The first bytes decide the format: Parquet has its mark, JSON lines begin
    with ``{``, and every other file is CSV.

    Raises:
        InvalidInput: the file cannot be read as Parquet or CSV, or has no column for a required field.
            Reading ``parts`` can raise this error, too.
    """
    beginning = file.read(4096)
    file.seek(0)
    if beginning.startswith(PARQUET_MARK):
        return _parquet(file)
    if beginning.lstrip(BEFORE_JSON).startswith(b"{"):
        return EventFile(parts=_in_parts(_json_lines(file)))
    return _csv(file)


def _in_parts(rows: Iterable[tuple[int, Any]]) -> Iterator[Rows]:
    part: Rows = []
    for row in rows:
        part.append(row)
        if len(part) == ROWS_PER_PART:
            yield part
            part = []
    if part:
        yield part


def _json_lines(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, UnreadableRow(f"the line has more than {MAX_LINE_BYTES:,} bytes")
        elif stripped := line.strip(BEFORE_JSON):
            yield number, _json(stripped, "the line")


def _json(text: str | bytes, noun: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        return UnreadableRow(f"{noun} is not JSON: {exc}")


def _csv(file: BinaryIO) -> EventFile:
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    records = csv.reader(text, strict=True)
    try:
        header = [name.strip() for name in next(records, [])]
    except csv.Error as exc:
        raise InvalidInput(f"the file cannot be read as CSV: {exc}") from exc
    ignored = _checked_columns(header)
    return EventFile(parts=_in_parts(_csv_rows(records, header)), ignored=ignored)


def _csv_rows(records: Iterator[list[str]], header: Sequence[str]) -> Iterator[tuple[int, Any]]:
    number = 0
    while True:
        number += 1
        try:
            record = next(records, None)
        except csv.Error as exc:
            if "field limit" in str(exc):
                raise InvalidInput(
                    f"row {number:,} of the file has a field of more than {MAX_LINE_BYTES:,} characters; "
                    "perhaps a quote is not closed"
                ) from exc
            yield number, UnreadableRow(f"the row is not CSV: {exc}")
            continue
        if record is None:
            return
        if not record:  # an empty line
            number -= 1
        elif len(record) != len(header):
            yield number, UnreadableRow(f"the row has {len(record)} fields, and the header has {len(header)}")
        else:
            yield number, _row(zip(header, (value or None for value in record), strict=True))


def _parquet(file: BinaryIO) -> EventFile:
    try:
        parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        names = parquet.schema_arrow.names
    except (pa.ArrowException, OSError) as exc:
        raise InvalidInput(f"the file cannot be read as Parquet: {exc}") from exc
    ignored = _checked_columns(names)
    known = [name for name in names if name in FIELDS]
    return EventFile(parts=_parquet_parts(parquet, known), ignored=ignored, total=parquet.metadata.num_rows)


def _parquet_parts(parquet: pq.ParquetFile, columns: Sequence[str]) -> Iterator[Rows]:
    number = 1
    try:
        for batch in parquet.iter_batches(ROWS_PER_PART, columns=list(columns), use_threads=False):
            values = [batch.column(name).to_pylist(maps_as_pydicts="lossy") for name in columns]
            rows = [_row(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
            yield list(enumerate(rows, start=number))
            number += len(rows)
    except (pa.ArrowException, OSError, ValueError) as exc:
        raise InvalidInput(f"the file cannot be read as Parquet at row {number:,}: {exc}") from exc


def _checked_columns(names: Sequence[str]) -> list[str]:
    """Return the names of the unknown columns.

    Raises:
        InvalidInput: a required column is missing, or two columns have one name.
    """
    if missing := sorted(REQUIRED - set(names)):
        shown = ", ".join(names[:20])[:500]
        raise InvalidInput(f"the file has no column {missing[0]!r}; it has {shown or 'no columns'}")
    if twice := sorted({name for name in names if name in FIELDS and names.count(name) > 1}):
        raise InvalidInput(f"the file has two columns {twice[0]!r}; keep one")
    return [name.replace("\0", "\ufffd") for name in names if name not in FIELDS][:MAX_IGNORED_NAMES]


def _row(fields: Iterable[tuple[str, Any]]) -> Any:
    """Return the event of one row of a table."""
    row = {name: value for name, value in fields if value is not None and name in FIELDS}
    if isinstance(row.get("time"), datetime):
        row["time"] = row["time"].isoformat()
    if isinstance(row.get("data"), str):
        row["data"] = _json(row["data"], "data")
        if isinstance(row["data"], UnreadableRow):
            return row["data"]
    return row
