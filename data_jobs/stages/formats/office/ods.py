"""Parse an OpenDocument spreadsheet (.ods) into one page for each sheet. Macros are never read.

The file holds the text of each cell as the program showed it, so this module computes no formulas and applies
no formats.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.records import Fact, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.office.open_document.document import (
    CONTENT,
    refuse_encrypted,
)
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.refusals import refuse_pictures_only, refuse_too_many
from data_jobs.stages.formats.office.sheets.grid import Grid
from data_jobs.stages.formats.office.word.styles import number
from data_jobs.stages.formats.office.xml_stream import read_stream
from data_jobs.stages.formats.page_builder import PageBuilder

#: Maximum number of cells that repetitions of rows and of cells add to the cells of the file.
MAX_REPEATED_CELLS = 1_000_000
#: Maximum length of the name of a page.
MAX_NAME = 128
MAX_SPACES = 100


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a spreadsheet. A hidden sheet gives a page without text, so the other sheets keep their
    numbers.

    Raises:
        Unreadable: the document is damaged, encrypted or over a limit, or has pictures and no text.
    """
    package = Package(data)
    refuse_encrypted(package)
    reader = _ContentReader()
    read_stream(package.read(CONTENT), reader)
    if not reader.is_spreadsheet:
        raise Unreadable(Outcome.CORRUPT, "is damaged: its content is not that of its type")
    refuse_too_many(len(reader.sheets), "sheets", options)
    pages, structure, hidden = [], [], 0
    for sheet in reader.sheets:
        page = PageBuilder(label=sheet.name[:MAX_NAME])
        if sheet.style in reader.hidden_styles:
            hidden += 1
        else:
            sheet.grid.write(page)
            for line in sheet.beside:
                page.paragraph(line)
        pages.append(page.text())
        structure.append(page.structure())
    refuse_pictures_only(pages, package.names)
    return ParserOutput(pages=pages, structure=structure, facts={Fact.HIDDEN_PAGES: hidden} if hidden else {})


@dataclass(kw_only=True, slots=True)
class _Sheet:
    """Collects the content of one sheet."""

    name: str
    style: str
    grid: Grid = field(default_factory=Grid)
    #: The text of shapes.
    beside: list[str] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class _ContentReader:
    """Receives the content of a spreadsheet, as an ``XmlHandler``."""

    sheets: list[_Sheet] = field(default_factory=list)
    #: Names of the styles of hidden sheets.
    hidden_styles: set[str] = field(default_factory=set)
    is_spreadsheet: bool = False
    _style: str = ""
    _row: int = 0
    _column: int = 0
    _repeated_rows: int = 1
    _cells: list[tuple[int, int, int, str, bool]] = field(default_factory=list)
    _repeated_cells: int = 1
    _spanned: int = 1
    _type: str = ""
    _value: str = ""
    #: Text of the current paragraph; None outside paragraphs.
    _parts: list[str] | None = None
    _lines: list[str] = field(default_factory=list)
    #: Number of comments around the current place.
    _comments: int = 0
    #: Number of shapes around the current place.
    _shapes: int = 0
    _added: int = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Receive the start of an element."""
        if name == "annotation":
            self._comments += 1
        elif name in {"frame", "custom-shape", "g"}:
            self._shapes += 1
        elif name == "p":
            self._parts = []
        elif name in {"s", "tab", "line-break"}:
            spaces = " " * min(number(attributes.get("c", "1"), 1), MAX_SPACES)
            self.text({"s": spaces, "tab": "\t"}.get(name, "\n"))
        elif self._shapes:
            return
        elif name == "spreadsheet":
            self.is_spreadsheet = True
        elif name == "style":
            self._style = attributes.get("name", "")
        elif name == "table-properties" and attributes.get("display") == "false":
            self.hidden_styles.add(self._style)
        elif name == "table":
            self.sheets.append(
                _Sheet(name=attributes.get("name", ""), style=attributes.get("style-name", ""))
            )
            self._row = 1
        elif name == "table-row":
            self._repeated_rows = max(1, number(attributes.get("number-rows-repeated", "1"), 1))
            self._cells, self._column = [], 1
        elif name in {"table-cell", "covered-table-cell"}:
            self._start_cell(attributes)

    def end(self, name: str) -> None:
        """Receive the end of an element."""
        if name == "annotation":
            self._comments -= 1
        elif name in {"frame", "custom-shape", "g"}:
            self._shapes -= 1
        elif name == "p" and self._parts is not None:
            line, self._parts = "".join(self._parts), None
            if self._comments:
                return
            if self._shapes and self.sheets:
                self.sheets[-1].beside.append(line)
            else:
                self._lines.append(line)
        elif self._shapes:
            return
        elif name in {"table-cell", "covered-table-cell"}:
            self._end_cell()
        elif name == "table-row":
            self._end_row()

    def text(self, text: str) -> None:
        """Receive text."""
        if self._parts is not None:
            self._parts.append(text)

    def _start_cell(self, attributes: Mapping[str, str]) -> None:
        self._repeated_cells = max(1, number(attributes.get("number-columns-repeated", "1"), 1))
        self._spanned = max(1, number(attributes.get("number-columns-spanned", "1"), 1))
        self._type = attributes.get("value-type", "string")
        self._value = next(
            (
                attributes[name]
                for name in ("value", "date-value", "time-value", "boolean-value", "string-value")
                if name in attributes
            ),
            "",
        )
        self._lines = []

    def _end_cell(self) -> None:
        text = "\n".join(self._lines) or self._value
        if text.strip():
            self._cells.append(
                (self._column, self._repeated_cells, self._spanned, text, self._type == "string")
            )
        self._column += self._repeated_cells
        self._lines = []

    def _end_row(self) -> None:
        if self._cells and self.sheets:
            self._added += self._repeated_rows * sum(cell[1] for cell in self._cells) - len(self._cells)
            if self._added > MAX_REPEATED_CELLS:
                limit = f"the limit is {MAX_REPEATED_CELLS:,}"
                raise Unreadable(Outcome.TOO_LARGE, f"repeats cells {self._added:,} times; {limit}")
            grid = self.sheets[-1].grid
            for row in range(self._row, self._row + self._repeated_rows):
                for column, repeated, spanned, text, is_text in self._cells:
                    for at in range(column, column + repeated):
                        grid.put(row, at, text, is_text=is_text)
                    if spanned > 1:
                        grid.merge(row, column, column + spanned - 1)
        self._row += self._repeated_rows
