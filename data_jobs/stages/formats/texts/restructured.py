"""Parse reStructuredText block by block: sections become headings, tables become Markdown rows, literal
blocks become code, and marks are left out.

This module does not use docutils, because docutils stops at the directives and roles of Sphinx that most
files use, and needs seconds for a long file. Nothing is included, and raw HTML is left out.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.formats.text import clean
from data_jobs.stages.formats.texts.restructured_inline import plain
from data_jobs.stages.formats.texts.restructured_tables import (
    GRID_BORDER,
    SIMPLE_BORDER,
    grid_rows,
    simple_rows,
)

#: Maximum number of blocks inside each other. Deeper text is one paragraph.
MAX_DEPTH = 30
#: A line that repeats one sign. One line is below a title, or one line is above the title and one below.
ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}")
DIRECTIVE = re.compile(
    r"\.\. (?:\|(?P<substitution>[^|]+)\| )?(?P<name>[\w:+.-]+?) ?::(?:[ \t]+(?P<argument>.*))?"
)
FOOTNOTE = re.compile(r"\.\. (\[[\w#*.-]+\])(?:[ \t]+(.*))?")
#: First lines of directives, footnotes, comments and targets of links.
EXPLICIT = re.compile(r"\.\.(?:[ \t].*)?|__ .*")
OPTION = re.compile(r":([\w -]+):(?:[ \t]+(.*))?")
FIELD = re.compile(r":([^:`\s](?:[^:`]*[^:`\s])?):(?:[ \t]+(.*))?")
ITEM = re.compile(r"((?:[-*+\u2022\u2023]|\(?(?:\d{1,9}|[A-Za-z]|#|[ivxlcIVXLC]+)[.)])[ \t]+)(\S.*)")
LINE_BLOCK = re.compile(r"\|(?: (.*))?")
DOCTEST = re.compile(">>> .*")
#: First lines of blocks that are not paragraphs.
NO_PARAGRAPH = (GRID_BORDER, SIMPLE_BORDER, EXPLICIT, FIELD, ITEM, LINE_BLOCK, DOCTEST)
#: Marks of list items that are not words.
BULLETS = "-*+\u2022\u2023 "
#: Directives whose content is shown as it is.
CODE = frozenset(
    "code code-block sourcecode parsed-literal productionlist math doctest testcode testoutput prompt console"
    " graphviz".split()
)
#: Directives of mathematics and of a terminal, whose argument is shown, too.
CODE_IN_ARGUMENT = frozenset({"math", "prompt"})
#: Directives whose argument says how to show the content.
LAYOUT = frozenset("class rst-class container only ifconfig grid tab-set".split())
#: Directives without text that a reader sees.
SILENT = frozenset(
    "raw include literalinclude toctree contents sectnum index meta highlight default-role role currentmodule"
    " module testsetup testcleanup autosummary header footer target-notes".split()
)
#: The words that a reader sees before the text of a directive.
WORDS = {
    **{
        name: f"{name.capitalize()}: "
        for name in "attention caution danger error hint important note tip warning".split()
    },
    "seealso": "See also: ",
    "versionadded": "Added in version ",
    "versionchanged": "Changed in version ",
    "deprecated": "Deprecated since version ",
}
#: Directives that show a picture, and the option with its words.
PICTURES, PICTURE_WORDS = frozenset({"image", "figure"}), "alt"


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a reStructuredText file into one page."""
    decoded = decode(data)
    lines = [line.rstrip().expandtabs(8) for line in clean(decoded.text).split("\n")]
    page = PageBuilder()
    RestructuredReader(page, _substitutions(lines)).read(lines)
    return ParserOutput(
        pages=[page.text()], facts=decoded.facts, unread=decoded.unread, structure=[page.structure()]
    )


def _substitutions(lines: Sequence[str]) -> Mapping[str, str]:
    found = (DIRECTIVE.fullmatch(line.strip()) for line in lines if line.lstrip().startswith(".. |"))
    return {one["substitution"]: one["argument"] or "" for one in found if one and one["name"] == "replace"}


class RestructuredReader:
    """Reads the blocks of one document.

    Args:
        page: the page that gets the text.
        substitutions: the text that replaces each ``|name|``.
    """

    def __init__(self, page: PageBuilder, substitutions: Mapping[str, str]) -> None:
        self._page = page
        self._substitutions = substitutions
        #: The marks of titles in the order of their levels. A mark with a line above the title differs from
        #: the same mark without that line.
        self._styles: list[str] = []

    def read(self, lines: Sequence[str], *, depth: int = 0, marker: str = "") -> None:
        """Add the blocks of the lines to the page.

        Args:
            lines: the lines, without the indentation that they share.
            depth: number of blocks around these lines.
            marker: mark of the list item that has these lines; it is written before their first paragraph.
        """
        if depth > MAX_DEPTH:
            self._page.paragraph("\n".join(lines))
            return
        at = next((number for number, line in enumerate(lines) if line), len(lines))
        if at == len(lines) or any(pattern.fullmatch(lines[at]) for pattern in NO_PARAGRAPH):
            self._page.paragraph(marker.strip(BULLETS))
            marker = ""
        while at < len(lines):
            if not lines[at]:
                at += 1
                continue
            used = self._heading(lines, at) if depth == 0 else 0
            used = used or self._table(lines, at) or self._explicit(lines, at, depth)
            used = used or self._list(lines, at, depth)
            if not used:
                used = self._paragraph(lines, at, depth, marker)
            marker = ""
            at += used

    def _plain(self, text: str) -> str:
        return plain(text, self._substitutions)

    def _heading(self, lines: Sequence[str], at: int) -> int:
        """Read a title, and return the number of its lines; 0 if no title begins here."""
        line, below = lines[at], _line(lines, at + 1)
        if ADORNMENT.fullmatch(line):
            is_title = below.strip() and _line(lines, at + 2) == line and not ADORNMENT.fullmatch(below)
            title, style, used = below.strip(), line[0] * 2, 3
            if not is_title:
                return 1 if not below else 0  # a line alone separates parts of a text
        else:
            is_title = (
                not line[0].isspace()
                and ADORNMENT.fullmatch(below) is not None
                and len(below) >= min(len(line), 4)
                and GRID_BORDER.fullmatch(line) is None
            )
            title, style, used = line, below[:1], 2
        if not is_title:
            return 0
        if style not in self._styles:
            self._styles.append(style)
        self._page.heading(self._plain(title), level=self._styles.index(style) + 1)
        return used

    def _table(self, lines: Sequence[str], at: int) -> int:
        """Read a table, and return the number of its lines; 0 if no table begins here."""
        if GRID_BORDER.fullmatch(lines[at]):
            block = _block(lines, at, bool)
            rows, header = grid_rows(block)
        elif SIMPLE_BORDER.fullmatch(lines[at]):
            block = _block(lines, at, lambda _: True, ends=SIMPLE_BORDER)
            rows, header = simple_rows(block)
        else:
            return 0
        shown = [[self._plain(cell) for cell in row] for row in rows]
        self._page.table(shown, header=header, first_row=0 if header else 1)
        return len(block)

    def _explicit(self, lines: Sequence[str], at: int, depth: int) -> int:
        """Read a directive, footnote, comment or target, and return the number of its lines; 0 for others."""
        line = lines[at]
        if EXPLICIT.fullmatch(line) is None:
            return 0
        used = 1 + _indented(lines, at + 1)
        content = _dedented(lines[at + 1 : at + used])
        if footnote := FOOTNOTE.fullmatch(line):
            self.read([footnote[2] or "", *content], depth=depth + 1, marker=f"{footnote[1]} ")
        elif (found := DIRECTIVE.fullmatch(line)) and found["substitution"] is None:
            self._directive(found["name"], found["argument"] or "", content, depth)
        return used

    def _directive(self, name: str, argument: str, content: list[str], depth: int) -> None:
        name = name.rpartition(":")[2]
        options: dict[str, str] = {}
        while content and (option := OPTION.fullmatch(content[0])):
            options[option[1]] = option[2] or ""
            content = content[1:]
        if name in CODE:
            self._page.code("\n".join([argument, *content] if name in CODE_IN_ARGUMENT else content))
        elif name in PICTURES:
            self._page.paragraph(self._plain(options.get(PICTURE_WORDS, "")))
            self.read(content, depth=depth + 1)
        elif name not in SILENT:
            argument = "" if name in LAYOUT else argument
            self.read([argument, *content], depth=depth + 1, marker=WORDS.get(name, ""))

    def _list(self, lines: Sequence[str], at: int, depth: int) -> int:
        """Read a list item, field, line block or doctest. Return the number of its lines; 0 for others."""
        line = lines[at]
        if DOCTEST.fullmatch(line):
            block = _block(lines, at, bool)
            self._page.code("\n".join(block))
            return len(block)
        if LINE_BLOCK.fullmatch(line):
            block = _block(lines, at, lambda line: bool(LINE_BLOCK.fullmatch(line)) or line.startswith(" "))
            self._page.paragraph("\n".join(self._plain(line.removeprefix("|").strip()) for line in block))
            return len(block)
        if item := ITEM.fullmatch(line):
            marker, first = item[1].rstrip() + " ", item[2]
        elif field := FIELD.fullmatch(line):
            marker, first = f"{field[1]}: ", field[2] or ""
        else:
            return 0
        used = 1 + _indented(lines, at + 1)
        self.read([first, *_dedented(lines[at + 1 : at + used])], depth=depth + 1, marker=marker)
        return used

    def _paragraph(self, lines: Sequence[str], at: int, depth: int, marker: str) -> int:
        """Read a paragraph and the code under it, or an indented block. Return the number of the lines."""
        if lines[at].startswith(" "):
            used = _indented(lines, at)
            self.read(_dedented(lines[at : at + used]), depth=depth + 1, marker=marker)
            return used
        block = _block(lines, at, lambda line: bool(line) and not line.startswith(" "))
        text = " ".join(block)
        used = len(block)
        is_literal = text.endswith("::")
        if is_literal:
            text = text[:-2].rstrip() if text.endswith(" ::") or text == "::" else text[:-1]
        self._page.paragraph(marker + self._plain(text) if text else marker)
        if is_literal:
            under = _indented(lines, at + used)
            self._page.code("\n".join(_dedented(lines[at + used : at + used + under])))
            used += under
        return used


def _line(lines: Sequence[str], at: int) -> str:
    return lines[at] if at < len(lines) else ""


def _block(
    lines: Sequence[str], at: int, belongs: Callable[[str], bool], *, ends: re.Pattern[str] | None = None
) -> Sequence[str]:
    """Return the lines from ``at`` on that belong to a block.

    Args:
        lines: the lines.
        at: position of the first line of the block.
        belongs: returns True for a line of the block.
        ends: pattern of a line that ends the block if a blank line follows.
    """
    end = at + 1
    while end < len(lines) and belongs(lines[end]):
        end += 1
        if ends is not None and ends.fullmatch(lines[end - 1]) and not _line(lines, end):
            break
    return lines[at:end]


def _indented(lines: Sequence[str], at: int) -> int:
    """Return the number of indented lines from ``at`` on, with the blank lines between them."""
    end = last = at
    while end < len(lines) and (not lines[end] or lines[end].startswith(" ")):
        end += 1
        if lines[end - 1]:
            last = end
    return last - at


def _dedented(lines: Sequence[str]) -> list[str]:
    """Return the lines without the indentation that they share."""
    shared = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    return [line[shared:] for line in lines]
