"""Parse plain text: decode it, normalise its line ends, and remove characters that Postgres refuses."""

import re

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput

#: Bold and underlined letters of a printed manual page: a letter, a backspace, and the letter again or an
#: underscore.
OVERSTRUCK = re.compile("_\b([^\n])|([^\n])\b(?:_|\\2)")
#: Terminal codes for colours and the like (ECMA-48: SELECT GRAPHIC RENDITION, ERASE IN LINE).
COLOURS = re.compile("\x1b\\[[0-9;:]*[mK]")
#: Characters without text, which may separate words. NUL ends strings in C, and Postgres refuses it.
UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
#: Replacements of these characters; a space replaces all others. A byte order mark has no width, so it
#: separates nothing.
REPLACEMENTS = {"\x0b": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n", "\ufeff": ""}


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a text file. Form feeds divide it into pages."""
    decoded = decode(data)
    return ParserOutput(
        pages=[clean(page) for page in decoded.text.split("\f")], facts=decoded.facts, unread=decoded.unread
    )


def clean(text: str) -> str:
    """The text without characters that carry no text, its lines ended by ``\\n``.

    Words that a control character separates stay apart.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if UNWANTED.search(text) is None:
        return text
    if "\b" in text:
        text = OVERSTRUCK.sub(r"\1\2", text)
    text = COLOURS.sub("", text)
    return UNWANTED.sub(lambda found: REPLACEMENTS.get(found[0], " "), text)
