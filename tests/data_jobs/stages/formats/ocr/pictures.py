"""Pictures of text, drawn by Pillow and Matplotlib's copy of DejaVu."""

from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

MATPLOTLIB = find_spec("matplotlib")  # not imported, which would take a second
assert MATPLOTLIB is not None
assert MATPLOTLIB.origin is not None
FONT = str(Path(MATPLOTLIB.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf")
SIZE = (1300, 300)
LINES = ("Only the shift supervisor may stop the pump.", "Valve seventeen is closed first.")
TEXT = " ".join(LINES)


def picture(*lines: str, mode: str = "L") -> Image.Image:
    """A picture with these lines, black on white."""
    drawn = Image.new("L", SIZE, 255)
    font = ImageFont.truetype(FONT, 44)
    for number, line in enumerate(lines):
        ImageDraw.Draw(drawn).text((40, 40 + 90 * number), line, font=font, fill=0)
    return drawn.convert(mode)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The picture as a file of this kind, in 300 dots per inch."""
    file = BytesIO()
    image.save(file, kind, dpi=(300, 300), **options)
    return file.getvalue()


def scanned(*texts: str | None) -> bytes:
    """A PDF with a page for each text, which is a picture of the text; None gives a page of letters."""
    import pymupdf

    with pymupdf.open() as document:
        for text in texts:
            page = document.new_page(width=SIZE[0] / 4, height=SIZE[1] / 4)
            if text is None:
                page.insert_text((10, 30), "This page has letters.")
            else:
                page.insert_image(page.rect, stream=saved(picture(text), "PNG"))
        return bytes(document.tobytes())
