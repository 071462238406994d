"""Find the place of a chunk in the structure of its document: headings, name of the page, cells and rows.

    places = ChunkPlaces(pages)
    places.of(1, chunk.start, chunk.end).heading      # "Guide > Install > Linux"

The stage ``chunk`` calls this module, so a chunker needs to know nothing about places.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import cache

from cluster.page_structure import Block, BlockKind, ChunkPlace
from cluster.records import MAX_FACT_LENGTH, Page

#: Text between two headings of a path.
BETWEEN_HEADINGS = " > "
#: Maximum number of characters of one heading in a path; a longer heading is cut.
HEADING_CHARACTERS = 120
#: Replaces text that is left out.
CUT = "…"
LINE_END = re.compile("\n")

#: The headings in force at a character of a document, which are the headings of the sections that contain the
#: character: the highest heading first, each with its level.
Path = tuple[tuple[int, str], ...]


class ChunkPlaces:
    """Finds the places of chunks.

    Args:
        pages: the pages of the document in order, because a heading stays in force on later pages.
    """

    def __init__(self, pages: Sequence[Page]) -> None:
        self._pages: dict[int, PagePlaces] = {}
        path: Path = ()
        for page in pages:
            self._pages[page.number] = places = PagePlaces(page, path)
            path = places.path_after

    def of(self, page: int, start: int, end: int) -> ChunkPlace:
        """Return the place of the chunk ``page.text[start:end]``; ``page`` is the number of the page."""
        return self._pages[page].of(start, end)


class PagePlaces:
    """Finds the places of the chunks of one page.

    Args:
        page: the page.
        path: the headings in force where the page begins.
    """

    def __init__(self, page: Page, path: Path = ()) -> None:
        self._label = page.structure.label
        self._tables = [_TableRows(page.text, one) for one in _blocks(page, BlockKind.TABLE)]
        self._table_ends = [table.block.end for table in self._tables]
        #: The offsets at which a path begins, in ascending order, and the path of each offset as a string.
        self._offsets, self._paths = [0], [_written(path)]
        #: For each of these paths, its headings, and the offset at which its lowest heading ends.
        self._headings: list[tuple[Path, int]] = [(path, 0)]
        for heading in _blocks(page, BlockKind.HEADING):
            above = (one for one in path if one[0] < heading.level)
            path = (*above, (heading.level, _text(page.text, heading)))
            self._headings.append((path, heading.end))
            self._offsets.append(heading.start)
            self._paths.append(_written(path))
        #: The headings in force after the page.
        self.path_after = path

    def of(self, start: int, end: int) -> ChunkPlace:
        """Return the place of the chunk ``page.text[start:end]``."""
        cells, rows = [], []
        for at in range(bisect_right(self._table_ends, start), len(self._tables)):
            table = self._tables[at]
            if table.block.start >= end:
                break
            first, last = table.rows(start, end)
            if table.block.columns:
                cells.append(_cells(table.block.columns, first, last))
            else:
                rows.append(str(first) if first == last else f"{first}-{last}")
        return ChunkPlace(
            heading=self.heading_at(start), label=self._label, cells=_joined(cells), rows=_joined(rows)
        )

    def heading_at(self, start: int) -> str:
        """Return the headings in force at this character as one string."""
        return self._paths[bisect_right(self._offsets, start) - 1]

    def above(self, start: int) -> Path:
        """Return the headings in force at this character, without the heading that contains the character."""
        path, end = self._headings[bisect_right(self._offsets, start) - 1]
        return path[:-1] if start < end else path


class _TableRows:
    """Finds the rows of a table. Lines are counted once, because a page may be one table with many chunks."""

    def __init__(self, text: str, table: Block) -> None:
        self.block = table
        self._line_ends = cache(
            lambda: [found.start() for found in LINE_END.finditer(text, table.body, table.end)]
        )

    def rows(self, start: int, end: int) -> tuple[int, int]:
        """Return the numbers of the first and the last row between two characters. The table must have text
        between these characters. The header counts as the row before the body.
        """
        return self._row(max(start, self.block.start)), self._row(min(end, self.block.end) - 1)

    def _row(self, at: int) -> int:
        if at < self.block.body:
            return max(1, self.block.first_row - 1)
        return self.block.first_row + bisect_left(self._line_ends(), at)


def _blocks(page: Page, kind: BlockKind) -> Iterator[Block]:
    return (block for block in page.structure.blocks if block.kind is kind)


def _cells(columns: str, first: int, last: int) -> str:
    """Return a range such as "A2:F9" for the columns "A:F" and the rows 2 to 9; one cell: "A2"."""
    left, _, right = columns.partition(":")
    begin, end = f"{left}{first}", f"{right or left}{last}"
    return begin if begin == end else f"{begin}:{end}"


def _joined(ranges: Sequence[str]) -> str:
    """Return the ranges of several tables in one string. Ranges beyond the limit of an attribute are left
    out.
    """
    text = ", ".join(ranges)
    if len(text) <= MAX_FACT_LENGTH:
        return text
    return f"{text[: text.rindex(', ', 0, MAX_FACT_LENGTH - 2)]}, {CUT}"


def _text(text: str, heading: Block) -> str:
    """Return the words of a heading in one line."""
    line = " ".join(text[heading.start : heading.end].split())
    return line if len(line) <= HEADING_CHARACTERS else line[: HEADING_CHARACTERS - 1].rstrip() + CUT


def _written(path: Path) -> str:
    """Return the path as one string. If the path is too long, leave out the highest headings, because the
    lowest headings say most about the chunk.
    """
    texts = [text for _, text in path]
    while len(BETWEEN_HEADINGS.join(texts)) > MAX_FACT_LENGTH:
        texts = [CUT, *texts[2 if texts[0] == CUT else 1 :]]
    return BETWEEN_HEADINGS.join(texts)
