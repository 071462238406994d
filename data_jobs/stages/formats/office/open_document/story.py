"""Write the paragraphs, lists and tables of an OpenDocument text into a page, in reading order.

story = OdfStory(page=page, document=document)
story.write(document.body("office:text"))
story.end()
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.open_document.document import OpenDocument
from data_jobs.stages.formats.office.open_document.numbers import Counter
from data_jobs.stages.formats.office.open_document.paragraph import OdfLine, OdfParagraphReader
from data_jobs.stages.formats.office.word.styles import number
from data_jobs.stages.formats.page_builder import PageBuilder

#: Elements that hold no text of the document.
SILENT = frozenset("text:tracked-changes office:annotation office:forms text:sequence-decls".split())
#: Names of the styles of program text.
CODE = re.compile(r"\b(?:code|source|preformatted|verbatim|listing)\b", re.IGNORECASE)
INDENT = "  "
#: Maximum number of times that a row or a cell of a table in a text is repeated.
MAX_REPEATED = 100


@dataclass(kw_only=True, slots=True)
class OdfStory:
    """Writes blocks into a page, and joins neighbouring lines of code."""

    page: PageBuilder
    document: OpenDocument
    _reader: OdfParagraphReader = field(init=False)
    _outline: Counter = field(default_factory=Counter)
    _counters: dict[str, Counter] = field(default_factory=dict)
    _code: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = OdfParagraphReader(document=self.document)

    @property
    def hidden(self) -> int:
        """Number of characters that the document hides from readers."""
        return self._reader.hidden

    def write(self, container: Element) -> None:
        """Write the blocks of a container."""
        for block in container:
            self.write_one(block)

    def write_one(self, block: Element) -> None:
        """Write one block."""
        if block.tag in SILENT:
            return
        if block.tag == "text:h":
            self._write_heading(block)
        elif block.tag == "text:p":
            self._write_paragraph(block)
        elif block.tag == "text:list":
            self._write_list(block)
        elif block.tag == "table:table":
            self._write_table(block)
        elif block.tag.startswith("draw:") and block.tag != "draw:text-box":
            self._write_shape(block)
        else:
            self.write(block)

    def end(self) -> None:
        """Write the lines of code that are not written yet."""
        if self._code:
            lines, self._code = self._code, []
            self.page.code("\n".join(lines))

    def flat(self, container: Element) -> str:
        """Return the text of a container in one line, as a cell of a table shows it."""
        return " ".join(part for part in self._flat_parts(container) if part.strip())

    def _write_heading(self, heading: Element) -> None:
        self.end()
        level = max(1, number(heading.get("text:outline-level", "1"), 1))
        line = self._reader.read(heading)
        levels = self.document.styles.outline
        label = ""
        if line.text.strip() and levels.get(level - 1) is not None and levels[level - 1].format:
            label = self._outline.next_label(levels.get, level - 1)
        self.page.heading(f"{label} {line.text}", level=level)
        self._write_beside(line)

    def _write_paragraph(self, paragraph: Element) -> None:
        line = self._reader.read(paragraph)
        names = self.document.styles.names(paragraph.get("text:style-name", ""))
        if any(CODE.search(name) for name in names):
            self._code.append(line.text)
        else:
            self.end()
            if "Title" in names:
                self.page.heading(line.text, level=1)
            else:
                self.page.paragraph(line.text)
        if line.notes or line.boxes:
            self.end()
            self._write_beside(line)

    def _write_beside(self, line: OdfLine) -> None:
        for box in line.boxes:
            self.write_one(box)
            self.end()
        for mark, note in line.notes:
            self.page.paragraph(f"{mark} {self.flat(note)}")

    def _write_shape(self, shape: Element) -> None:
        """Write a shape that is anchored to a page."""
        self.end()
        holder = self._reader.read(shape)
        self.page.paragraph(holder.text)
        self._write_beside(holder)

    def _write_list(self, listed: Element) -> None:
        self.end()
        waiting: list[OdfLine] = []
        shown: list[str] = []
        for line in self._list_lines(listed, 0, listed.get("text:style-name", ""), None, waiting):
            if isinstance(line, str):
                shown.append(line)
            else:  # LibreOffice puts numbered headings into lists
                self.page.paragraph("\n".join(shown))
                shown = []
                self._write_heading(line)
        self.page.paragraph("\n".join(shown))
        for read in waiting:
            self._write_beside(read)

    def _list_lines(
        self, listed: Element, level: int, style: str, counter: Counter | None, waiting: list[OdfLine]
    ) -> Iterator[str | Element]:
        """Yield the lines of a list, and its headings as elements."""
        style = listed.get("text:style-name") or style
        if counter is None:
            is_continued = listed.get("text:continue-numbering") == "true" or listed.get("text:continue-list")
            counter = self._counters.get(style) if is_continued else None
            if counter is None:
                counter = self._counters[style] = Counter()

        for item in listed:
            if item.tag not in {"text:list-item", "text:list-header"}:
                continue
            start = item.get("text:start-value", "")
            label = ""
            for block in item:
                if block.tag == "text:list":
                    yield from self._list_lines(block, level + 1, style, counter, waiting)
                elif block.tag == "text:h":
                    yield block
                elif block.tag == "text:p":
                    line = self._reader.read(block)
                    waiting.append(line)
                    if not line.text.strip():
                        continue
                    if not label and item.tag == "text:list-item":
                        label = counter.next_label(
                            lambda at: self.document.styles.list_level(style, at),
                            level,
                            start=number(start, 1) if start else None,
                        )
                        yield f"{INDENT * level}{label} {line.text.strip()}"
                    else:
                        yield f"{INDENT * (level + 1)}{line.text.strip()}"
                elif block.tag not in SILENT:
                    yield self.flat(block)

    def _write_table(self, table: Element) -> None:
        self.end()
        rows = [list(_cells(row)) for row in _rows(table)]
        if len(rows) == 1 or all(len(row) <= 1 for row in rows) or _holds_headings(table):
            for row in rows:
                for cell in row:
                    self.write(cell)
                    self.end()
            return
        self.page.table([[self.flat(cell) for cell in row] for row in rows])

    def _flat_parts(self, container: Element) -> Iterator[str]:
        for block in container:
            if block.tag in SILENT:
                continue
            if block.tag in {"text:p", "text:h"}:
                line = self._reader.read(block)
                yield line.text
                yield from (self.flat(box) for box in line.boxes)
                for mark, note in line.notes:
                    yield f"{mark} {self.flat(note)}"
            else:
                yield from self._flat_parts(block)


def _rows(table: Element) -> Iterator[Element]:
    """Yield the rows of a table, repeated rows as often as they are shown."""
    for child in table:
        if child.tag == "table:table-row":
            for _ in range(_repeated(child, "table:number-rows-repeated")):
                yield child
        elif child.tag in {"table:table-header-rows", "table:table-rows", "table:table-row-group"}:
            yield from _rows(child)


def _cells(row: Element) -> Iterator[Element]:
    """Yield the cells of a row. A cell that another cell covers is empty."""
    for child in row:
        if child.tag in {"table:table-cell", "table:covered-table-cell"}:
            for _ in range(_repeated(child, "table:number-columns-repeated")):
                yield child


def _repeated(element: Element, attribute: str) -> int:
    return min(max(1, number(element.get(attribute, "1"), 1)), MAX_REPEATED)


def _holds_headings(table: Element) -> bool:
    return next(table.iter("text:h"), None) is not None
