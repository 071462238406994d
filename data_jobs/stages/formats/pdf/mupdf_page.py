"""Read one page of a PDF: the paragraphs in reading order, or the reason why the page has no text."""

import re
from itertools import islice

import pymupdf

from data_jobs.stages.formats import right_to_left
from data_jobs.stages.formats.ocr.tesseract import GrayPicture, resolution_for
from data_jobs.stages.formats.pdf.columns import Blocks, in_reading_order, is_interleaved
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
from data_jobs.stages.formats.text import clean

FLAGS = pymupdf.TEXT_MEDIABOX_CLIP | pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
#: Characters that come from fonts without a table of letters: control codes, private characters, and letters
#: of many scripts that real text does not mix. Such fonts also give "(cid:12)" (see ``CID``).
STRANGE = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u0180-\u02af\u0530-\u058f\u0700-\u08ff\u0980-\u0dff\u0e80-\u1cff"
    "\ua000-\uabff\ue000-\uf8ff\ufffd]"
)
CID, CID_LENGTH = "(cid:", len("(cid:12)")
#: A page with a larger share of strange characters is examined more closely.
STRANGE_SHARE = 0.05
FILLED = re.compile(rb"(?<=\s)[fFbB]\*?(?=\s)")
#: Number of lines of a block whose font sizes are examined.
LINES_EXAMINED = 3
#: Maximum number of bytes of drawing commands that are examined.
MAX_EXAMINED_BYTES = 1024 * 1024
#: Drawing commands that leave marks on the page.
PAINTED = re.compile(rb"(?<=\s)(?:[fFbBsS]\*?|sh|EI|Do)(?=\s|$)")


def read_page(page: pymupdf.Page, *, form: bool) -> ReadPage:
    """Return the paragraphs of a page, and the reason why text could not be read.

    Args:
        page: the page.
        form: True if the document has form fields. The text of a field may be longer than the visible part.
    """
    flags = FLAGS & ~pymupdf.TEXT_MEDIABOX_CLIP if form else FLAGS
    drawn = page.get_textpage(flags=flags)
    blocks = [block for block in drawn.extractBLOCKS() if block[6] == 0]
    text = "".join(block[4] for block in blocks)
    reason = ""
    if len(STRANGE.findall(text)) + CID_LENGTH * text.count(CID) > STRANGE_SHARE * len(text):
        readable = _without_garbage(page, flags)
        if readable is not None:
            blocks, reason = readable, GARBAGE
    if any(map(is_interleaved, blocks)):
        blocks = _by_columns(page, flags, blocks)
    found = [clean(block[4]) for block in blocks]
    if not reason and not text.isascii() and right_to_left.FOUND.search(text):
        whole = _blocks(
            page, flags | pymupdf.TEXT_PRESERVE_LIGATURES
        )  # keep ligatures, because they can be split only after the letters are in reading order
        found = right_to_left.in_reading_order([clean(block[4]) for block in whole])
    return ReadPage(paragraphs=found, sizes=_sizes(drawn), reason=reason)


def _sizes(drawn: pymupdf.TextPage) -> list[float]:
    """Return the font size of each block: the largest size of the first letters of its first lines."""
    sizes = []
    for block in drawn.this:
        if block.m_internal.type == pymupdf.mupdf.FZ_STEXT_BLOCK_TEXT:
            letters = [line.m_internal.first_char for line in islice(block, LINES_EXAMINED)]
            sizes.append(max((letter.size for letter in letters if letter), default=0.0))
    return sizes


def picture_of(page: pymupdf.Page) -> GrayPicture:
    """Draw the page in shades of gray."""
    dpi = resolution_for(page.rect.width, page.rect.height)
    drawn = page.get_pixmap(dpi=dpi, colorspace=pymupdf.csGRAY, alpha=False)
    return GrayPicture(width=drawn.width, height=drawn.height, pixels=bytes(drawn.samples), dpi=dpi)


def why_textless(page: pymupdf.Page) -> str:
    """Return the reason why a page has no text; "" if the page is blank or shows only small pictures."""
    area = abs(page.rect)
    shown = sum(abs(pymupdf.Rect(image["bbox"]) & page.rect) for image in page.get_image_info())
    if area and shown >= SCANNED_SHARE * area:
        return PICTURE
    return (
        PICTURE if len(FILLED.findall(page.read_contents()[:MAX_EXAMINED_BYTES])) >= MIN_LETTER_SHAPES else ""
    )


def shows_something(page: pymupdf.Page) -> bool:
    """Return True if anything is drawn on the page."""
    return bool(page.get_images() or PAINTED.search(page.read_contents()[:MAX_EXAMINED_BYTES]))


def _blocks(page: pymupdf.Page, flags: int) -> Blocks:
    return [block for block in page.get_text("blocks", flags=flags) if block[6] == 0]


def _by_columns(page: pymupdf.Page, flags: int, blocks: Blocks) -> Blocks:
    """Return the blocks of the page. In a block with columns of prose, the lines are ordered by column."""
    drawn = [block["lines"] for block in page.get_text("dict", flags=flags)["blocks"] if block["type"] == 0]
    if len(drawn) != len(blocks):
        return blocks
    found = []
    for block, lines in zip(blocks, drawn, strict=True):
        text = block[4]
        if is_interleaved(block):
            text = in_reading_order(
                [
                    (line["bbox"][0], line["bbox"][2], "".join(span["text"] for span in line["spans"]))
                    for line in lines
                ],
                block,
            )
        found.append((*block[:4], text, *block[5:]))
    return found


def _without_garbage(page: pymupdf.Page, flags: int) -> Blocks | None:
    """Return the blocks of the page without garbage; None if the page has no garbage."""
    blocks = _blocks(page, flags & ~pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE)
    text = "".join(block[4] for block in blocks)
    if unknown_share(text) < GARBAGE_SHARE:
        return None
    return [(*block[:4], without_garbage(block[4].splitlines(keepends=True)), *block[5:]) for block in blocks]
