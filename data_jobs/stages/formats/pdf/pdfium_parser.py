"""Parse a PDF with PDFium into one text per page, for operators who do not accept the licence of PyMuPDF.

``CLUSTER_PDF_PARSER=pdfium`` chooses this parser. The text follows the same rules as the
text of ``mupdf_parser``; the handbook lists the differences (docs/how-a-document-travels.md).
"""

import re
from dataclasses import replace

import pypdfium2.raw as pdfium
from pypdfium2 import PdfDocument, PdfiumError

from cluster.records import NO_PAGE, Outcome
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput, Unreadable
from data_jobs.stages.formats.ocr.tesseract import recognise
from data_jobs.stages.formats.pdf.assembling import assembled
from data_jobs.stages.formats.pdf.faults import (
    DAMAGED,
    PASSWORD,
    XFA,
    check_end,
    check_page_count,
    portfolio,
)
from data_jobs.stages.formats.pdf.headings import OutlineEntry, ReadPage
from data_jobs.stages.formats.pdf.pdfium_page import (
    load_page,
    picture_of,
    read_page,
    shows_something,
    why_textless,
)

#: Marks of a portfolio, of a form that only Adobe's programs can draw, and of a page. PDFium does not show
#: these entries, so they are searched for in the bytes; marks in compressed objects are not found.
COLLECTION = re.compile(rb"/Collection\b")
ADOBE_ONLY = re.compile(rb"/NeedsRendering\s+true\b")
PAGE = re.compile(rb"/Type\s*/Page\b")
REVISION = b"startxref"


def parse(data: bytes, options: ParseOptions) -> ParserOutput:
    """Parse a PDF file.

    Args:
        data: the file.
        options: see ``ParseOptions``.

    Raises:
        Unreadable: the document has no text, or is damaged, protected or too large.
        MemoryError: the recognition ran out of memory.
    """
    check_end(data)
    try:
        with PdfDocument(data) as document:
            return _read(document, data, options)
    except PdfiumError as exc:
        if exc.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise Unreadable(Outcome.ENCRYPTED, PASSWORD) from exc
        raise Unreadable(
            Outcome.CORRUPT, f"is damaged or cut short, and cannot be read as a PDF ({exc})"
        ) from exc


def _read(document: PdfDocument, data: bytes, options: ParseOptions) -> ParserOutput:
    count = len(document)
    check_page_count(count, options)
    if ADOBE_ONLY.search(data):
        raise Unreadable(Outcome.UNSUPPORTED, XFA)
    unread = _outside_pages(document, data)
    first, last = options.part or (0, count)
    if options.ocr is not None and first < count:
        return recognise(picture_of(document[first]), options.ocr, page_count=count)
    form = document.get_formtype() != pdfium.FORMTYPE_NONE
    if form:
        document.init_forms()  # give an appearance to the fields that have none
    pages = [_page(document, number, form=form) for number in range(first, min(last, count))]
    return assembled(
        pages,
        options,
        count=count,
        unread=unread,
        shows_something=lambda: any(map(shows_something, document)),
        outline=lambda: _outline(document),
        labels=lambda: _labels(document, first, len(pages)),
    )


def _labels(document: PdfDocument, first: int, count: int) -> list[str]:
    """Return the labels of pages; empty if the document labels none of them."""
    labels = [document.get_page_label(first + place) for place in range(count)]
    return labels if any(labels) else []


def _outline(document: PdfDocument) -> list[OutlineEntry]:
    """Return the outline; empty if the document has none."""
    found = []
    for entry in document.get_toc():
        place = entry.get_dest()
        page = place.get_index() if place else None
        if page is not None:
            found.append(OutlineEntry(level=entry.level + 1, title=entry.get_title(), page=page))
    return found


def _outside_pages(document: PdfDocument, data: bytes) -> dict[int, str]:
    """Return the reason why the pages do not show all content, in the form of ``ParsedDocument.unread``.

    The result is empty if no reason is found.
    """
    if COLLECTION.search(data) and (files := document.count_attachments()):
        return portfolio(files)
    found = len(PAGE.findall(data)) if data.count(REVISION) == 1 else 0  # older revisions have pages, too
    if found > len(document):
        return {NO_PAGE: f"holds {found:,} pages, but its page tree says {len(document):,}, which were read"}
    return {}


def _page(document: PdfDocument, number: int, *, form: bool) -> ReadPage:
    """Return the paragraphs of a page, and the reason why text is missing; "" if no text is missing."""
    try:
        page = load_page(document, number)
        try:
            found = read_page(page, form=form)
            if not found.reason and not any(map(str.strip, found.paragraphs)):
                return replace(found, reason=why_textless(page))
            return found
        finally:
            page.close()
    except PdfiumError:
        return ReadPage(reason=DAMAGED)
