"""The process that draws one page of a PDF and ends. ``PagePictures`` starts it for each picture.

    python -m cluster.page_pictures.drawing_process

``contract`` says what it reads from its standard input and writes to its standard output. It limits itself
before it reads the document.
"""

import json
import math
import os
import resource
import struct
import sys
import zlib

import pypdfium2.raw as pdfium
from pypdfium2 import PdfBitmap, PdfDocument, PdfiumError, PdfPage, PdfTextPage

from cluster.page_pictures.contract import (
    EXIT_NO_PAGE,
    EXIT_UNREADABLE,
    MAX_DPI,
    MAX_HEIGHT,
    MAX_PAGE_CHARACTERS,
    MAX_WIDTH,
    DrawRequest,
)
from cluster.page_pictures.highlighting import find_passage

#: Niceness of the process, because the models of the replica need the cores more.
NICENESS = 5
#: The share of its blue that a highlighted pixel keeps. White becomes yellow, and black stays black.
HIGHLIGHT = bytes(value * 45 // 100 for value in range(256))
#: Maximum number of rectangles to highlight.
MAX_RECTANGLES = 2_000


def main() -> int:
    """Draw the page that standard input names."""
    request = DrawRequest(**json.loads(sys.stdin.buffer.readline()))
    _limit(request)
    document = sys.stdin.buffer.read()
    try:
        opened = PdfDocument(document)
        if request.page > len(opened):
            return EXIT_NO_PAGE
        opened.init_forms()
        picture = draw(opened[request.page - 1], request.passage)
    except PdfiumError:
        return EXIT_UNREADABLE
    sys.stdout.buffer.write(picture)
    sys.stdout.buffer.flush()
    return 0


def draw(page: PdfPage, passage: str) -> bytes:
    """Return a PNG of the page, on which the passage is highlighted.

    Raises:
        PdfiumError: the page has no size.
    """
    width, height = page.get_size()
    if not (math.isfinite(width * height) and width > 0 and height > 0):
        raise PdfiumError("the page has no size")
    scale = min(MAX_DPI / 72, MAX_WIDTH / math.ceil(width), MAX_HEIGHT / math.ceil(height))
    drawn = page.render(scale=scale, rev_byteorder=True)
    pixels = bytearray(drawn.buffer)
    for left, top, right, bottom in _rectangles(page, drawn, passage):
        for row in range(top, bottom):
            blue = slice(row * drawn.stride + left * 3 + 2, row * drawn.stride + right * 3, 3)
            pixels[blue] = pixels[blue].translate(HIGHLIGHT)
    return _png(drawn.width, drawn.height, drawn.stride, bytes(pixels))


def _rectangles(page: PdfPage, drawn: PdfBitmap, passage: str) -> list[tuple[int, int, int, int]]:
    """Return the rectangles of the passage in pixels: left, top, right and bottom."""
    textpage = page.get_textpage()
    count = min(textpage.count_chars(), MAX_PAGE_CHARACTERS)
    text = "".join(chr(pdfium.FPDFText_GetUnicode(textpage.raw, at)) for at in range(count))
    to_pixels = drawn.get_posconv(page).to_bitmap
    found: list[tuple[int, int, int, int]] = []
    for start, end in find_passage(text, passage):
        for box in _boxes(textpage, start, end)[: MAX_RECTANGLES - len(found)]:
            corners = [to_pixels(x, y) for x in box[::2] for y in box[1::2]]
            columns, rows = [x for x, _ in corners], [y for _, y in corners]
            left, right = max(0, min(columns)), min(drawn.width, max(columns))
            top, bottom = max(0, min(rows)), min(drawn.height, max(rows))
            if left < right and top < bottom:
                found.append((left, top, right, bottom))
    return found


def _boxes(textpage: PdfTextPage, start: int, end: int) -> list[tuple[float, float, float, float]]:
    return [textpage.get_rect(number) for number in range(textpage.count_rects(start, end - start))]


def _png(width: int, height: int, stride: int, pixels: bytes) -> bytes:
    """Return a PNG of pixels of three bytes: red, green and blue (https://www.w3.org/TR/png-3/)."""
    rows = b"".join(b"\0" + pixels[row * stride : row * stride + width * 3] for row in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def _limit(request: DrawRequest) -> None:
    os.nice(NICENESS)
    for limited, most in (
        (resource.RLIMIT_AS, request.memory_bytes),
        (resource.RLIMIT_CPU, request.cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limited, (most, most))


if __name__ == "__main__":
    sys.exit(main())
