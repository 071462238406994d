"""PDF documents for tests of pictures, and what a picture shows."""

import io
from collections.abc import Sequence

import pymupdf
from PIL import Image


def pdf_of(pages: Sequence[Sequence[str]], *, rotation: int = 0) -> bytes:
    """A PDF with these lines on its pages, which PyMuPDF wrote."""
    with pymupdf.open() as document:
        for lines in pages:
            page = document.new_page(width=400, height=300)
            for number, line in enumerate(lines):
                page.insert_text((40, 60 + 30 * number), line, fontsize=12)
            page.set_rotation(rotation)
        return bytes(document.tobytes())


def yellow_box(png: bytes) -> tuple[float, ...] | None:
    """The box around the highlighted pixels as shares of width and height: left, top, right, bottom."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    blue = picture.getchannel("B").point(lambda value: 255 * (value < 200))
    red = picture.getchannel("R").point(lambda value: 255 * (value > 200))
    box = Image.composite(blue, Image.new("L", picture.size), red).getbbox()
    return box and tuple(at / most for at, most in zip(box, picture.size * 2, strict=True))
