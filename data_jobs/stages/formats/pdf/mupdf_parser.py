"""Parse a PDF with PyMuPDF into one text per page. Paragraphs are in reading order, and their lines are
joined.

If the line breaks of a paragraph move, the text with joined lines stays the same, so an edit changes few
chunks. A page that cannot be read is reported with the reason, and the other pages are read.
"""

import zlib
from dataclasses import replace

import pymupdf

from cluster.records import Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.ocr.tesseract import recognise
from data_jobs.stages.formats.pdf.assembling import assembled
from data_jobs.stages.formats.pdf.faults import DAMAGED, check_page_count
from data_jobs.stages.formats.pdf.headings import OutlineEntry, ReadPage
from data_jobs.stages.formats.pdf.mupdf_page import picture_of, read_page, shows_something, why_textless
from data_jobs.stages.formats.pdf.mupdf_structure import content_outside_pages, open_pages, refuse_cut_short
from data_jobs.stages.parsing.out_of_memory import is_out_of_memory

#: Maximum number of bytes of drawing commands on a page. A page of text has kilobytes, and a very dense map
#: has some megabytes. A page with more bytes counts as an attack.
MAX_CONTENT_BYTES = 64 * 1024 * 1024
#: Maximum number of bytes that are inflated in one step to count the bytes.
INFLATE_BYTES = 1 << 20
ERRORS = (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError)
#: Message of zlib about a stream whose checksum is wrong, although all its bytes are there.
CHECKSUM = "incorrect data check"
#: Message of MuPDF about a stream that unpacks to thousands of times its size.
BOMB = "compression bomb"


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a PDF file.

    Args:
        data: the file.
        options: see ``ParseOptions``.

    Raises:
        Unreadable: the document has no text, or is damaged, protected or too large.
        MemoryError: the process ran out of memory.
    """
    pymupdf.TOOLS.mupdf_display_errors(False)
    pymupdf.TOOLS.mupdf_display_warnings(False)
    try:
        with pymupdf.open(stream=data, filetype="pdf") as document:
            refuse_cut_short(document, data)
            open_pages(document)
            return _read(document, options)
    except ERRORS as exc:
        if is_out_of_memory(exc):
            raise MemoryError from exc
        raise Unreadable(
            Outcome.CORRUPT, f"is damaged or cut short, and cannot be read as a PDF ({_first_line(exc)})"
        ) from exc


def _read(document: pymupdf.Document, options: ParseOptions) -> ParserOutput:
    count = document.page_count
    check_page_count(count, options)
    unread = content_outside_pages(document)
    first, last = options.part or (0, count)
    if options.ocr is not None and first < count:
        return recognise(picture_of(document.load_page(first)), options.ocr, page_count=count)
    form = bool(document.is_form_pdf)
    pages = [_page(document, number, form=form) for number in range(first, min(last, count))]
    return assembled(
        pages,
        options,
        count=count,
        unread=unread,
        shows_something=lambda: any(map(shows_something, document.pages())),
        outline=lambda: _outline(document),
        labels=lambda: _labels(document, first, len(pages)),
    )


def _outline(document: pymupdf.Document) -> list[OutlineEntry]:
    """Return the outline; empty if it is missing or damaged, because the text does not depend on it."""
    try:
        return [
            OutlineEntry(level=level, title=title, page=page - 1)
            for level, title, page, *_ in document.get_toc()
        ]
    except (*ERRORS, LookupError, TypeError) as exc:
        if is_out_of_memory(exc):
            raise
        return []


def _labels(document: pymupdf.Document, first: int, count: int) -> list[str]:
    """Return the labels of pages; empty if the document labels no page, or has damaged labels."""
    try:
        if document.xref_get_key(document.pdf_catalog(), "PageLabels")[0] == "null":
            return []
        return [document.load_page(first + place).get_label() for place in range(count)]
    except (*ERRORS, LookupError, TypeError) as exc:
        if is_out_of_memory(exc):
            raise
        return []


def _page(document: pymupdf.Document, number: int, *, form: bool) -> ReadPage:
    """Return the paragraphs of a page, and the reason why text is missing; "" if no text is missing.

    Raises:
        Unreadable: the page unpacks to too many bytes.
    """
    try:
        page = document.load_page(number)
        reason = DAMAGED if _is_damaged(document, page) else ""
        found = read_page(page, form=form)
        if not reason and not found.reason and not any(map(str.strip, found.paragraphs)):
            reason = why_textless(page)
    except ERRORS as exc:
        if is_out_of_memory(exc):
            raise
        if BOMB in str(exc):
            raise Unreadable(
                Outcome.TOO_LARGE, f"unpacks to many times its size on page {number + 1}"
            ) from exc
        return ReadPage(reason=DAMAGED)
    return replace(found, reason=reason) if reason else found


def _is_damaged(document: pymupdf.Document, page: pymupdf.Page) -> bool:
    """Return True if a part of the page's drawing commands is missing. Inflate the commands only to count
    bytes.

    Raises:
        Unreadable: the commands inflate to more than ``MAX_CONTENT_BYTES``.
    """
    total, damaged = 0, False
    for xref in page.get_contents():
        if not 0 < xref < document.xref_length() or not document.xref_is_stream(xref):
            damaged = True
            continue
        if document.xref_get_key(xref, "Filter")[1] not in {"/FlateDecode", "[/FlateDecode]"}:
            total += len(document.xref_stream(xref) or b"")  # this size is limited by the process's memory
            continue
        inflate, remaining = zlib.decompressobj(), document.xref_stream_raw(xref)
        while remaining and not inflate.eof and total <= MAX_CONTENT_BYTES:
            try:
                total += len(inflate.decompress(remaining, INFLATE_BYTES))
            except zlib.error as exc:
                # A wrong checksum loses no bytes. After any other fault, the rest of the stream is lost.
                damaged |= CHECKSUM not in str(exc)
                break
            remaining = inflate.unconsumed_tail
    if total > MAX_CONTENT_BYTES:
        limit = MAX_CONTENT_BYTES // (1024 * 1024)
        raise Unreadable(
            Outcome.TOO_LARGE,
            f"unpacks to more than {limit} MiB of drawing commands on page {page.number + 1}",
        )
    return damaged


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
