"""One page of a PDF as its paragraphs in reading order, or the reason why it has none."""

import re

import pymupdf

from data_jobs.stages.formats import right_to_left
from data_jobs.stages.formats.columns import Blocks, by_columns, is_interleaved
from data_jobs.stages.formats.text import clean

FLAGS = pymupdf.TEXT_MEDIABOX_CLIP | pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
#: Reasons, as ``ParsedDocument.unread`` has them.
PICTURE = "is a picture, which optical character recognition could read"
GARBAGE = "uses fonts that do not say which letters they draw: optical character recognition could read it"
DAMAGED = "is damaged"

#: What comes of fonts without a table of letters: control codes, private characters, scripts that no text mixes, "(cid:12)".
STRANGE = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u0180-\u02af\u0530-\u058f\u0700-\u08ff\u0980-\u0dff\u0e80-\u1cff\ua000-\uabff\ue000-\uf8ff\ufffd]"
)
CID, CID_LENGTH = "(cid:", len("(cid:12)")
#: A page with a larger share of strange characters is looked at again.
STRANGE_SHARE = 0.05
#: With a larger share of letters that no font names, it is garbage; a line of a good page too.
GARBAGE_SHARE = 0.2
UNKNOWN = "\ufffd"
PRIVATE = re.compile("[\ue000-\uf8ff]|\\(cid:\\d+\\)")

#: Of the page's area: a larger picture on a page without text is a scan.
SCANNED_SHARE = 0.5
#: So many filled shapes on a page without text are its letters.
SHAPES = 150
FILLED = re.compile(rb"(?<=\s)[fFbB]\*?(?=\s)")
#: Bytes of drawing commands that are looked at.
LOOKED_AT = 1024 * 1024
#: Commands that leave something on the page.
PAINTED = re.compile(rb"(?<=\s)(?:[fFbBsS]\*?|sh|EI|Do)(?=\s|$)")


def paragraphs(page: pymupdf.Page, *, form: bool) -> tuple[list[str], str]:
    """Its paragraphs, lines ending in ``\\n``; and why some or all of its text could not be read, "" where all was.

    Args:
        form: the document has fields, which hold more text than they show.
    """
    flags = FLAGS & ~pymupdf.TEXT_MEDIABOX_CLIP if form else FLAGS
    blocks = _blocks(page, flags)
    text = "".join(block[4] for block in blocks)
    reason = ""
    if len(STRANGE.findall(text)) + CID_LENGTH * text.count(CID) > STRANGE_SHARE * len(text):
        readable = _readable(page, flags)
        if readable is not None:
            blocks, reason = readable, GARBAGE
    if any(map(is_interleaved, blocks)):
        blocks = by_columns(page, flags, blocks)
    found = [clean(block[4]) for block in blocks]
    if not reason and not text.isascii() and right_to_left.FOUND.search(text):
        whole = _blocks(
            page, flags | pymupdf.TEXT_PRESERVE_LIGATURES
        )  # taken apart only once their letters are in order
        found = right_to_left.in_reading_order([clean(block[4]) for block in whole])
    return found, reason


def why_textless(page: pymupdf.Page) -> str:
    """What a page without text shows that may be text; "" where it is blank or shows small pictures only."""
    area = abs(page.rect)
    shown = sum(abs(pymupdf.Rect(image["bbox"]) & page.rect) for image in page.get_image_info())
    if area and shown >= SCANNED_SHARE * area:
        return PICTURE
    return PICTURE if len(FILLED.findall(page.read_contents()[:LOOKED_AT])) >= SHAPES else ""


def shows_something(page: pymupdf.Page) -> bool:
    """True where anything is drawn on it."""
    return bool(page.get_images() or PAINTED.search(page.read_contents()[:LOOKED_AT]))


def _blocks(page: pymupdf.Page, flags: int) -> Blocks:
    return [block for block in page.get_text("blocks", flags=flags) if block[6] == 0]


def _readable(page: pymupdf.Page, flags: int) -> Blocks | None:
    """The page's text without the garbage; None where it holds no garbage."""
    blocks = _blocks(page, flags & ~pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE)
    text = "".join(block[4] for block in blocks)
    if _unknown(text) < GARBAGE_SHARE:
        return None
    kept = []
    for block in blocks:
        lines = [line for line in block[4].splitlines(keepends=True) if _unknown(line) < GARBAGE_SHARE]
        kept.append((*block[:4], "".join(lines).replace(UNKNOWN, ""), *block[5:]))
    return kept


def _unknown(text: str) -> float:
    """Share of its letters that are unknown."""
    letters = len("".join(text.split()))
    return (text.count(UNKNOWN) + sum(map(len, PRIVATE.findall(text)))) / letters if letters else 0.0
