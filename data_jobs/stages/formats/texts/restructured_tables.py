"""Read the tables of reStructuredText: grid tables and simple tables."""

import re
from collections.abc import Sequence
from itertools import pairwise

GRID_BORDER = re.compile(r"\+(?:[-=]+\+)+")
SIMPLE_BORDER = re.compile(r"=+(?: +=+)+")
#: A line under the cells of a simple table that span columns.
SPAN_LINE = re.compile(r"-+(?: +-+)*")


def grid_rows(lines: Sequence[str]) -> tuple[list[list[str]], bool]:
    """Return the rows of a grid table, and True if the first row is a header. A cell that spans rows
    belongs to its first row.
    """
    starts = [at for at, char in enumerate(lines[0]) if char == "+"]
    rows: list[list[str]] = [[]]
    header = False
    for line in lines[1:]:
        if line.startswith("+") and not set(line) - set("+-="):
            header = header or ("=" in line and len(rows) == 1)
            rows.append([])
            continue
        cells = _grid_cells(line, starts)
        row = rows[-1]
        row += [""] * (len(cells) - len(row))
        for at, cell in enumerate(cells):
            row[at] = f"{row[at]} {cell}".strip()
    return [row for row in rows if any(row)], header


def _grid_cells(line: str, starts: Sequence[int]) -> list[str]:
    """Divide a line at the bars in the columns of the border; without a bar, a cell spans columns."""
    bars = [at for at in starts if at < len(line) and line[at] in "|+"]
    if len(bars) < 2:
        return [line.strip("|+ ")]
    return [line[left + 1 : right].strip(" +-") for left, right in pairwise(bars)]


def simple_rows(lines: Sequence[str]) -> tuple[list[list[str]], bool]:
    """Return the rows of a simple table, and True if the first row is a header."""
    starts = [found.start() for found in re.finditer("=+", lines[0])]
    rows: list[list[str]] = []
    header = False
    for number, line in enumerate(lines[1:], start=1):
        if SIMPLE_BORDER.fullmatch(line.rstrip()):
            header = header or (number < len(lines) - 1 and len(rows) >= 1)
        elif line.strip() and not SPAN_LINE.fullmatch(line.strip()):
            cells = [
                line[left:right].strip() for left, right in zip(starts, [*starts[1:], None], strict=True)
            ]
            if not cells[0] and rows:  # a further line of the row above
                rows[-1] = [f"{cell} {more}".strip() for cell, more in zip(rows[-1], cells, strict=True)]
            else:
                rows.append(cells)
    return rows, header
