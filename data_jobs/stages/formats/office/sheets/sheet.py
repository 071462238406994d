"""Read the cells of one sheet of Excel into a grid, piece by piece, because sheets may be large.

grid = Grid()
read_stream(package.read("xl/worksheets/sheet1.xml"), SheetReader(grid=grid, strings=[], formats=[]))
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data_jobs.stages.formats.office.sheets.grid import Grid
from data_jobs.stages.formats.office.sheets.number_format import GENERAL, show_number
from data_jobs.stages.formats.office.sheets.workbook import unescape
from data_jobs.stages.formats.office.word.styles import number

PLACE = re.compile(r"\$?([A-Z]{1,3})\$?([1-9][0-9]{0,6})")
#: Types of cells: an index into the shared texts, texts, a truth value.
SHARED, TEXTS, BOOLEAN = "s", frozenset({"str", "inlineStr"}), "b"


@dataclass(kw_only=True, slots=True)
class SheetReader:
    """Receives the XML of one sheet, as an ``XmlHandler``."""

    grid: Grid
    #: The texts that cells share.
    strings: Sequence[str]
    #: The number format of each cell style.
    formats: Sequence[str]
    #: True if dates count from 1904.
    from_1904: bool = False
    #: Number of formulas whose result the file does not hold.
    without_result: int = 0
    _row: int = 0
    _column: int = 0
    _type: str = ""
    _style: int = 0
    _has_formula: bool = False
    _phonetic: int = 0
    #: The pieces of the value of the current cell.
    _parts: list[str] = field(default_factory=list)
    _is_value: bool = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """Receive the start of an element."""
        if name == "c":
            self._start_cell(attributes)
        elif name in {"v", "t"}:
            self._is_value = not self._phonetic
        elif name == "f":
            self._has_formula = True
        elif name == "row":
            self._row = number(attributes.get("r", ""), self._row + 1)
            self._column = 0
        elif name == "rPh":
            self._phonetic += 1
        elif name == "mergeCell":
            self._merge(attributes.get("ref", ""))

    def end(self, name: str) -> None:
        """Receive the end of an element."""
        if name in {"v", "t"}:
            self._is_value = False
        elif name == "rPh":
            self._phonetic -= 1
        elif name == "c":
            self._end_cell()

    def text(self, text: str) -> None:
        """Receive text."""
        if self._is_value:
            self._parts.append(text)

    def _start_cell(self, attributes: Mapping[str, str]) -> None:
        self._column += 1
        place = PLACE.fullmatch(attributes.get("r", ""))
        if place is not None:
            self._column, self._row = column_number(place[1]), int(place[2])
        self._type = attributes.get("t", "n")
        self._style = number(attributes.get("s", "0"))
        self._parts, self._has_formula = [], False

    def _end_cell(self) -> None:
        written = "".join(self._parts)
        if not written:
            self.without_result += self._has_formula and self._type != "str"
            return
        is_text = self._type in TEXTS or self._type == SHARED
        self.grid.put(self._row, self._column, self._shown(written), is_text=is_text)

    def _shown(self, written: str) -> str:
        if self._type == SHARED:
            index = number(written, len(self.strings))
            return self.strings[index] if index < len(self.strings) else ""
        if self._type == BOOLEAN:
            return "TRUE" if written == "1" else "FALSE"
        if self._type != "n":
            return unescape(written)
        code = self.formats[self._style] if self._style < len(self.formats) else GENERAL
        try:
            return show_number(float(written), code, from_1904=self.from_1904)
        except (ValueError, OverflowError):
            return written

    def _merge(self, range: str) -> None:
        first, _, last = range.partition(":")
        start, end = PLACE.fullmatch(first), PLACE.fullmatch(last)
        if start is not None and end is not None:
            self.grid.merge(int(start[2]), column_number(start[1]), column_number(end[1]))


def column_number(letters: str) -> int:
    """Return the number of a column: 1 for A, 27 for AA."""
    column = 0
    for letter in letters:
        column = column * 26 + ord(letter) - ord("A") + 1
    return column
