"""Write the cells of one sheet into a page: a table for each group of rows, with the range of its cells.

    grid = Grid()
    grid.put(3, 1, "City", is_text=True)
    grid.write(page)      # a table with columns="A:B", first_row=3

Blank rows separate tables, and so do two blank columns that no merged cell covers. A blank column inside a
table is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.formats.records.header import has_header

#: The largest row and column of a sheet in Excel.
MAX_ROW, MAX_COLUMN = 1_048_576, 16_384
#: Number of blank columns that separate two tables.
SEPARATING_COLUMNS = 2
#: A table with at least this many places, of which less than ``MIN_FILLED`` hold a value, is written as a
#: list of cells, because nearly all of its text would be marks of empty cells.
LARGE_TABLE, MIN_FILLED = 50_000, 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """Holds the value of one cell, as people see the value."""

    text: str
    #: True for a text; False for a number, a date, a truth value or an error.
    is_text: bool


@dataclass(kw_only=True, slots=True)
class Grid:
    """Collects the cells of one sheet that have a value, and writes them as tables."""

    _rows: dict[int, dict[int, Cell]] = field(default_factory=dict)
    #: The first and the last columns of merged cells, by their first row.
    _merged: dict[int, set[tuple[int, int]]] = field(default_factory=dict)

    def put(self, row: int, column: int, text: str, *, is_text: bool) -> None:
        """Put a value into a cell; rows and columns count from 1. A value outside the sheet is left out."""
        if text.strip() and 1 <= row <= MAX_ROW and 1 <= column <= MAX_COLUMN:
            self._rows.setdefault(row, {})[column] = Cell(text=text, is_text=is_text)

    def merge(self, row: int, first_column: int, last_column: int) -> None:
        """Merge cells of which ``row`` is the first row. Only the first of these cells holds a value."""
        self._merged.setdefault(row, set()).add((first_column, last_column))

    def write(self, page: PageBuilder) -> None:
        """Write the tables of the sheet from top to bottom."""
        for rows in self._groups_of_rows():
            for columns in self._groups_of_columns(rows):
                self._write_table(page, rows, columns)

    def _groups_of_rows(self) -> Iterator[Sequence[int]]:
        """Yield the numbers of rows that follow each other without a blank row."""
        rows = sorted(self._rows)
        start = 0
        for index, (row, following) in enumerate(pairwise(rows), start=1):
            if following > row + 1:
                yield rows[start:index]
                start = index
        if rows:
            yield rows[start:]

    def _groups_of_columns(self, rows: Sequence[int]) -> Iterator[Sequence[int]]:
        """Yield the columns of each table in these rows, without blank columns."""
        used = sorted({column for row in rows for column in self._rows[row]})
        covered = {
            column
            for row in rows
            for first, last in self._merged.get(row, ())
            for column in range(max(first, used[0]), min(last, used[-1]) + 1)
        }
        start = 0
        for index, (column, following) in enumerate(pairwise(used), start=1):
            blank = sum(between not in covered for between in range(column + 1, following))
            if blank >= SEPARATING_COLUMNS:
                yield used[start:index]
                start = index
        yield used[start:]

    def _write_table(self, page: PageBuilder, rows: Sequence[int], columns: Sequence[int]) -> None:
        inside = frozenset(columns)
        rows = [row for row in rows if not inside.isdisjoint(self._rows[row])]
        filled = sum(column in inside for row in rows for column in self._rows[row])
        places = (rows[-1] - rows[0] + 1) * len(columns)
        if places >= LARGE_TABLE and filled < MIN_FILLED * places:
            self._write_list(page, rows, inside)
            return
        rows = self._write_titles(page, rows, columns)
        if not rows:
            return
        cells = [self._rows.get(row, {}) for row in range(rows[0], rows[-1] + 1)]
        table = [[row[column].text if column in row else "" for column in columns] for row in cells]
        page.table(
            table,
            header=has_header(table),
            first_row=rows[0],
            columns=f"{column_name(columns[0])}:{column_name(columns[-1])}",
        )

    def _write_titles(self, page: PageBuilder, rows: list[int], columns: Sequence[int]) -> list[int]:
        """Write the titles above a table: rows whose only value is a text in the first column. Return the
        other rows.
        """
        if len(columns) == 1:
            return rows
        index, inside = 0, frozenset(columns)
        while index < len(rows):
            row = {column: cell for column, cell in self._rows[rows[index]].items() if column in inside}
            if list(row) != [columns[0]] or not row[columns[0]].is_text:
                break
            index += 1
        if index == len(rows):
            return rows
        for row_number in rows[:index]:
            page.paragraph(self._rows[row_number][columns[0]].text)
        return rows[index:]

    def _write_list(self, page: PageBuilder, rows: Sequence[int], columns: frozenset[int]) -> None:
        page.paragraph(
            "\n".join(
                f"{column_name(column)}{row}: {cell.text}"
                for row in rows
                for column, cell in sorted(self._rows[row].items())
                if column in columns
            )
        )


def column_name(column: int) -> str:
    """Return the letters of a column: A for 1, AA for 27."""
    name = ""
    while column > 0:
        column, letter = divmod(column - 1, 26)
        name = chr(ord("A") + letter) + name
    return name
