"""Divide the text of a page, as PDFium reads it, into lines and paragraphs by the positions of the letters.

PDFium gives the letters in the order in which they are drawn, with spaces between words and with line ends.
If two columns are drawn row by row, PDFium writes one line, which is divided at the gap. Lines belong to one
paragraph if the distance between them is small, as in MuPDF.

    paragraphs_of(document[0].get_textpage(), clip=None)[0].block[4]    # "Nobody is permit-\\nted to stop\\n"
"""

import ctypes
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import sub

import pypdfium2.raw as pdfium
from pypdfium2 import PdfTextPage

from data_jobs.stages.formats import right_to_left
from data_jobs.stages.formats.pdf.columns import Block, DrawnLine
from data_jobs.stages.formats.pdf.faults import UNKNOWN

#: Shares of the font size. A gap of the first share is a space between words, and a gap of the second share
#: divides a line into two. Lines at a larger distance than the third share belong to two paragraphs. These
#: are the values of MuPDF (``SPACE_DIST``, ``SPACE_MAX_DIST``, ``PARAGRAPH_DIST``).
SPACE_SHARE, GAP_SHARE, PARAGRAPH_SHARE = 0.15, 0.8, 1.4
#: PDFium writes this character in place of a hyphen at a line end and of the line end after it.
LINE_END_HYPHEN = "\ufffe"
LINE = re.compile(f"[^\r\n{LINE_END_HYPHEN}]+{LINE_END_HYPHEN}?")
#: To find pages whose fonts do not name their letters, only one letter in this many is checked at first.
SAMPLE = 8
#: Number of lines of a paragraph whose font sizes are examined.
LINES_EXAMINED = 3
#: A direction that differs from horizontal by less than this tangent is horizontal.
LEVEL = 0.05

#: Left, bottom, right and top in points.
Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """A line, or the part of a line between two gaps. Coordinates are points, and y grows upwards."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    #: Place of the first letter on the base line.
    origin: tuple[float, float]
    #: Direction of the base line, with the length 1.
    direction: tuple[float, float]
    #: Font size of the first letter in points.
    font_size: float
    #: Font size of the largest letter in points.
    size: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Paragraph:
    """Lines that belong together."""

    #: A block as PyMuPDF describes it: y grows downwards, and each line of the text ends in ``\\n``.
    block: Block
    lines: list[DrawnLine]
    #: The largest font size of the first letters of the first lines, in points.
    size: float


def paragraphs_of(textpage: PdfTextPage, *, clip: Box | None) -> list[Paragraph]:
    """Return the paragraphs of a page in the order in which they are drawn.

    Args:
        textpage: the page.
        clip: the visible part of the page; text outside is left out. None means that all text is read.
    """
    found: list[list[_Piece]] = []
    previous: _Piece | None = None
    for piece in _pieces(textpage):
        if clip is not None and not _overlaps(piece, clip):
            continue
        if previous is None or _begins_paragraph(previous, piece):
            found.append([])
        found[-1].append(piece)
        previous = piece
    return [_paragraph(pieces, number) for number, pieces in enumerate(found)]


def _paragraph(pieces: list[_Piece], number: int) -> Paragraph:
    block = (
        min(piece.left for piece in pieces),
        -max(piece.top for piece in pieces),
        max(piece.right for piece in pieces),
        -min(piece.bottom for piece in pieces),
        "".join(f"{piece.text}\n" for piece in pieces),
        number,
        0,
    )
    return Paragraph(
        block=block,
        lines=[(piece.left, piece.right, piece.text) for piece in pieces],
        size=max(piece.font_size for piece in pieces[:LINES_EXAMINED]),
    )


def _begins_paragraph(before: _Piece, piece: _Piece) -> bool:
    """Return True if a piece is far from the piece before, or is below and begins to the right of it."""
    x, y = piece.origin[0] - before.origin[0], piece.origin[1] - before.origin[1]
    distance = abs(x * before.direction[1] - y * before.direction[0])
    if distance > PARAGRAPH_SHARE * piece.size:
        return True
    return distance > GAP_SHARE * piece.size and before.direction[0] > LEVEL and piece.left > before.right


def _overlaps(piece: _Piece, clip: Box) -> bool:
    return piece.left < clip[2] and piece.right > clip[0] and piece.bottom < clip[3] and piece.top > clip[1]


def _pieces(textpage: PdfTextPage) -> Iterator[_Piece]:
    text = _letters(textpage)
    for line in LINE.finditer(text):
        if not line[0].strip():
            continue
        start, end = line.span()
        matrix = pdfium.FS_MATRIX()
        pdfium.FPDFText_GetMatrix(textpage.raw, start, matrix)
        length = math.hypot(matrix.a, matrix.b)
        direction = (matrix.a / length, matrix.b / length) if length else (1.0, 0.0)
        size = pdfium.FPDFText_GetFontSize(textpage.raw, start) * (math.hypot(matrix.c, matrix.d) or 1.0)
        boxes = _boxes(textpage, start, end)
        is_plain = abs(direction[1]) <= LEVEL and not right_to_left.FOUND.search(line[0])
        height = boxes[0][3] - boxes[0][1]
        parts = _between_gaps(line[0], boxes, size) if is_plain else [(0, end - start, line[0])]
        for first, last, words in parts:
            lefts, bottoms, rights, tops = zip(*boxes[first:last], strict=True)
            yield _Piece(
                text=words.replace(LINE_END_HYPHEN, "-"),
                left=min(lefts),
                bottom=min(bottoms),
                right=max(rights),
                top=max(tops),
                origin=_origin(textpage, start + first),
                direction=direction,
                font_size=size,
                size=size * max(map(sub, tops, bottoms)) / (height or 1.0),
            )


def _between_gaps(line: str, boxes: Sequence[Box], size: float) -> Iterator[tuple[int, int, str]]:
    """Divide a level line at the gaps that are wider than a space, and add spaces that PDFium omits.

    A part is the place of its first letter, the place after its last letter, and its text.

    Args:
        line: the letters.
        boxes: the box of each letter.
        size: font size of the first letter in points.
    """
    share = size / ((boxes[0][3] - boxes[0][1]) or size or 1.0)
    first, words, before = 0, "", 0
    for place, letter in enumerate(line):
        if letter.isspace():
            continue
        left, bottom, _, top = boxes[place]
        if not words:
            first = place
        elif left != boxes[before][0]:  # the letters of a ligature share one box
            gap, unit = left - boxes[before][2], share * (top - bottom)
            if abs(gap) >= GAP_SHARE * unit > 0:
                yield first, before + 1, words
                first, words = place, ""
            elif place > before + 1 or gap >= SPACE_SHARE * unit > 0:
                words += " "
        words, before = words + letter, place
    yield first, before + 1, words


def _letters(textpage: PdfTextPage) -> str:
    """Return one character for each of PDFium's letters; ``UNKNOWN`` if the font does not name a letter."""
    raw, count = textpage.raw, textpage.count_chars()
    text: str = textpage.get_text_range()
    if len(text) != count:
        text = "".join(_letter(pdfium.FPDFText_GetUnicode(raw, place)) for place in range(count))
    if any(pdfium.FPDFText_HasUnicodeMapError(raw, place) == 1 for place in range(0, count, SAMPLE)):
        text = "".join(
            UNKNOWN if pdfium.FPDFText_HasUnicodeMapError(raw, place) == 1 else letter
            for place, letter in enumerate(text)
        )
    return text


def _letter(code: int) -> str:
    return chr(code) if 0 < code <= 0x10FFFF else UNKNOWN


def _boxes(textpage: PdfTextPage, start: int, end: int) -> list[Box]:
    """Return the box of each letter, as high as the font and as wide as the step to the next letter."""
    raw, box, found = textpage.raw, pdfium.FS_RECTF(), []
    for place in range(start, end):
        pdfium.FPDFText_GetLooseCharBox(raw, place, box)
        found.append((box.left, box.bottom, box.right, box.top))
    return found


def _origin(textpage: PdfTextPage, place: int) -> tuple[float, float]:
    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(textpage.raw, place, x, y)
    return x.value, y.value
