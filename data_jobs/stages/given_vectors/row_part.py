"""The rows that a reader of files yields together. Used by the readers of JSON lines and of Parquet.

part = RowPart(rows=[(1, {"id": "a"}), (2, {"id": "b"})], vectors=matrix)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class RowPart:
    """Some consecutive rows."""

    #: Number and JSON value of each row. If a row cannot be read, its value is an ``Unfit``.
    rows: Sequence[tuple[int, Any]]
    #: The vectors of the rows, (n, dim), if all vectors have the same length. The reader of the part then
    #: ignores the vectors in ``rows``. None if the vectors are only in ``rows``.
    vectors: NDArray[Any] | None = None
