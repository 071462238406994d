"""Read the rows of a file of given vectors: JSON lines or Parquet. Called by ``reader_process``.

    for number, row in rows_of(file).rows:     # (1, {"id": "a", "vector": [...], "text": ..., ...})
        ...

Memory does not grow with the file: a file is read line by line, or page by page. The number of a row is that
of its line, or its place in the Parquet file, from 1.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.documents.given_vectors.given_rows import FIELDS, MAX_IGNORED_NAMES, FaultKind, Unfit
from cluster.errors import InvalidInput

PARQUET_MARK = b"PAR1"
#: Maximum number of bytes of a line: a vector of 16,000 numbers, and a text in which each byte is escaped.
MAX_LINE_BYTES = 4 * 1024 * 1024
#: Bytes of a column that are read at once.
BUFFER_BYTES = 1024 * 1024
ROWS_PER_READ = 1_000

Rows = Iterator[tuple[int, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFile:
    """A file of rows."""

    #: Number and JSON value of each row; an ``Unfit`` stands for a row that cannot be read.
    rows: Rows
    #: Names of columns that no row needs; empty for JSON lines.
    unknown: Sequence[str] = ()
    #: Number of rows; None for JSON lines.
    total: int | None = None


def rows_of(file: BinaryIO) -> RowFile:
    """Return the rows of the file.

    Raises:
        InvalidInput: the file is not a Parquet file with the columns ``id`` and ``vector``.
    """
    beginning = file.read(len(PARQUET_MARK))
    file.seek(0)
    if beginning == PARQUET_MARK:
        return _parquet(file)
    return RowFile(rows=_lines(file))


def _lines(file: BinaryIO) -> Rows:
    number = 0
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, Unfit(FaultKind.ROW, f"is a line of more than {MAX_LINE_BYTES:,} bytes")
        elif line.strip():
            yield number, _parsed(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(line)  # Python's parser also reads NaN and Infinity
    except (ValueError, RecursionError):
        return Unfit(FaultKind.ROW, "is not JSON")


def _parquet(file: BinaryIO) -> RowFile:
    try:
        parquet = pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False)
        schema = parquet.schema_arrow
    except (pa.ArrowException, OSError) as exc:
        raise InvalidInput(f"the file cannot be read as Parquet: {exc}") from exc
    for name, fits, kinds in COLUMNS:
        places = schema.get_all_field_indices(name)
        if len(places) > 1:
            raise InvalidInput(f"the file has {len(places)} columns with the name {name!r}; keep one")
        if not places and name in {"id", "vector"}:
            raise InvalidInput(f"the file has no column {name!r}; it has {', '.join(schema.names[:20])}")
        if places and not fits(kind := schema.field(name).type):
            raise InvalidInput(f"the column {name!r} has the type {kind}; write it as {kinds}")
    known = [name for name in schema.names if name in FIELDS]
    unknown = [name for name in schema.names if name not in FIELDS]
    return RowFile(
        rows=_parquet_rows(parquet, known),
        unknown=unknown[:MAX_IGNORED_NAMES],
        total=parquet.metadata.num_rows,
    )


def _parquet_rows(parquet: pq.ParquetFile, columns: list[str]) -> Rows:
    number = 0
    try:
        for batch in parquet.iter_batches(ROWS_PER_READ, columns=columns, use_threads=False):
            vectors = _vectors(batch.column("vector"))
            others = [name for name in columns if name != "vector"]
            values = [_values(name, batch.column(name)) for name in others]
            for place, vector in enumerate(vectors):
                number += 1
                row = {name: column[place] for name, column in zip(others, values, strict=True)}
                yield number, {**row, "vector": vector}
    except (pa.ArrowException, OSError) as exc:
        raise InvalidInput(f"the file cannot be read as Parquet after row {number:,}: {exc}") from exc


def _vectors(column: pa.Array) -> list[Any]:
    """Return each vector as an array, None where there is none. A null in a vector becomes NaN."""
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if not valid.all():
        column = column.filter(column.is_valid())
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    ends = np.cumsum(pc.list_value_length(column).to_numpy(zero_copy_only=False))[:-1]
    parts = iter(np.split(numbers, ends)) if len(column) else iter(())
    return [next(parts) if there else None for there in valid]


def _values(name: str, column: pa.Array) -> list[Any]:
    values: list[Any] = column.to_pylist(maps_as_pydicts=None)
    if name != "attributes":
        return values
    if pa.types.is_map(column.type):
        return [None if value is None else dict(value) for value in values]
    if _is_text(column.type):
        return [value and _parsed_attributes(value) for value in values]
    return values


def _parsed_attributes(text: str) -> Any:
    found = _parsed(text.encode())
    return text if isinstance(found, Unfit) else found


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_vector(kind: pa.DataType) -> bool:
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _is_attributes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) or pa.types.is_map(kind) or _is_text(kind))


#: Name, test of the type, and the types in words, of each column of a Parquet file.
COLUMNS = (
    ("id", _is_text, "a string"),
    ("vector", _is_vector, "a list of float or double"),
    ("text", _is_text, "a string"),
    ("attributes", _is_attributes, "a struct, a map, or a string with JSON"),
)
