"""Divide Rich Text Format into control words, bytes, groups and text. Define what the control words mean.

for token in tokens(data): ...
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

#: One token: a control word with its number, a byte in hexadecimal digits, a control symbol, a brace, text.
TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|([^\\{}]+)|\\", re.DOTALL
)
#: A control word before bytes that are not tokens. The number of the word is the number of these bytes.
BINARY = "bin"

#: The character sets of fonts (RTF specification, "Font Table"), as Python names them.
CHARSETS: Mapping[int, str] = {
    0: "cp1252",
    77: "mac_roman",
    128: "cp932",
    129: "cp949",
    130: "johab",
    134: "gbk",
    136: "cp950",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    255: "cp437",
}
#: The texts of control words and symbols.
SYMBOLS: Mapping[str, str] = {
    "tab": "\t",
    "line": "\n",
    "lbr": "\n",
    "softline": "\n",
    "emdash": "\N{EM DASH}",
    "endash": "\N{EN DASH}",
    "lquote": "\N{LEFT SINGLE QUOTATION MARK}",
    "rquote": "\N{RIGHT SINGLE QUOTATION MARK}",
    "ldblquote": "\N{LEFT DOUBLE QUOTATION MARK}",
    "rdblquote": "\N{RIGHT DOUBLE QUOTATION MARK}",
    "bullet": "\N{BULLET}",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
    "~": "\N{NO-BREAK SPACE}",
    "_": "\N{NON-BREAKING HYPHEN}",
    "{": "{",
    "}": "}",
    "\\": "\\",
}
#: Groups whose content is not text of the document.
SILENT = frozenset(
    "colortbl info pict objdata themedata colorschememapping datastore latentstyles listtable "
    "listoverridetable revtbl rsidtbl generator filetbl xmlnstbl bkmkstart bkmkend nonshppict "
    "annotation atnid atnauthor atndate atnref atnparent atrfstart atrfend xe rxe tc tcn sp pn pnseclvl "
    "template mmathPr wgrffmtfilter passwordhash userprops docvar htmltag mhtmltag falt panose".split()
)
#: Groups that begin with the mark for "skip this group if it is unknown", but whose content is read.
OPTIONAL_TEXT = frozenset("shppict shpinst shptxt ud fldinst fldrslt result listtext pntext footnote".split())


class Token(NamedTuple):
    """Holds one token: a word with its number, or bytes of text, or a brace."""

    word: str = ""
    number: int | None = None
    data: bytes = b""
    brace: str = ""


def tokens(data: bytes) -> Iterator[Token]:
    """Yield the tokens of a file. The line ends of the file are not text."""
    position = 0
    while found := TOKEN.match(data, position):
        position = found.end()
        word, number, code, symbol, brace, text = found.groups()
        if word is not None:
            name = word.decode("ascii")
            value = None if number is None else int(number)
            if name == BINARY:
                position += max(0, value or 0)
            else:
                yield Token(word=name, number=value)
        elif code is not None:
            yield Token(data=bytes.fromhex(code.decode("ascii")))
        elif symbol is not None:
            yield Token(word="par" if symbol in b"\r\n" else symbol.decode("latin-1"))
        elif brace is not None:
            yield Token(brace=brace.decode("ascii"))
        elif text is not None and (shown := text.replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")):
            yield Token(data=shown)
