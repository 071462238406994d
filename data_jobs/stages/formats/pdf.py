"""PDF to text by PyMuPDF: a text for each page, paragraphs in reading order, lines of a paragraph joined.

Joining lines keeps the text the same when a paragraph is set anew, so that an edit changes few chunks.
"""

import re
import zlib

import pymupdf

from cluster.records import Outcome
from data_jobs.stages.formats.reading import Reading
from data_jobs.stages.formats.text import clean
from data_jobs.stages.formats.unreadable import Unreadable

#: A page of text is some kilobytes of drawing commands, a very dense map some megabytes; beyond this it is an attack.
MAX_CONTENT_BYTES = 64 * 1024 * 1024
COUNTED_AT_ONCE = 1 << 20
FLAGS = pymupdf.TEXT_DEHYPHENATE | pymupdf.TEXT_MEDIABOX_CLIP | pymupdf.TEXT_CID_FOR_UNKNOWN_UNICODE
END_MARK = b"%%EOF"
#: Readers accept this much after the mark.
END_MARK_WITHIN = 1024
LINE_END = re.compile(r"\s*\n\s*")


def parse(data: bytes, *, max_pages: int, part: tuple[int, int] | None = None) -> Reading:
    """The text of each page, "" for a page without, and how many pages the document has.

    Args:
        data: the file.
        max_pages: a longer document is refused.
        part: only the pages from the first of these numbers, counted from 0, to before the second; they may all be without text.

    Raises:
        Unreadable: with the outcome and a sentence.
    """
    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    try:
        with pymupdf.open(stream=data, filetype="pdf") as document:
            # A reader mends what it can, and would call the half it finds the whole.
            if document.is_repaired and END_MARK not in data[-END_MARK_WITHIN:]:
                raise Unreadable(Outcome.CORRUPT, "is damaged or cut short: its end is missing")
            return Reading(pages=_pages(document, max_pages, part), page_count=document.page_count)
    except (MemoryError, pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError) as exc:
        if isinstance(exc, MemoryError) or "malloc" in str(exc) or "memory" in str(exc).lower():
            raise Unreadable(Outcome.TOO_LARGE, "needs more memory to open than one document may use") from exc
        raise Unreadable(Outcome.CORRUPT, f"is damaged or cut short, and cannot be read as a PDF ({_first_line(exc)})") from exc


def _pages(document: pymupdf.Document, max_pages: int, part: tuple[int, int] | None) -> list[str]:
    if document.needs_pass:
        raise Unreadable(Outcome.ENCRYPTED, "is protected by a password: remove the protection and ingest it again")
    if document.page_count == 0:
        raise Unreadable(Outcome.CORRUPT, "is damaged or cut short: no page of it can be found")
    if document.page_count > max_pages:
        raise Unreadable(Outcome.TOO_LARGE, f"has {document.page_count:,} pages; the limit is {max_pages:,} (CLUSTER_MAX_DOCUMENT_PAGES)")
    texts = []
    first, last = part or (0, document.page_count)
    for page in document.pages(first, min(last, document.page_count)):
        _refuse_bomb(document, page)
        texts.append(_text(page))
    if part is None and not any(texts):
        raise _no_text(document)
    return texts


def _text(page: pymupdf.Page) -> str:
    blocks = (block[4] for block in page.get_text("blocks", flags=FLAGS) if block[6] == 0)
    paragraphs = (LINE_END.sub(" ", clean(text)).strip() for text in blocks)
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def _refuse_bomb(document: pymupdf.Document, page: pymupdf.Page) -> None:
    """Count what the page's drawing commands inflate to, without keeping it."""
    total = 0
    for xref in page.get_contents():
        if document.xref_get_key(xref, "Filter")[1] not in {"/FlateDecode", "[/FlateDecode]"}:
            total += len(document.xref_stream(xref) or b"")  # the process's memory limit stands guard here
            continue
        inflate, left = zlib.decompressobj(), document.xref_stream_raw(xref)
        while left and not inflate.eof and total <= MAX_CONTENT_BYTES:
            try:
                total += len(inflate.decompress(left, COUNTED_AT_ONCE))
            except zlib.error:
                break  # PyMuPDF reads what can be read of it
            left = inflate.unconsumed_tail
    if total > MAX_CONTENT_BYTES:
        limit = MAX_CONTENT_BYTES // (1024 * 1024)
        raise Unreadable(Outcome.TOO_LARGE, f"unpacks to more than {limit} MiB of drawing commands on page {page.number + 1}")


def _no_text(document: pymupdf.Document) -> Unreadable:
    if any(page.get_images() or page.get_drawings() for page in document.pages()):
        return Unreadable(Outcome.NEEDS_OCR, "holds pictures of text only: run optical character recognition on it first")
    return Unreadable(Outcome.EMPTY, "has pages, but nothing is on them")


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
