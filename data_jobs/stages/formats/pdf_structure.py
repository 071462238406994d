"""Check a PDF before its pages are read: whether it is whole, open, and shows its content on its pages."""

import re

import pymupdf

from cluster.records import NO_PAGE, Outcome
from data_jobs.stages.formats.contract import Unreadable

#: A PDF ends with a reference to its table and an end mark; some generators omit one of them.
END = re.compile(rb"startxref\s+\d+|%%EOF")
#: The beginning of an object. Objects behind the last end mark belong to an update that was cut off.
OBJECT = re.compile(rb"\d\s+\d+\s+obj\b")
#: Deepest level of a page tree; real trees have a few levels.
MAX_DEPTH = 64
#: Pages examined for readable drawing commands, and the least share of printable characters in such commands.
PAGES_EXAMINED, PRINTABLE_SHARE = 3, 0.95
PRINTABLE = re.compile(rb"[\s\x20-\x7e]")


def refuse_cut_short(document: pymupdf.Document, data: bytes) -> None:
    """Refuse a file without its end: MuPDF would repair it and show the rest as the whole document.

    Bytes behind the end mark are ignored, however many there are, unless they contain objects.

    Raises:
        Unreadable: with the outcome ``corrupt``.
    """
    if not document.is_repaired:
        return
    last = max(data.rfind(b"%%EOF"), data.rfind(b"startxref"))
    if last < 0 or not END.match(data, last) or OBJECT.search(data, last):
        raise Unreadable(Outcome.CORRUPT, "is damaged or cut short: its end is missing")


def open_pages(document: pymupdf.Document) -> None:
    """Unlock a document with an empty password, and correct its number of pages.

    Raises:
        Unreadable: the document needs a password.
    """
    if document.needs_pass and not document.authenticate("") and not _owner_has_no_password(document):
        raise Unreadable(
            Outcome.ENCRYPTED, "is protected by a password: remove the protection and ingest it again"
        )
    _correct_page_count(document)


def _owner_has_no_password(document: pymupdf.Document) -> bool:
    """True if the owner password is empty, so that other readers open the document without one.

    MuPDF, like Acrobat, refuses an empty owner password, but has derived the key from it by then (from
    revision 5 on). The key is right if the drawing commands are readable with it.
    """
    document.is_encrypted = False
    try:
        document.init_doc()
        for page in document.pages(0, min(PAGES_EXAMINED, document.page_count)):
            commands = page.read_contents()
            if commands and len(PRINTABLE.findall(commands)) >= PRINTABLE_SHARE * len(commands):
                return True
    except (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError):
        pass  # the key is wrong
    document.is_encrypted = True
    return False


def _correct_page_count(document: pymupdf.Document) -> None:
    """Correct the number of pages if it contradicts the page tree, because MuPDF would lose pages."""
    mupdf = pymupdf.mupdf
    root = mupdf.pdf_dict_getp(mupdf.pdf_trailer(_pdf(document)), "Root/Pages")
    kids = mupdf.pdf_dict_gets(root, "Kids")
    count = mupdf.pdf_to_int(mupdf.pdf_dict_gets(root, "Count"))
    if not mupdf.pdf_is_array(kids) or (
        mupdf.pdf_array_len(kids) == count and not _is_node(mupdf.pdf_array_get(kids, 0))
    ):
        return
    if (
        sum(_count_of(mupdf.pdf_array_get(kids, index)) for index in range(mupdf.pdf_array_len(kids)))
        != count
    ):
        _count_leaves(root, set(), 0)


def _is_node(page: pymupdf.mupdf.PdfObj) -> bool:
    return bool(pymupdf.mupdf.pdf_is_array(pymupdf.mupdf.pdf_dict_gets(page, "Kids")))


def _count_of(node: pymupdf.mupdf.PdfObj) -> int:
    """Number of pages below a node, as the node states it."""
    return pymupdf.mupdf.pdf_to_int(pymupdf.mupdf.pdf_dict_gets(node, "Count")) if _is_node(node) else 1


def _count_leaves(node: pymupdf.mupdf.PdfObj, seen: set[int], depth: int) -> int:
    """Count the pages below a node, correct the counts of nodes, and delete kids that form a loop."""
    mupdf = pymupdf.mupdf
    if not _is_node(node):
        return 1
    seen.add(mupdf.pdf_to_num(node))
    kids, pages = mupdf.pdf_dict_gets(node, "Kids"), 0
    for index in reversed(range(mupdf.pdf_array_len(kids))):
        kid = mupdf.pdf_array_get(kids, index)
        if depth == MAX_DEPTH or (_is_node(kid) and mupdf.pdf_to_num(kid) in seen):
            mupdf.pdf_array_delete(kids, index)
        else:
            pages += _count_leaves(kid, seen, depth + 1)
    mupdf.pdf_dict_puts(node, "Count", mupdf.pdf_new_int(pages))
    return pages


def content_outside_pages(document: pymupdf.Document) -> dict[int, str]:
    """Content that is on no page of the document, as ``ParsedDocument.unread``.

    Raises:
        Unreadable: the pages only say that another program is needed to see the document.
    """
    mupdf = pymupdf.mupdf
    root = mupdf.pdf_dict_gets(mupdf.pdf_trailer(_pdf(document)), "Root")
    if mupdf.pdf_to_bool(mupdf.pdf_dict_gets(root, "NeedsRendering")):
        how = "print it to a PDF with Adobe Reader, and ingest that"
        raise Unreadable(
            Outcome.UNSUPPORTED, f"is an XFA form, whose pages only Adobe's programs can draw: {how}"
        )
    if mupdf.pdf_is_dict(mupdf.pdf_dict_gets(root, "Collection")) and (files := document.embfile_count()):
        what = "the file in it was" if files == 1 else f"the {files:,} files in it were"
        return {
            NO_PAGE: f"is a portfolio, and {what} not read: "
            "take them out and ingest them as documents of their own"
        }
    return {}


def _pdf(document: pymupdf.Document) -> pymupdf.mupdf.PdfDocument:
    return pymupdf.mupdf.pdf_document_from_fz_document(document.this)
