"""Build the text of a page and its structure from headings, paragraphs, tables and code, in reading order.

    page = PageBuilder(label="Costs")
    page.heading("Travel", level=2)
    page.paragraph("Costs of 2026.")
    page.table([["City", "EUR"], ["Rome", "410"]], first_row=4, columns="A:B")
    page.text()         # "Travel\n\nCosts of 2026.\n\n| City | EUR |\n| --- | --- |\n| Rome | 410 |"
    page.structure()    # PageStructure(label="Costs", blocks=(heading, table))

Tables become rows in Markdown, one line for each row, which language models read well.
"""

from collections.abc import Sequence

from cluster.page_structure import PROSE, Block, BlockKind, PageStructure
from data_jobs.stages.formats.text import clean

#: Blocks are separated by a blank line.
BLANK_LINE = "\n\n"
#: The rows of a table are not made equally long if this needs more than ``MAX_PADDING`` empty cells for each
#: given cell, because one hostile row could make a table of gigabytes.
MAX_PADDING = 20


class PageBuilder:
    """Collects the blocks of one page. Blocks without text are left out.

    Args:
        label: see ``PageStructure.label``.
    """

    def __init__(self, *, label: str = "") -> None:
        self._label = label
        self._parts: list[str] = []
        self._blocks: list[Block] = []
        self._length = 0

    def heading(self, text: str, *, level: int) -> None:
        """Add a heading of one line; ``level`` counts from 1, the highest."""
        text = in_one_line(text)
        if text:
            start = self._add(text)
            self._blocks.append(
                Block(kind=BlockKind.HEADING, start=start, end=self._length, level=max(1, level))
            )

    def paragraph(self, text: str) -> None:
        """Add prose or a list. Line ends are kept."""
        text = clean(text).strip("\n")
        if text.strip():
            self._add(text)

    def code(self, text: str) -> None:
        """Add preformatted lines, which are kept as they are."""
        text = clean(text).strip("\n")
        if text.strip():
            start = self._add(text)
            self._blocks.append(Block(kind=BlockKind.CODE, start=start, end=self._length))

    def table(
        self, rows: Sequence[Sequence[str]], *, header: bool = True, first_row: int = 1, columns: str = ""
    ) -> None:
        """Add a table, in which every row gets as many cells as the longest row (see ``MAX_PADDING``).

        Args:
            rows: the cells of each row.
            header: True if the first row is the header.
            first_row: number of the first of ``rows``, from 1; the rows follow each other without a gap.
            columns: see ``Block.columns``.
        """
        width = max(map(len, rows), default=0)
        if not any(cell.strip() for row in rows for cell in row):
            return
        if width * len(rows) > MAX_PADDING * sum(map(len, rows)):
            width = 0
        lines = [_row(row, width) for row in rows]
        head = [lines.pop(0), _row(["---"] * width, width)] if header else []
        start = self._add("\n".join([*head, *lines]))
        body = start + sum(len(line) + 1 for line in head)
        self._blocks.append(
            Block(
                kind=BlockKind.TABLE,
                start=start,
                end=self._length,
                body=min(body, self._length),
                first_row=first_row + header,
                columns=columns,
            )
        )

    def text(self) -> str:
        """Return the text of the page."""
        return "".join(self._parts)

    def structure(self) -> PageStructure:
        """Return the structure of the page. A page without text has none."""
        if not self._parts:
            return PROSE
        return PageStructure(label=self._label, blocks=tuple(self._blocks))

    def _add(self, text: str) -> int:
        """Add a block of text, and return the character at which the block begins."""
        if self._parts:
            self._parts.append(BLANK_LINE)
            self._length += len(BLANK_LINE)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        return start


def in_one_line(text: str) -> str:
    """Return the text without line ends and repeated spaces."""
    return " ".join(clean(text).split())


def _row(cells: Sequence[str], width: int) -> str:
    shown = [in_one_line(cell).replace("|", r"\|") for cell in cells]
    return "| " + " | ".join([*shown, *[""] * (width - len(shown))]) + " |"
