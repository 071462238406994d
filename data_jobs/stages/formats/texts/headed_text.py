"""Parse texts whose marks stay as they are, but whose headings are recognised: LaTeX, AsciiDoc and Org.

The words of a heading become a heading without its marks, and everything between two headings stays text.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.page_builder import PageBuilder
from data_jobs.stages.formats.text import clean

LINE = re.compile(r"(?m)^.*$")
#: Maximum length of a line with a heading, because a pattern needs quadratic time for a longer one.
MAX_HEADING_LINE = 1_000
#: Commands of LaTeX, from the highest level on.
COMMANDS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph")


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadingMarks:
    """Says how one markup language marks headings and text that is shown as it is."""

    #: Pattern of a line with a heading: its mark, and its words.
    heading: re.Pattern[str]
    #: Returns the level of a heading for its mark.
    level_of: Callable[[str], int]
    #: Pattern of a line after which text is shown as it is. Its first group, if any, names the block.
    verbatim: re.Pattern[str]
    #: The line that ends such a text, in lower case; the name of the block or, without a
    #: name, the first line replaces ``{}``.
    verbatim_end: str


LATEX = HeadingMarks(
    heading=re.compile(
        r"\\("
        + "|".join(COMMANDS)
        + r")\*?(?:\[[^\]]*\])?\{((?:[^{}]|\{[^{}]*\})+)\}(?:\s*\\label\{[^}]*\})?"
    ),
    level_of=lambda command: COMMANDS.index(command) + 1,
    verbatim=re.compile(r"\\begin\{(verbatim|lstlisting|minted)\}.*"),
    verbatim_end=r"\end{{{}}}",
)
ASCIIDOC = HeadingMarks(
    heading=re.compile(r"(={1,6}|#{1,6})\s+(\S.*?)(?:\s+\1)?"),
    level_of=len,
    verbatim=re.compile(r"-{4,}|\.{4,}|\+{4,}|/{4,}|```"),
    verbatim_end="{}",
)
ORG = HeadingMarks(
    heading=re.compile(r"(\*{1,8})\s+(\S.*)"),
    level_of=len,
    verbatim=re.compile(r"#\+begin_(\w+).*", re.IGNORECASE),
    verbatim_end="#+end_{}",
)
#: The marks of headings for each suffix.
MARKUP: Mapping[str, HeadingMarks] = {
    **dict.fromkeys(("tex", "latex", "ltx", "sty", "cls"), LATEX),
    **dict.fromkeys(("adoc", "asciidoc", "asc"), ASCIIDOC),
    "org": ORG,
}


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a text into one page. The suffix of the file's name decides how headings are marked."""
    decoded = decode(data)
    text = clean(decoded.text)
    page, end = PageBuilder(), 0
    marks = MARKUP.get(options.name.rpartition(".")[2].lower())
    for start, after, level, title in _headings(text, marks) if marks is not None else ():
        page.paragraph(text[end:start])
        page.heading(title, level=level)
        end = after
    page.paragraph(text[end:])
    return ParserOutput(
        pages=[page.text()], facts=decoded.facts, unread=decoded.unread, structure=[page.structure()]
    )


def _headings(text: str, marks: HeadingMarks) -> Iterator[tuple[int, int, int, str]]:
    """Yield the start, the end, the level and the words of each heading."""
    closing = ""
    for line in LINE.finditer(text):
        content = line[0].rstrip()
        if closing:
            closing = "" if content.strip().lower() == closing else closing
        elif opened := marks.verbatim.fullmatch(content.strip()):
            closing = marks.verbatim_end.format(opened[marks.verbatim.groups]).lower()
        elif len(content) <= MAX_HEADING_LINE and (found := marks.heading.fullmatch(content)):
            yield line.start(), line.end(), marks.level_of(found[1]), found[2]
