"""Read the rows of a file of given vectors: JSON lines or Parquet. ``reader_process`` calls this module.

    for part in rows_of(file).parts:
        part.rows          # [(1, {"id": "a", "vector": [...], "text": ..., "attributes": ...}), ...]

The memory in use does not grow with the file, because JSON lines are read line by line, and a Parquet file
page by page. The number of a row is the number of its line, or its position in the Parquet file, from 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.documents.given_vectors.faults import Unfit
from cluster.documents.given_vectors.given_rows import FIELDS, MAX_IGNORED_NAMES
from cluster.errors import InvalidInput
from data_jobs.stages.given_vectors.json_lines import json_line_parts, json_value
from data_jobs.stages.given_vectors.row_part import RowPart

PARQUET_MARK = b"PAR1"
#: Number of bytes of a column that are read in one step.
BUFFER_BYTES = 1024 * 1024
#: Maximum number of rows of a part, and maximum number for a Parquet file that has a column with texts.
ROWS_PER_PART, ROWS_PER_TEXT_PART = 1_000, 250


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFile:
    """The contents of a file of rows."""

    #: All rows, in order, in parts of limited size.
    parts: Iterator[RowPart]
    #: Names of the first unknown columns, which are ignored; empty for JSON lines.
    unknown: Sequence[str] = ()
    #: Number of rows; None for JSON lines.
    total: int | None = None


def rows_of(file: BinaryIO, rows_per_part: int = ROWS_PER_PART) -> RowFile:
    """Return the rows of the file.

    Args:
        rows_per_part: maximum number of rows of a part.

    Raises:
        InvalidInput: the file begins like a Parquet file, but cannot be read as Parquet, has no column ``id``
            or ``vector``, or has a column with the wrong type. Reading ``parts`` can raise this error, too.
    """
    beginning = file.read(len(PARQUET_MARK))
    file.seek(0)
    if beginning == PARQUET_MARK:
        return _parquet(file, rows_per_part)
    return RowFile(parts=json_line_parts(file, rows_per_part))


def _parquet(file: BinaryIO, rows_per_part: int) -> RowFile:
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
        parts=_parquet_parts(parquet, known, rows_per_part),
        unknown=unknown[:MAX_IGNORED_NAMES],
        total=parquet.metadata.num_rows,
    )


def _parquet_parts(parquet: pq.ParquetFile, columns: list[str], most: int) -> Iterator[RowPart]:
    number = 1
    size = min(ROWS_PER_TEXT_PART, most) if "text" in columns else most
    try:
        for batch in parquet.iter_batches(size, columns=columns, use_threads=False):
            others = [name for name in columns if name != "vector"]
            values = [_values(name, batch.column(name)) for name in others]
            rows = [dict(zip(others, row, strict=True)) for row in zip(*values, strict=True)]
            numbered = list(enumerate(rows, start=number))
            vectors = _vectors(batch.column("vector"))
            if isinstance(vectors, np.ndarray):
                yield RowPart(rows=numbered, vectors=vectors)
            else:
                yield RowPart(
                    rows=[
                        (place, {**row, "vector": vector})
                        for (place, row), vector in zip(numbered, vectors, strict=True)
                    ]
                )
            number += len(rows)
    except (pa.ArrowException, OSError) as exc:
        raise InvalidInput(f"the file cannot be read as Parquet at row {number:,}: {exc}") from exc


def _vectors(column: pa.Array) -> NDArray[Any] | list[Any]:
    """Return the vectors as one array (n, dim), if all rows have vectors of the same length. Otherwise return
    a list with one array for each row, and None for a row without a vector. A null in a vector becomes NaN.
    """
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    if not valid.all():
        column = column.filter(column.is_valid())
    numbers = column.flatten().to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    if valid.all() and len(lengths) and (lengths == lengths[0]).all():
        return np.asarray(numbers.reshape(len(lengths), lengths[0]))
    parts = iter(np.split(numbers, np.cumsum(lengths)[:-1]) if len(lengths) else ())
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
    found = json_value(text.encode())
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


#: For each column of a Parquet file: its name, the test of its type, and the allowed types in words.
COLUMNS = (
    ("id", _is_text, "a string"),
    ("vector", _is_vector, "a list of float or double"),
    ("text", _is_text, "a string"),
    ("attributes", _is_attributes, "a struct, a map, or a string with JSON"),
)
