"""Write the paragraphs, lists and tables of a Word document into a page, in reading order.

story = WordStory(page=page, styles=styles, numbering=numbering, notes=notes, drawing=drawing_text)
story.write(body)
story.end()
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.word.numbering import Numbering
from data_jobs.stages.formats.office.word.paragraph import WordLine, WordParagraphReader, preferred
from data_jobs.stages.formats.office.word.styles import (
    OFF,
    WordStyles,
    is_on,
    number,
    outline_level,
    value_of,
)
from data_jobs.stages.formats.page_builder import PageBuilder

#: Elements that only group blocks.
GROUPS = frozenset("w:sdt w:sdtContent w:customXml w:ins w:moveTo w:smartTag".split())
#: Maximum number of columns that a cell may span, so that a hostile number makes no endless row.
MAX_SPAN = 63
#: Spaces before an item of a list, for each level.
INDENT = "  "
LIST, CODE = "list", "code"


@dataclass(kw_only=True, slots=True)
class WordStory:
    """Writes blocks into a page, and joins neighbouring list items and neighbouring lines of code."""

    page: PageBuilder
    styles: WordStyles
    numbering: Numbering
    #: The notes by the kind of their part and their id.
    notes: Mapping[tuple[str, str], Element]
    #: Returns the text of a chart or a diagram by the id of its relationship.
    drawing: Callable[[str], str]
    #: Number of documents inside the document that Word would import when it opens the document.
    imported: int = 0
    _reader: WordParagraphReader = field(init=False)
    _marks: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Kind of ``_lines``: ``LIST`` or ``CODE``; "" if there are no lines.
    _kind: str = ""
    #: The list items or the lines of code that are not written yet.
    _lines: list[str] = field(default_factory=list)
    #: Paragraphs whose text boxes, drawings and notes are not written yet.
    _waiting: list[WordLine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = WordParagraphReader(mark_of=self._mark_of)

    @property
    def hidden(self) -> int:
        """Number of characters that the document hides from readers."""
        return self._reader.hidden

    def write(self, container: Element) -> None:
        """Write the blocks of a container."""
        for block in container:
            if block.tag == "w:p":
                self._write_paragraph(block)
            elif block.tag == "w:tbl":
                self._write_table(block)
            elif block.tag == "w:altChunk":
                self.imported += 1
            elif block.tag == "mc:AlternateContent":
                self.write(preferred(block))
            elif block.tag in GROUPS:
                self.write(block)

    def end(self) -> None:
        """Write what is not written yet: list items or lines of code, and what belongs to them."""
        if self._lines:
            lines, self._lines = self._lines, []
            if self._kind == CODE:
                self.page.code("\n".join(lines))
            else:
                self.page.paragraph("\n".join(lines))
        self._kind = ""
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            self._write_beside(line)

    def flat(self, container: Element) -> str:
        """Return the text of a container in one line, as a cell of a table shows it."""
        return " ".join(part for part in self._flat_parts(container) if part.strip())

    def _write_paragraph(self, paragraph: Element) -> None:
        properties = paragraph.find("w:pPr")
        style_id = "" if properties is None else value_of(properties, "w:pStyle")
        style = self.styles.of(style_id or self.styles.default)
        outline = None if properties is None else outline_level(properties)
        level = style.level if outline is None else outline
        line = self._reader.read(paragraph)
        label, depth = self._label(properties, style.list_id, style.list_level)
        kind = "" if level else LIST if label else CODE if style.is_code else ""
        if not kind or kind != self._kind:
            self.end()
        if level and line.text.strip():
            self.page.heading(f"{label.removeprefix('-')} {line.text}", level=level)
        elif kind == LIST and line.text.strip():
            self._lines.append(f"{INDENT * depth}{label} {line.text.strip()}")
        elif kind == CODE:
            self._lines.append(line.text)
        else:
            self.page.paragraph(line.text)
        self._kind = kind
        self._waiting.append(line)
        if not kind:
            self.end()

    def _label(self, properties: Element | None, list_id: str, level: int) -> tuple[str, int]:
        """Count a paragraph of a list. Return the label and the level; the label is "" outside lists."""
        numbered = None if properties is None else properties.find("w:numPr")
        if numbered is not None:
            list_id = value_of(numbered, "w:numId") or list_id
            level = number(value_of(numbered, "w:ilvl"), level)
        return (self.numbering.next_label(list_id, level), level) if list_id else ("", 0)

    def _write_beside(self, line: WordLine) -> None:
        """Write the text boxes, drawings and notes of a paragraph after the paragraph."""
        for box in line.boxes:
            self.write(box)
            self.end()
        for drawing in line.drawings:
            self.page.paragraph(self.drawing(drawing))
        for key in line.notes:
            if key in self.notes:
                self.page.paragraph(f"{self._mark_of(*key)} {self.flat(self.notes[key])}")

    def _mark_of(self, kind: str, note: str) -> str:
        """Return the mark of a note. Notes are numbered in the order of their first references."""
        if (kind, note) not in self.notes:
            return ""
        return self._marks.setdefault((kind, note), f"[{len(self._marks) + 1}]")

    def _write_table(self, table: Element) -> None:
        self.end()
        rows = [list(_cells(row)) for row in _rows(table)]
        if self._is_layout(rows):
            for row in rows:
                for cell, _, _ in row:
                    self.write(cell)
                    self.end()
            return
        written = []
        for row in rows:
            cells: list[str] = []
            for cell, span, is_continued in row:
                cells += ["" if is_continued else self.flat(cell), *[""] * (span - 1)]
            written.append(cells)
        self.page.table(written, header=_has_header(table))

    def _is_layout(self, rows: list[list[tuple[Element, int, bool]]]) -> bool:
        """Return True for a table that only arranges text: it has one column or one row, or headings in
        cells.
        """
        if len(rows) == 1 or all(len(row) <= 1 for row in rows):
            return True
        styles = (
            value_of(properties, "w:pStyle")
            for row in rows
            for cell, _, _ in row
            for properties in cell.iter("w:pPr")
        )
        return any(self.styles.of(style).level for style in set(styles) if style)

    def _flat_parts(self, container: Element) -> Iterator[str]:
        for block in container:
            if block.tag == "w:p":
                properties = block.find("w:pPr")
                style_id = "" if properties is None else value_of(properties, "w:pStyle")
                style = self.styles.of(style_id or self.styles.default)
                line = self._reader.read(block)
                label, _ = self._label(properties, style.list_id, style.list_level)
                yield f"{label} {line.text}" if label else line.text
                yield from (self.flat(box) for box in line.boxes)
                yield from (self.drawing(drawing) for drawing in line.drawings)
                for key in line.notes:
                    if key in self.notes:
                        yield f"{self._mark_of(*key)} {self.flat(self.notes[key])}"
            elif block.tag == "w:tbl":
                yield from (self.flat(cell) for row in _rows(block) for cell, _, _ in _cells(row))
            elif block.tag == "mc:AlternateContent":
                yield from self._flat_parts(preferred(block))
            elif block.tag in GROUPS:
                yield from self._flat_parts(block)


def _rows(table: Element) -> Iterator[Element]:
    """Yield the rows of a table, without deleted rows."""
    for child in table:
        if child.tag == "w:tr":
            properties = child.find("w:trPr")
            if properties is None or properties.find("w:del") is None:
                yield child
        elif child.tag in GROUPS:
            yield from _rows(child)


def _cells(row: Element) -> Iterator[tuple[Element, int, bool]]:
    """Yield each cell of a row, the number of its columns, and True if it continues the cell above."""
    for child in row:
        if child.tag == "w:tc":
            properties = child.find("w:tcPr")
            if properties is None:
                yield child, 1, False
                continue
            merge = properties.find("w:vMerge")
            is_continued = merge is not None and merge.get("w:val", "continue") == "continue"
            yield child, min(max(1, number(value_of(properties, "w:gridSpan"), 1)), MAX_SPAN), is_continued
        elif child.tag in GROUPS:
            yield from _cells(child)


def _has_header(table: Element) -> bool:
    """Return True unless the look of the table says that its first row is like the other rows."""
    properties = table.find("w:tblPr")
    look = None if properties is None else properties.find("w:tblLook")
    first = next(_rows(table), None)
    if look is None or (first is not None and is_on(first.find("w:trPr"), "w:tblHeader")):
        return True
    return look.get("w:firstRow", "1") not in OFF
