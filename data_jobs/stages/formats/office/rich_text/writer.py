"""Write the paragraphs, lists, tables and notes of Rich Text Format into a page.

writer = Writer(page=page)
writer.add("Herons")
writer.control("par", None)
writer.end()
"""

import re
from dataclasses import dataclass, field

from data_jobs.stages.formats.office.list_labels import BULLET
from data_jobs.stages.formats.page_builder import PageBuilder

#: Names of the styles of headings without an outline level.
HEADING = re.compile(r"heading (\d)|title", re.IGNORECASE)
#: Names of the styles of program text.
CODE = re.compile(r"\b(?:code|source|preformatted|verbatim|listing)\b", re.IGNORECASE)
#: Bullets of symbol fonts, as characters.
BULLETS = frozenset("\u00b7\u2022o\u00a7\u00d8\u2013-*\u25aa\u25cf\u25e6\uf0b7")
LIST, CODE_LINES = "list", "code"


@dataclass(kw_only=True, slots=True)
class Writer:
    """Collects text, and writes each paragraph and each table when it ends."""

    page: PageBuilder
    #: Number of the style of the current paragraph.
    style: int = 0
    #: Outline level of the current paragraph; None if its style decides.
    level: int | None = None
    #: Headers and footers, each once.
    edges: list[str] = field(default_factory=list)
    _styles: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    _text: list[str] = field(default_factory=list)
    _label: list[str] = field(default_factory=list)
    _edge: list[str] = field(default_factory=list)
    _note: list[str] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)
    #: Notes of lines that are not written yet.
    _waiting: list[str] = field(default_factory=list)
    _note_count: int = 0
    _is_in_table: bool = False
    _cells: list[str] = field(default_factory=list)
    _rows: list[list[str]] = field(default_factory=list)
    #: Kind of ``_lines``: ``LIST`` or ``CODE_LINES``; "" if there are no lines.
    _kind: str = ""
    #: List items or lines of code that are not written yet.
    _lines: list[str] = field(default_factory=list)

    def add(self, text: str, *, to_label: bool = False, to_note: bool = False, to_edge: bool = False) -> None:
        """Add text to the current paragraph, or to its label, to a note, or to a header or footer."""
        parts = self._label if to_label else self._note if to_note else self._edge if to_edge else self._text
        parts.append(text)

    def control(self, word: str, number: int | None) -> None:
        """Process a control word that divides the text."""
        if word == "pard":
            self._is_in_table, self.style, self.level = False, 0, None
        elif word == "intbl":
            self._is_in_table = number != 0
        elif word in {"par", "sect", "page"}:
            if self._is_in_table:
                self._text.append(" ")
            else:
                self._end_table()
                self._end_paragraph()
        elif word in {"cell", "nestcell"}:
            self._cells.append("".join([*self._label, *self._text]).strip())
            self._text, self._label = [], []
        elif word in {"row", "nestrow"}:
            self._rows.append(self._cells)
            self._cells = []

    def add_style(self, style: int, name: str, level: int | None) -> None:
        """Define a style."""
        self._styles.setdefault(style, (name, level))

    def start_note(self) -> None:
        """Begin a footnote or an endnote at this place of the text."""
        self._note_count += 1
        self._note = []
        self._text.append(f"[{self._note_count}]")

    def end_note(self) -> None:
        """End a note. The note is written after its paragraph."""
        text = "".join(self._note).strip()
        if text:
            self._notes.append(f"[{self._note_count}] {text}")

    def end_edge(self) -> None:
        """End a header or a footer."""
        text = "".join(self._edge).strip()
        self._edge = []
        if text and text not in self.edges:
            self.edges.append(text)

    def end(self) -> None:
        """Write what is not written yet."""
        if self._cells or (self._text and self._is_in_table):
            self.control("cell", None)
            self.control("row", None)
        self._end_paragraph()
        self._end_table()
        self._end_lines()

    def _end_paragraph(self) -> None:
        text, label = "".join(self._text), "".join(self._label).strip()
        self._text, self._label = [], []
        if not text.strip():
            return
        self._end_table()
        name, level = self._styles.get(self.style, ("", None))
        if self.level is not None:
            level = self.level
        elif level is None and (found := HEADING.fullmatch(name)):
            level = int(found[1] or 1)
        kind = "" if level else LIST if label else CODE_LINES if CODE.search(name) else ""
        if not kind or kind != self._kind:
            self._end_lines()
        if level:
            self.page.heading(f"{label} {text}", level=level)
        elif kind == LIST:
            self._lines.append(f"{BULLET if label in BULLETS else label} {text.strip()}")
        elif kind == CODE_LINES:
            self._lines.append(text)
        else:
            self.page.paragraph(text)
        self._kind = kind
        self._waiting += self._notes
        self._notes = []
        if not kind:
            self._end_lines()

    def _end_lines(self) -> None:
        lines, self._lines = self._lines, []
        if self._kind == CODE_LINES:
            self.page.code("\n".join(lines))
        else:
            self.page.paragraph("\n".join(lines))
        self._kind = ""
        notes, self._waiting = self._waiting, []
        for note in notes:
            self.page.paragraph(note)

    def _end_table(self) -> None:
        if not self._rows:
            return
        self._end_lines()
        rows, self._rows = self._rows, []
        if len(rows) == 1 or all(len(row) <= 1 for row in rows):  # the table only arranges text
            for row in rows:
                for cell in row:
                    self.page.paragraph(cell)
        else:
            self.page.table(rows)
        self._waiting, self._notes = self._notes, []
        self._end_lines()
