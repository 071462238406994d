"""Find the rows of an HTML table that holds data, and arrange its cells in a grid.

rows = rows_of(table)                       # None for a table that only arranges parts of the page
grid([[SpannedCell("Rome", 1, 2), SpannedCell("410", 1, 1)], [SpannedCell("200", 1, 1)]])
# [["Rome", "410"], ["Rome", "200"]]
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from selectolax.lexbor import LexborNode

#: A table with one of these elements arranges parts of the page.
LAYOUT = frozenset("table h1 h2 h3 h4 h5 h6 form frame iframe".split())
SECTIONS = frozenset({"thead", "tbody", "tfoot"})
CELLS = frozenset({"td", "th"})
#: A table with fewer rows or columns has no columns to compare.
LEAST_ROWS, LEAST_COLUMNS = 2, 2
#: Maximum number of columns of a table. Each row gets as many cells as the longest row, so a limit is needed.
MOST_COLUMNS = 64
#: Maximum number of characters of a cell that is repeated in the rows that it spans.
REPEATED_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class HtmlRow:
    """A row of a table."""

    #: The section, if there is one, and the row itself. Their attributes may hide the row.
    nodes: tuple[LexborNode, ...]
    cells: list[LexborNode]
    #: True if all cells are headers of columns.
    is_header: bool


@dataclass(frozen=True, slots=True)
class SpannedCell:
    """The text of a cell, and the number of columns and rows that the cell spans."""

    text: str
    columns: int
    rows: int


def rows_of(table: LexborNode) -> list[HtmlRow] | None:
    """Return the rows of a table; None if it arranges parts of the page, or has too few rows."""
    if table.attributes.get("role") in {"presentation", "none"}:
        return None
    if any(node.tag in LAYOUT for node in table.traverse() if node.mem_id != table.mem_id):
        return None
    rows = list(_rows(table))
    return rows if len(rows) >= LEAST_ROWS else None


def spans(cell: LexborNode) -> tuple[int, int]:
    """Return the numbers of columns and rows that a cell spans."""
    attributes = cell.attributes
    return _span(attributes.get("colspan"), MOST_COLUMNS + 1), _span(attributes.get("rowspan"), 65_534)


def grid(rows: Sequence[Sequence[SpannedCell]]) -> list[list[str]] | None:
    """Return the texts of the cells by row and column; None if there are too few or too many columns.

    A short text is repeated in each row that its cell spans. If a cell spans several columns, only the first
    of these columns has the text.
    """
    found: list[list[str]] = []
    #: For each column, the number of further rows that a cell above spans, and the text to repeat.
    open_cells: dict[int, tuple[int, str]] = {}
    for cells in rows:
        line: list[str] = []

        def fill(line: list[str] = line) -> None:
            while (open_cell := open_cells.pop(len(line), None)) is not None:
                left, text = open_cell
                if left > 1:
                    open_cells[len(line)] = left - 1, text
                line.append(text)

        for cell in cells:
            fill()
            for column in range(cell.columns):
                text = "" if column else cell.text
                if cell.rows > 1:
                    repeated = text if len(text) <= REPEATED_CHARACTERS else ""
                    open_cells[len(line)] = cell.rows - 1, repeated
                line.append(text)
            if len(line) > MOST_COLUMNS:
                return None
        fill()
        found.append(line)
    width = max(map(len, found), default=0)
    return found if LEAST_COLUMNS <= width <= MOST_COLUMNS else None


def _rows(table: LexborNode) -> Iterator[HtmlRow]:
    for section in _children(table):
        if section.tag == "tr":
            yield _row((section,))
        elif section.tag in SECTIONS:
            for row in _children(section):
                if row.tag == "tr":
                    yield _row((section, row))


def _row(nodes: tuple[LexborNode, ...]) -> HtmlRow:
    cells = [node for node in _children(nodes[-1]) if node.tag in CELLS]
    in_head = nodes[0].tag == "thead" or all(cell.tag == "th" for cell in cells)
    return HtmlRow(nodes, cells, in_head and bool(cells))


def _children(node: LexborNode) -> Iterator[LexborNode]:
    child = node.first_child
    while child is not None:
        yield child
        child = child.next


def _span(given: str | None, most: int) -> int:
    number = int(given) if given and given.isascii() and given.isdigit() and len(given) < 6 else 1
    return min(max(1, number), most)
