"""What a PDF is as a file, before any page is read: whole or cut short, open or locked, and whether its pages are the document."""

import re

import pymupdf

from cluster.records import NO_PAGE, Outcome
from data_jobs.stages.formats.contract import Unreadable

#: The end of a PDF is a reference to its table and a mark; generators leave out the one or the other.
END = re.compile(rb"startxref\s+\d+|%%EOF")
#: The beginning of an object; there are some behind the last end where a later one was cut off.
OBJECT = re.compile(rb"\d\s+\d+\s+obj\b")
#: A page tree is some levels deep.
MAX_DEPTH = 64
#: Pages whose drawing commands are looked at; and what these commands are made of, nearly always.
PAGES_TRIED, PRINTABLE_SHARE = 3, 0.95
COMMANDS = re.compile(rb"[\s\x20-\x7e]")


def refuse_cut_short(document: pymupdf.Document, data: bytes) -> None:
    """Refuse a file without its end: a reader mends what it can, and would call the half it finds the whole.

    What follows the end is no part of the document, however long it is, unless it holds objects.

    Raises:
        Unreadable: with the outcome ``corrupt``.
    """
    if not document.is_repaired:
        return
    last = max(data.rfind(b"%%EOF"), data.rfind(b"startxref"))
    if last < 0 or not END.match(data, last) or OBJECT.search(data, last):
        raise Unreadable(Outcome.CORRUPT, "is damaged or cut short: its end is missing")


def open_pages(document: pymupdf.Document) -> None:
    """Make its pages readable where nothing but a count or an empty password stands before them.

    Raises:
        Unreadable: it asks for a password.
    """
    if document.needs_pass and not document.authenticate("") and not _owner_has_no_password(document):
        raise Unreadable(
            Outcome.ENCRYPTED, "is protected by a password: remove the protection and ingest it again"
        )
    _mend_count(document)


def _owner_has_no_password(document: pymupdf.Document) -> bool:
    """True where the owner's password is empty, so that other readers open the document without one.

    MuPDF, as Acrobat, refuses the empty password of an owner, but has made the key of it by then (from revision 5 on). It is the
    right one where drawing commands can be read with it.
    """
    document.is_encrypted = False
    try:
        document.init_doc()
        for page in document.pages(0, min(PAGES_TRIED, document.page_count)):
            commands = page.read_contents()
            if commands and len(COMMANDS.findall(commands)) >= PRINTABLE_SHARE * len(commands):
                return True
    except (pymupdf.mupdf.FzErrorBase, RuntimeError, ValueError):
        pass  # what a wrong key makes of objects
    document.is_encrypted = True
    return False


def _mend_count(document: pymupdf.Document) -> None:
    """Where the number of pages contradicts the page tree, the tree is right: readers that trust the number lose pages."""
    mupdf = pymupdf.mupdf
    root = mupdf.pdf_dict_getp(mupdf.pdf_trailer(_pdf(document)), "Root/Pages")
    kids = mupdf.pdf_dict_gets(root, "Kids")
    count = mupdf.pdf_to_int(mupdf.pdf_dict_gets(root, "Count"))
    if not mupdf.pdf_is_array(kids) or (
        mupdf.pdf_array_len(kids) == count and not _is_node(mupdf.pdf_array_get(kids, 0))
    ):
        return
    if (
        sum(_count_of(mupdf.pdf_array_get(kids, place)) for place in range(mupdf.pdf_array_len(kids)))
        != count
    ):
        _count_leaves(root, set(), 0)


def _is_node(page: pymupdf.mupdf.PdfObj) -> bool:
    return bool(pymupdf.mupdf.pdf_is_array(pymupdf.mupdf.pdf_dict_gets(page, "Kids")))


def _count_of(node: pymupdf.mupdf.PdfObj) -> int:
    """Pages under a node, as it says itself."""
    return pymupdf.mupdf.pdf_to_int(pymupdf.mupdf.pdf_dict_gets(node, "Count")) if _is_node(node) else 1


def _count_leaves(node: pymupdf.mupdf.PdfObj, seen: set[int], depth: int) -> int:
    """Pages under a node, counted; every node on the way is told its number, and forgets kids that lead back to one above it."""
    mupdf = pymupdf.mupdf
    if not _is_node(node):
        return 1
    seen.add(mupdf.pdf_to_num(node))
    kids, pages = mupdf.pdf_dict_gets(node, "Kids"), 0
    for place in reversed(range(mupdf.pdf_array_len(kids))):
        kid = mupdf.pdf_array_get(kids, place)
        if depth == MAX_DEPTH or (_is_node(kid) and mupdf.pdf_to_num(kid) in seen):
            mupdf.pdf_array_delete(kids, place)
        else:
            pages += _count_leaves(kid, seen, depth + 1)
    mupdf.pdf_dict_puts(node, "Count", mupdf.pdf_new_int(pages))
    return pages


def not_in_its_pages(document: pymupdf.Document) -> dict[int, str]:
    """What the document holds that is on none of its pages, as ``ParsedDocument.unread``.

    Raises:
        Unreadable: its pages only say that another program is needed to see the document.
    """
    mupdf = pymupdf.mupdf
    root = mupdf.pdf_dict_gets(mupdf.pdf_trailer(_pdf(document)), "Root")
    if mupdf.pdf_to_bool(mupdf.pdf_dict_gets(root, "NeedsRendering")):
        how = "print it to a PDF with Adobe Reader, and ingest that"
        raise Unreadable(
            Outcome.UNSUPPORTED, f"is an XFA form, whose pages only Adobe's programs can make: {how}"
        )
    if mupdf.pdf_is_dict(mupdf.pdf_dict_gets(root, "Collection")) and (files := document.embfile_count()):
        what = "the file in it was" if files == 1 else f"the {files:,} files in it were"
        return {
            NO_PAGE: f"is a portfolio, and {what} not read: take them out and ingest them as documents of their own"
        }
    return {}


def _pdf(document: pymupdf.Document) -> pymupdf.mupdf.PdfDocument:
    return pymupdf.mupdf.pdf_document_from_fz_document(document.this)
