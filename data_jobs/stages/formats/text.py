"""Plain text: its character set found, its line ends made one kind, characters that no store takes left out."""

import re

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput

#: Bold and underlined letters of a printed manual page: a letter, a backspace, and the letter again or a line under it.
OVERSTRUCK = re.compile("_\b([^\n])|([^\n])\b(?:_|\\2)")
#: Colours and other looks of a terminal's text (ECMA-48, SELECT GRAPHIC RENDITION; ERASE IN LINE).
COLOURS = re.compile("\x1b\\[[0-9;:]*[mK]")
#: Characters that carry no text, but may stand between words. NUL ends strings in C and is refused by Postgres.
UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
#: A byte order mark has no width: it divides nothing.
STANDS_FOR = {"\x0b": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n", "\ufeff": ""}


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """One page: a text file has no others, unless form feeds divide it."""
    decoded = decode(data)
    return ParserOutput(
        pages=[clean(page) for page in decoded.text.split("\f")], facts=decoded.facts, unread=decoded.unread
    )


def clean(text: str) -> str:
    """Without what carries no text; lines end in ``\\n``. Words that a control character divided stay divided."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if UNWANTED.search(text) is None:
        return text
    if "\b" in text:
        text = OVERSTRUCK.sub(r"\1\2", text)
    text = COLOURS.sub("", text)
    return UNWANTED.sub(lambda found: STANDS_FOR.get(found[0], " "), text)
