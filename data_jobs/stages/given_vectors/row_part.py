"""Define a part of the rows of a file. The readers of JSON lines and of Parquet yield such parts.

part = RowPart(rows=[(1, {"id": "a"}), (2, {"id": "b"})], vectors=matrix)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class RowPart:
    """Consecutive rows of a file, not checked yet."""

    #: Number and JSON value of each row. If a row cannot be read, its value is an ``Unfit``.
    rows: Sequence[tuple[int, Any]]
    #: The vectors of the rows, (n, dim), if all vectors have the same length. Then use only these vectors,
    #: and ignore the values of ``vector`` in ``rows``. None if the vectors are only in ``rows``.
    vectors: NDArray[Any] | None = None
