"""Read one page of a PDF: the paragraphs in reading order, or the reason why the page has no text."""

import re

import pymupdf

from data_jobs.stages.formats import right_to_left
from data_jobs.stages.formats.columns import Blocks, by_columns, is_interleaved
from data_jobs.stages.formats.text import clean

FLAGS = pymupdf.TEXT_MEDIABOX_CLIP | pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
#: The reasons why text of a page could not be read, for ``ParsedDocument.unread``.
PICTURE = "is a picture, which optical character recognition could read"
GARBAGE = "uses fonts that do not say which letters they draw: optical character recognition could read it"
DAMAGED = "is damaged"

#: Characters that come from fonts without a table of letters: control codes, private characters, and letters
#: of many scripts that real text does not mix. Such fonts also give "(cid:12)" (see ``CID``).
STRANGE = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u0180-\u02af\u0530-\u058f\u0700-\u08ff\u0980-\u0dff\u0e80-\u1cff"
    "\ua000-\uabff\ue000-\uf8ff\ufffd]"
)
CID, CID_LENGTH = "(cid:", len("(cid:12)")
#: A page with a larger share of strange characters is examined more closely.
STRANGE_SHARE = 0.05
#: A page contains garbage if at least this share of its characters is unknown. On such a page, lines with at
#: least this share of unknown characters are removed.
GARBAGE_SHARE = 0.2
UNKNOWN = "\ufffd"
PRIVATE = re.compile("[\ue000-\uf8ff]|\\(cid:\\d+\\)")

#: A page without text counts as a scan if pictures cover at least this share of the page.
SCANNED_SHARE = 0.5
#: If a page without text has at least this many filled shapes, the shapes count as drawn letters.
MIN_LETTER_SHAPES = 150
FILLED = re.compile(rb"(?<=\s)[fFbB]\*?(?=\s)")
#: Maximum number of bytes of drawing commands that are examined.
MAX_EXAMINED_BYTES = 1024 * 1024
#: Drawing commands that leave marks on the page.
PAINTED = re.compile(rb"(?<=\s)(?:[fFbBsS]\*?|sh|EI|Do)(?=\s|$)")


def paragraphs(page: pymupdf.Page, *, form: bool) -> tuple[list[str], str]:
    """Return the paragraphs of a page, and the reason why text could not be read; "" if all text was read.

    The lines of a paragraph end in ``\\n``.

    Args:
        form: True if the document has form fields. The text of a field may be longer than the visible part.
    """
    flags = FLAGS & ~pymupdf.TEXT_MEDIABOX_CLIP if form else FLAGS
    blocks = _blocks(page, flags)
    text = "".join(block[4] for block in blocks)
    reason = ""
    if len(STRANGE.findall(text)) + CID_LENGTH * text.count(CID) > STRANGE_SHARE * len(text):
        readable = _without_garbage(page, flags)
        if readable is not None:
            blocks, reason = readable, GARBAGE
    if any(map(is_interleaved, blocks)):
        blocks = by_columns(page, flags, blocks)
    found = [clean(block[4]) for block in blocks]
    if not reason and not text.isascii() and right_to_left.FOUND.search(text):
        whole = _blocks(
            page, flags | pymupdf.TEXT_PRESERVE_LIGATURES
        )  # keep ligatures, because they can be split only after the letters are in reading order
        found = right_to_left.in_reading_order([clean(block[4]) for block in whole])
    return found, reason


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


def _without_garbage(page: pymupdf.Page, flags: int) -> Blocks | None:
    """Return the blocks of the page without garbage; None if the page has no garbage."""
    blocks = _blocks(page, flags & ~pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE)
    text = "".join(block[4] for block in blocks)
    if _unknown_share(text) < GARBAGE_SHARE:
        return None
    kept = []
    for block in blocks:
        lines = [line for line in block[4].splitlines(keepends=True) if _unknown_share(line) < GARBAGE_SHARE]
        kept.append((*block[:4], "".join(lines).replace(UNKNOWN, ""), *block[5:]))
    return kept


def _unknown_share(text: str) -> float:
    """Return the share of characters that no font identifies, in [0, 1]; white space is not counted."""
    letters = len("".join(text.split()))
    return (text.count(UNKNOWN) + sum(map(len, PRIVATE.findall(text)))) / letters if letters else 0.0
