"""Decide whether the first row of a table is its header.

    has_header([["city", "EUR"], ["Rome", "410"]])      # True
    has_header([["Rome", "410"], ["Oslo", "380"]])      # False

Most tables have a header, so only a first row that looks like the rows below it counts as data.
"""

import re
from collections.abc import Sequence

#: Number of rows below the first row that are compared with the first row.
COMPARED_ROWS = 100
#: Maximum length of the name of a column, and of a value, in characters.
MAX_NAME = 128
#: Numbers, amounts, percentages, dates and times.
VALUE = re.compile(
    r"[+-]?[$\u20ac\u00a3\u00a5]?\s*\d[\d.,:/' T_-]*(?:[eE][+-]?\d+)?\s*(?:%|Z|[$\u20ac\u00a3\u00a5]|[ap]m)?",
    re.I,
)
#: Years and other short whole numbers, which name columns, too ("2024", "1", "2").
NUMBER_AS_NAME = re.compile(r"\d{1,4}")
#: Values that no column has as its name.
NO_NAME = re.compile(r"\S+@\S+\.\S+|https?://\S+|true|false|null|none|nan", re.I)


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return True if the first row names the columns.

    Args:
        rows: the rows of the table; cells are text.
    """
    if len(rows) < 2:
        return False
    first = [cell.strip() for cell in rows[0]]
    names = [cell for cell in first if cell]
    if not names or any(len(name) > MAX_NAME or NO_NAME.fullmatch(name) for name in names):
        return False
    if any(VALUE.fullmatch(name) and not NUMBER_AS_NAME.fullmatch(name) for name in names):
        return False
    below = rows[1 : 1 + COMPARED_ROWS]
    columns = [
        (name, {row[at].strip() for row in below if at < len(row)} - {""})
        for at, name in enumerate(first)
        if name
    ]
    if len(columns) == 1 or all(map(NUMBER_AS_NAME.fullmatch, names)):
        return any(_is_value(cell) != _is_value(name) for name, column in columns for cell in column)
    repeated = sum(name in column for name, column in columns)
    return 2 * repeated < len(columns)


def _is_value(cell: str) -> bool:
    return len(cell) <= MAX_NAME and bool(VALUE.fullmatch(cell) or NO_NAME.fullmatch(cell))
