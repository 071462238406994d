"""Parse plain text: decode the bytes, normalise the line ends, and replace characters that are not text."""

import re

from data_jobs.stages.formats.charset import decode
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput

#: Bold and underlined letters of a printed manual page: a letter and the same letter or an underscore, with a
#: backspace between them.
OVERSTRUCK = re.compile("_\b([^\n])|([^\n])\b(?:_|\\2)")
#: Terminal codes for colours and line erasing (ECMA-48: SELECT GRAPHIC RENDITION, ERASE IN LINE).
COLOURS = re.compile("\x1b\\[[0-9;:]*[mK]")
#: Characters that are not text but may separate words. NUL ends strings in C, and Postgres refuses NUL.
UNWANTED = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
#: Replacements for some of the unwanted characters; a space replaces every other unwanted character. A byte
#: order mark has no width, so nothing replaces it.
REPLACEMENTS = {"\x0b": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n", "\ufeff": ""}


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a text file. Form feeds divide the text into pages."""
    decoded = decode(data)
    return ParserOutput(
        pages=[clean(page) for page in decoded.text.split("\f")], facts=decoded.facts, unread=decoded.unread
    )


def clean(text: str) -> str:
    """Return the text without unwanted characters and with ``\\n`` as the end of each line.

    Words that a control character separates stay separate.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if UNWANTED.search(text) is None:
        return text
    if "\b" in text:
        text = OVERSTRUCK.sub(r"\1\2", text)
    text = COLOURS.sub("", text)
    return UNWANTED.sub(lambda found: REPLACEMENTS.get(found[0], " "), text)
