"""Read one page of a PDF with PDFium: the paragraphs in reading order, or why the page has no text."""

import ctypes
from typing import Any

import pypdfium2.raw as pdfium
from pypdfium2 import PdfDocument, PdfPage

from data_jobs.stages.formats import right_to_left
from data_jobs.stages.formats.ocr.tesseract import GrayPicture, resolution_for
from data_jobs.stages.formats.pdf.columns import in_reading_order, is_interleaved
from data_jobs.stages.formats.pdf.faults import (
    GARBAGE,
    GARBAGE_SHARE,
    MIN_LETTER_SHAPES,
    PICTURE,
    SCANNED_SHARE,
    unknown_share,
    without_garbage,
)
from data_jobs.stages.formats.pdf.headings import ReadPage
from data_jobs.stages.formats.pdf.pdfium_text import Paragraph, paragraphs_of
from data_jobs.stages.formats.text import clean

#: Annotations that show text: form fields, text boxes and stamps.
SHOWN = frozenset({pdfium.FPDF_ANNOT_WIDGET, pdfium.FPDF_ANNOT_FREETEXT, pdfium.FPDF_ANNOT_STAMP})
#: Maximum depth of forms within forms that are searched for pictures and shapes.
MAX_DEPTH = 8


def load_page(document: PdfDocument, number: int) -> PdfPage:
    """Return a page whose form fields, text boxes and stamps belong to the content of the page."""
    page = document[number]
    if _shows_annotations(page):
        pdfium.FPDFPage_Flatten(page.raw, pdfium.FLAT_NORMALDISPLAY)
        page.close()
        page = document[number]
    return page


def read_page(page: PdfPage, *, form: bool) -> ReadPage:
    """Return the paragraphs of a page, and the reason why text could not be read.

    Args:
        page: the page.
        form: True if the document has form fields. The text of a field may be longer than the visible part.
    """
    textpage = page.get_textpage()
    try:
        blocks = paragraphs_of(textpage, clip=None if form else page.get_cropbox())
    finally:
        textpage.close()
    found = [clean(_text(block)) for block in blocks]
    if unknown_share("".join(found)) >= GARBAGE_SHARE:
        known = [without_garbage(text.splitlines(keepends=True)) for text in found]
        return ReadPage(paragraphs=known, reason=GARBAGE)
    if any(not text.isascii() and right_to_left.FOUND.search(text) for text in found):
        found = right_to_left.in_reading_order(found)
    return ReadPage(paragraphs=found, sizes=[block.size for block in blocks])


def picture_of(page: PdfPage) -> GrayPicture:
    """Draw the page in shades of gray."""
    dpi = resolution_for(*page.get_size())
    drawn = page.render(scale=dpi / 72, grayscale=True)
    rows = memoryview(bytes(drawn.buffer))
    starts = range(0, drawn.stride * drawn.height, drawn.stride)  # unused bytes may follow each row
    pixels = b"".join(rows[start : start + drawn.width] for start in starts)
    return GrayPicture(width=drawn.width, height=drawn.height, pixels=pixels, dpi=dpi)


def why_textless(page: PdfPage) -> str:
    """Return the reason why a page has no text; "" if the page is blank or shows only small pictures."""
    page_left, page_bottom, page_right, page_top = page.get_cropbox()
    shown, shapes = 0.0, 0
    for drawn in page.get_objects(max_depth=1):
        pictures, filled = _drawn_in(drawn.raw, 0)
        shapes += filled
        if pictures:
            left, bottom, right, top = drawn.get_bounds()
            width, height = (
                min(right, page_right) - max(left, page_left),
                min(top, page_top) - max(bottom, page_bottom),
            )
            shown += max(0.0, width) * max(0.0, height)
    area = (page_right - page_left) * (page_top - page_bottom)
    return PICTURE if shown >= SCANNED_SHARE * area > 0 or shapes >= MIN_LETTER_SHAPES else ""


def shows_something(page: PdfPage) -> bool:
    """Return True if anything is drawn on the page."""
    return bool(pdfium.FPDFPage_CountObjects(page.raw))


def _text(paragraph: Paragraph) -> str:
    if is_interleaved(paragraph.block):
        return in_reading_order(paragraph.lines, paragraph.block)
    return paragraph.block[4]


def _shows_annotations(page: PdfPage) -> bool:
    for place in range(pdfium.FPDFPage_GetAnnotCount(page.raw)):
        annotation = pdfium.FPDFPage_GetAnnot(page.raw, place)
        kind = pdfium.FPDFAnnot_GetSubtype(annotation)
        pdfium.FPDFPage_CloseAnnot(annotation)
        if kind in SHOWN:
            return True
    return False


def _drawn_in(drawn: Any, depth: int) -> tuple[int, int]:
    """Return the number of pictures and of filled shapes in an object of a page; an object may be a form that
    contains other objects.
    """
    kind = pdfium.FPDFPageObj_GetType(drawn)
    if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
        return 1, 0
    if kind == pdfium.FPDF_PAGEOBJ_PATH:
        fill, stroke = ctypes.c_int(), ctypes.c_int()
        pdfium.FPDFPath_GetDrawMode(drawn, fill, stroke)
        return 0, int(fill.value != pdfium.FPDF_FILLMODE_NONE)
    if kind != pdfium.FPDF_PAGEOBJ_FORM or depth == MAX_DEPTH:
        return 0, 0
    parts = [
        _drawn_in(pdfium.FPDFFormObj_GetObject(drawn, place), depth + 1)
        for place in range(pdfium.FPDFFormObj_CountObjects(drawn))
    ]
    return sum(pictures for pictures, _ in parts), sum(shapes for _, shapes in parts)
