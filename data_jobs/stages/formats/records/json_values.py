"""Read JSON into simple values, and write the values as text. ``json_text`` and ``json_lines`` call this
module.

page = PageBuilder()
add_value(page, load('{"name": "pump", "size": {"mm": 40}}'))
page.text()      # "name: pump\\nsize.mm: 40"
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from data_jobs.stages.formats.page_builder import PageBuilder

#: A value: a string (also for numbers, True, False and None), a list (an array), or a tuple of names and
#: values (an object).
Value = Any
#: An object or an array with more characters gets a heading of its own.
SECTION_CHARACTERS = 800
#: Maximum level of these headings.
MAX_LEVEL = 6
#: An array of at least this many similar objects is a table.
MIN_ROWS = 2
#: Maximum number of characters of a cell.
MAX_CELL = 500
#: The objects of a table have, on average, at least this share of the table's columns.
MIN_FILLED = 0.5
WORDS = {True: "true", False: "false", None: "null"}


def load(text: str) -> Value:
    """Read JSON. Numbers become strings with the same digits.

    Raises:
        ValueError: the text is not valid JSON, or is nested too deeply.
    """
    try:
        return json.loads(
            text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=tuple, strict=False
        )
    except RecursionError as exc:
        raise ValueError("the values are nested too deeply") from exc


def add_value(page: PageBuilder, value: Value, *, name: str = "", level: int = 1) -> None:
    """Add a value to the page.

    Args:
        page: the page.
        value: the value.
        name: name of the value, which begins the paths of its parts.
        level: level of the first headings.
    """
    if rows := as_table(value):
        page.table(rows, first_row=0)
        return
    parts = _parts(value, name) if isinstance(value, list | tuple) and level <= MAX_LEVEL else []
    if not any(_is_section(child) for _, child in parts):
        page.paragraph("\n".join(_lines(value, name)))
        return
    small = [part for part in parts if not _is_section(part[1])]
    if isinstance(value, list):  # to keep their order, all inner objects and arrays get headings
        small = [part for part in small if not isinstance(part[1], list | tuple)]
    page.paragraph("\n".join(line for part, child in small for line in _lines(child, part)))
    for part, child in parts:
        if isinstance(child, list | tuple) and (isinstance(value, list) or _is_section(child)):
            page.heading(part, level=level)
            add_value(page, child, level=level + 1)


def _is_section(value: Value) -> bool:
    return bool(as_table(value)) or _is_large(value)


def as_table(value: Value) -> list[list[str]]:
    """Return the rows of an array of similar objects without inner objects, with the names of the columns as
    the first row; an empty list for any other value.
    """
    if not isinstance(value, list) or len(value) < MIN_ROWS:
        return []
    columns: dict[str, int] = {}
    filled = 0
    for record in value:
        if not isinstance(record, tuple) or not record:
            return []
        for key, cell in record:
            if not _is_cell(cell):
                return []
            columns.setdefault(key, len(columns))
        if len({key for key, _ in record}) < len(record):
            return []
        filled += len(record)
    if filled < MIN_FILLED * len(columns) * len(value):
        return []
    rows = [list(columns)]
    for record in value:
        row = [""] * len(columns)
        for key, cell in record:
            row[columns[key]] = _scalar(cell)
        rows.append(row)
    return rows


def _is_cell(value: Value) -> bool:
    if isinstance(value, tuple) or (isinstance(value, list) and not _is_flat(value)):
        return False
    shown = _scalar(value)
    return len(shown) <= MAX_CELL and "\n" not in shown


def _is_flat(value: Value) -> bool:
    """Return True for an array without inner objects and arrays."""
    return isinstance(value, list) and not any(isinstance(item, list | tuple) for item in value)


def _is_large(value: Value) -> bool:
    """Return True if the lines of an object or array have more than ``SECTION_CHARACTERS`` characters."""
    if not isinstance(value, list | tuple) or _is_flat(value):
        return False
    characters = 0
    for line in _lines(value, ""):
        characters += len(line)
        if characters > SECTION_CHARACTERS:
            return True
    return False


def _lines(value: Value, path: str) -> Iterator[str]:
    """Yield one line for each value that is not an object or array, with its path. This function does not
    recurse, because values can be nested deeply.
    """
    waiting = [(path, value)]
    while waiting:
        path, value = waiting.pop()
        if value and isinstance(value, list | tuple) and not _is_flat(value):
            waiting += reversed(_parts(value, path))
        else:
            shown = _scalar(value)
            yield f"{path}: {shown}" if path else shown


def _parts(value: Value, path: str) -> Sequence[tuple[str, Value]]:
    """Return the parts of an object or array, each with its path."""
    if isinstance(value, list):
        return [(f"{path}[{number}]", item) for number, item in enumerate(value)]
    return [(f"{path}.{key}" if path else key, item) for key, item in value]


def _scalar(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(_scalar, value)) if value else "[]"
    return "{}" if isinstance(value, tuple) else WORDS[value]
