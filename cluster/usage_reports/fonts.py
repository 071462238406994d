"""Choose a font for each part of a text, so that a PDF shows names in many scripts and no name
makes it fail.

Bitstream Vera, which ReportLab contains, shows Latin text. Droid Sans Fallback, which PyMuPDF contains, shows
Greek, Cyrillic, Chinese, Japanese and Korean. Both fonts are embedded. If neither font has a character,
or PyMuPDF is not installed, the code point of the character is printed, such as ``[U+0905]``. So a reader
sees that a name is not shown as it is written.

    markup("Ćwikła & 株式会社")      # 'Ćwikła &amp; <font name="DroidSansFallback">株式会社</font>'
"""

import io
from functools import cache
from html import escape
from importlib.util import find_spec
from itertools import groupby
from typing import Any

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

TEXT, BOLD, FALLBACK = "Vera", "VeraBd", "DroidSansFallback"
#: Characters that a PDF cannot show in a line of text. They become spaces.
CONTROLS = dict.fromkeys([*range(32), 127, *range(128, 160), 0x2028, 0x2029], " ")


@cache
def register() -> None:
    """Register the fonts for Latin text with ReportLab."""
    pdfmetrics.registerFont(TTFont(TEXT, "Vera.ttf"))
    pdfmetrics.registerFont(TTFont(BOLD, "VeraBd.ttf"))
    pdfmetrics.registerFontFamily(TEXT, normal=TEXT, bold=BOLD, italic=TEXT, boldItalic=BOLD)


def markup(text: str, *, bold: bool = False) -> str:
    """Return the text in ReportLab's markup, with the names of the fonts for characters that the main font
    does not have.
    """
    main = BOLD if bold else TEXT
    parts = []
    for font, characters in groupby(text.translate(CONTROLS), key=lambda one: _font_of(one, main)):
        part = "".join(characters)
        if font is None:
            part = "".join(f"[U+{ord(one):04X}]" for one in part)
        shown = escape(part, quote=False)
        parts.append(f'<font name="{font}">{shown}</font>' if font == FALLBACK else shown)
    return "".join(parts)


def _font_of(character: str, main: str) -> str | None:
    """Return the name of a font that has the character; None if no font has it. ASCII characters are only
    looked for in the main font.
    """
    register()
    if ord(character) in _glyphs(main):
        return main
    if character.isascii():
        return None
    return FALLBACK if ord(character) in _glyphs(FALLBACK) else None


@cache
def _glyphs(font: str) -> frozenset[int]:
    """Return the code points that the font has. The fallback font has 3.5 MB, so it is read only if a text
    needs it. Without PyMuPDF, the fallback font has no code points.
    """
    if font == FALLBACK:
        if find_spec("pymupdf") is None:
            return frozenset()
        import pymupdf  # noqa: PLC0415  an operator may choose to install no PyMuPDF

        pdfmetrics.registerFont(TTFont(FALLBACK, io.BytesIO(pymupdf.Font("cjk").buffer)))
    face: Any = pdfmetrics.getFont(font).face
    return frozenset(code for code, glyph in face.charToGlyph.items() if glyph)
