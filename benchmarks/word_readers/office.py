"""Readers of office documents: python-docx, python-pptx, openpyxl and odfpy."""

import io
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import docx
import openpyxl
import pptx
from docx.table import Table
from odf.opendocument import load

#: What these libraries raise for a file that they cannot open.
UNREADABLE = (KeyError, ValueError, OSError, AttributeError, NotImplementedError)

#: Elements of OpenDocument that separate words: blocks, notes and frames; spaces.
APART = frozenset({"p", "h", "note", "note-citation", "note-body", "frame", "annotation", "line-break"})
SPACES = frozenset({"s", "tab"})


def read_docx(data: bytes, _: str) -> str:
    """The paragraphs and tables of the body, by python-docx; "" if it cannot open the file."""
    try:
        return "\n".join(_docx_texts(docx.Document(io.BytesIO(data)).iter_inner_content()))
    except UNREADABLE:
        return ""


def _docx_texts(blocks: Iterable[Any]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Table):
            seen = set[Any]()  # a merged cell is in several places of the grid
            for row in block.rows:
                for cell in row.cells:
                    if cell._tc not in seen:
                        seen.add(cell._tc)
                        yield from _docx_texts(cell.iter_inner_content())
        else:
            yield block.text


def read_pptx(data: bytes, _: str) -> str:
    """The texts, tables and notes of all slides, by python-pptx; "" if it cannot open the file."""
    try:
        slides = pptx.Presentation(io.BytesIO(data)).slides
        return "\n".join(text for slide in slides for text in _slide_texts(slide))
    except UNREADABLE:
        return ""


def _slide_texts(slide: Any) -> Iterator[str]:
    waiting = list(slide.shapes)
    while waiting:
        shape = waiting.pop()
        waiting += getattr(shape, "shapes", ())  # of a group
        if shape.has_text_frame:
            yield shape.text_frame.text
        if getattr(shape, "has_table", False) and shape.has_table:
            for row in shape.table.rows:
                for cell in row.cells:
                    yield cell.text_frame.text
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield slide.notes_slide.notes_text_frame.text


def read_xlsx(data: bytes, _: str) -> str:
    """The texts of all cells, by openpyxl; "" if it cannot open the file. Numbers are left out, because their
    format decides how they look.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(io.BytesIO(data), data_only=True)
    except UNREADABLE:
        return ""
    rows = [row for sheet in book.worksheets if sheet.sheet_state == "visible" for row in sheet.values]
    return "\n".join(cell for row in rows for cell in row if isinstance(cell, str))


def read_open_document(data: bytes, _: str) -> str:
    """The headings and paragraphs of a text, presentation or spreadsheet, by odfpy; "" if it cannot open the
    file.
    """
    try:
        document = load(io.BytesIO(data))
    except UNREADABLE:
        return ""
    return "".join(_open_document_texts(document.body))


def _open_document_texts(body: Any) -> Iterator[str]:
    """Yield the text of headings and paragraphs. A paragraph may hold notes and frames with paragraphs."""
    waiting: list[tuple[Any, bool]] = [(body, False)]
    while waiting:
        node, is_text = waiting.pop()
        if isinstance(node, str):
            yield node
        elif node.nodeType == node.TEXT_NODE:
            yield node.data if is_text else ""
        else:
            kind = node.qname[1]
            edge = "\n" if kind in APART else " " if kind in SPACES else ""
            is_text = is_text or kind in {"p", "h"}
            parts = [edge, *node.childNodes, edge]
            waiting += [(part, is_text) for part in reversed(parts)]
