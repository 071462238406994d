"""Parse source code: the text stays as it is, definitions are headings, and the lines between them are code.

So a search finds "class Pump: > def start(self):" as the place of a chunk, and chunks begin at a definition
if possible. The fact ``programming_language`` names the language.
"""

import re
from collections.abc import Iterator

from cluster.formats.languages import language_of
from cluster.page_structure import Block, BlockKind, PageStructure
from cluster.records import Fact
from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.text import clean

#: Words before the keyword of a definition.
MODIFIERS = (
    r"(?:(?:export|default|declare|pub(?:\([\w\s:]+\))?|public|private|protected|internal|static|final|abstract"
    r"|sealed|async|open|override|virtual|unsafe|extern|data|partial|readonly|inline|const|native|suspend"
    r"|synchronized)\s+)*"
)
#: Keywords that begin a definition in most languages.
KEYWORDS = (
    r"(?:def|defmodule|class|function|func|fn|fun|interface|struct|enum|trait|impl|module|namespace|record"
    r"|object|protocol|extension|sub|procedure|type|contract|message|union|program|subroutine|entity"
    r"|create\s+(?:or\s+replace\s+)?(?:table|view|function|procedure|trigger|type|unique\s+index|index))"
)
DEFINITION = re.compile(rf"{MODIFIERS}{KEYWORDS}\b[^\S\n]+[\w<(\"'*\[&`].*", re.IGNORECASE)
#: Signs that are rare in prose. A line without them is a definition only if it has few words and no full
#: stop. "class Pump" and "def start" are definitions; "type of the object that it points to" is not.
SIGNS, MAX_WORDS = re.compile(r"[({:<=]"), 3
#: A method of Java or C#: a modifier, and an opening parenthesis. The line does not end a statement.
METHOD = re.compile(r"(?:public|private|protected|internal|static)\b[^;=]*\([^;]*$")
#: A function of C, of a shell or of JavaScript, which begins in the first column and ends in a brace.
FUNCTION = re.compile(
    r"(?!(?:if|for|while|switch|return|else|do|try|catch|case|foreach|elif|with|when|unless)\b)"
    r"(?:const\s+|let\s+|var\s+|export\s+)*[A-Za-z_][^;={}()]*(?:=[^;{}()]*)?\([^;]*\{[^\S\n]*"
)
#: A section of a configuration: of INI and TOML, and a key of YAML without a value in its line.
SECTIONS = {
    "INI": re.compile(r"\[[^\]\n]+\][^\S\n]*"),
    "TOML": re.compile(r"\[\[?[^\]\n]+\]\]?[^\S\n]*(?:#.*)?"),
    "YAML": re.compile(r"[\w./-]+:[^\S\n]*(?:#.*)?"),
    "Makefile": re.compile(r"[\w./-]+:(?!=).*"),
}
#: Maximum number of spaces before a definition, and maximum length of its line.
MAX_INDENT, MAX_LINE = 8, 300
LINE = re.compile(r"(?m)^([ \t]*)(\S.*)$")


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a file of source code into one page, whose text is the text of the file."""
    decoded = decode(data)
    text = clean(decoded.text)
    language = language_of(options.name)
    facts: dict[Fact, str | float | bool] = {**decoded.facts}
    if language:
        facts[Fact.PROGRAMMING_LANGUAGE] = language
    structure = PageStructure(blocks=tuple(_blocks(text, language)))
    return ParserOutput(pages=[text], facts=facts, unread=decoded.unread, structure=[structure])


def _blocks(text: str, language: str) -> Iterator[Block]:
    """Yield a heading for each definition, and the code between two definitions."""
    end = 0
    for start, after, level in _definitions(text, language):
        yield from _code(text, end, start)
        yield Block(kind=BlockKind.HEADING, start=start, end=after, level=level)
        end = after
    yield from _code(text, end, len(text))


def _code(text: str, start: int, end: int) -> Iterator[Block]:
    """Yield the block of code between two characters, without blank lines around it."""
    part = text[start:end]
    if part.strip():
        indented = len(part) - len(part.lstrip())
        begin = start + part.rfind("\n", 0, indented) + 1
        yield Block(kind=BlockKind.CODE, start=begin, end=start + len(part.rstrip()))


def _definitions(text: str, language: str) -> Iterator[tuple[int, int, int]]:
    """Yield the start, the end and the level of each line that begins a definition. The indentation gives
    the level: 1 in the first column, 2 with up to four spaces.
    """
    section = SECTIONS.get(language)
    for line in LINE.finditer(text):
        indent, content = line[1], line[2].rstrip()
        if len(content) > MAX_LINE or len(indent.expandtabs(4)) > MAX_INDENT:
            continue
        if section is not None:
            found = not indent and section.fullmatch(content) is not None
        else:
            found = (
                (DEFINITION.fullmatch(content) is not None and _is_no_prose(content))
                or METHOD.fullmatch(content) is not None
                or (not indent and FUNCTION.fullmatch(content) is not None)
            )
        if found and not content.endswith(";"):
            yield line.start(2), line.start(2) + len(content), 1 + (len(indent.expandtabs(4)) + 3) // 4


def _is_no_prose(line: str) -> bool:
    return bool(SIGNS.search(line)) or (len(line.split()) <= MAX_WORDS and not line.endswith("."))
