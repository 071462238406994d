"""Check that a PDF is complete and unlocked, and that its pages show all its content."""

import re

import pymupdf

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable
from data_jobs.stages.formats.pdf.faults import PASSWORD, XFA, check_end, portfolio

#: Maximum depth of a page tree; real trees have a few levels.
MAX_DEPTH = 64
#: Maximum number of pages that are examined for readable drawing commands, and minimum share of printable
#: characters in readable commands.
PAGES_EXAMINED, PRINTABLE_SHARE = 3, 0.95
PRINTABLE = re.compile(rb"[\s\x20-\x7e]")


def refuse_cut_short(document: pymupdf.Document, data: bytes) -> None:
    """Refuse a file without its end, because MuPDF would repair the file and show the rest as the whole
    document.

    Raises:
        Unreadable: the end is missing; the outcome is ``corrupt``.
    """
    if not document.is_repaired:
        return
    check_end(data)


def open_pages(document: pymupdf.Document) -> None:
    """Unlock a protected document with an empty password, and correct the number of pages of the document.

    Raises:
        Unreadable: the document needs a password.
    """
    if document.needs_pass and not document.authenticate("") and not _owner_has_no_password(document):
        raise Unreadable(Outcome.ENCRYPTED, PASSWORD)
    _correct_page_count(document)


def _owner_has_no_password(document: pymupdf.Document) -> bool:
    """Return True if the owner password is empty, and then leave the document unlocked. Other programs open
    such a document without a password.

    MuPDF, like Acrobat, refuses an empty owner password. But before MuPDF refuses the password, MuPDF
    derives the key from the password (from revision 5 of the PDF encryption on). The key is right if it makes
    the drawing commands readable.
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
    """Correct a number of pages that contradicts the page tree, because MuPDF would lose pages."""
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
    """Return the number of pages below a node, as the node says; 1 for a page."""
    return pymupdf.mupdf.pdf_to_int(pymupdf.mupdf.pdf_dict_gets(node, "Count")) if _is_node(node) else 1


def _count_leaves(node: pymupdf.mupdf.PdfObj, seen: set[int], depth: int) -> int:
    """Return the number of pages below a node. Correct the counts of nodes, and delete kids that form a loop
    or are deeper than ``MAX_DEPTH``.
    """
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
    """Return the reason why the pages do not show all content, in the form of ``ParsedDocument.unread``;
    empty if the pages show all content.

    Raises:
        Unreadable: the document is an XFA form, whose pages only say that another program is needed.
    """
    mupdf = pymupdf.mupdf
    root = mupdf.pdf_dict_gets(mupdf.pdf_trailer(_pdf(document)), "Root")
    if mupdf.pdf_to_bool(mupdf.pdf_dict_gets(root, "NeedsRendering")):
        raise Unreadable(Outcome.UNSUPPORTED, XFA)
    if mupdf.pdf_is_dict(mupdf.pdf_dict_gets(root, "Collection")) and (files := document.embfile_count()):
        return portfolio(files)
    return {}


def _pdf(document: pymupdf.Document) -> pymupdf.mupdf.PdfDocument:
    return pymupdf.mupdf.pdf_document_from_fz_document(document.this)
