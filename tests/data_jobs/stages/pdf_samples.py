"""PDFs as other programs write them, made by PyMuPDF or, if no library would write them, byte by byte."""

from collections.abc import Sequence

import pymupdf

from tests.data_jobs.stages.bad_documents import SENTENCE, pdf_of

CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
FIRST_PAGE = 4


def written(objects: Sequence[bytes]) -> bytes:
    """A file with these objects, numbered from 1; the first is its catalog."""
    file, places = b"%PDF-1.7\n", []
    for number, content in enumerate(objects, start=1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    ending = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(file))
    return file + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + ending


def pages(count: int) -> list[bytes]:
    """The objects of a document whose pages say "This is page 1." and so on.

    Page n is object 2n + 2, and its drawing commands are object 2n + 3.
    """
    kids = b" ".join(b"%d 0 R" % (FIRST_PAGE + 2 * place) for place in range(count))
    objects = [
        CATALOG,
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, count),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for place in range(count):
        number = FIRST_PAGE + 2 * place
        page = (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R >> >> >>"
        )
        objects += [
            page % (number + 1),
            stream(b"BT /F 12 Tf 72 700 Td (This is page %d.) Tj ET" % (place + 1)),
        ]
    return objects


def stream(commands: bytes, extra: bytes = b"") -> bytes:
    """An object with drawing commands."""
    return b"<< /Length %d %s>>\nstream\n%s\nendstream" % (len(commands), extra, commands)


def replaced(count: int, number: int, old: bytes, new: bytes) -> bytes:
    """A document with this many pages, one of whose objects is replaced."""
    objects = pages(count)
    assert old in objects[number - 1]
    objects[number - 1] = objects[number - 1].replace(old, new)
    return written(objects)


def mostly_scanned() -> bytes:
    """A page of text, eight pictures of pages, a page with a small picture, a blank page."""
    with pymupdf.open("pdf", pdf_of(SENTENCE)) as text, pymupdf.open() as document:
        picture = text[0].get_pixmap(dpi=30)
        document.new_page().insert_text((72, 72), SENTENCE)
        for _ in range(8):
            page = document.new_page()
            page.insert_image(page.rect, pixmap=picture)
        document.new_page().insert_image((72, 72, 144, 144), pixmap=picture)
        document.new_page()
        return bytes(document.tobytes())


def lines_of(*lines: str, font: str | None = None, at: float = 72) -> bytes:
    """A page with these lines below each other, in a font from a file or in Helvetica."""
    with pymupdf.open() as document:
        named = {"fontname": "named", "fontfile": font} if font else {}
        document.new_page().insert_text((72, at), list(lines), **named)
        return bytes(document.tobytes())


def without_letters(*lines: str, font: str, readable: Sequence[str] = ()) -> bytes:
    """A page with one font that does not name its letters and one that does."""
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_text((72, 72), list(lines), fontname="named", fontfile=font)
        if readable:
            page.insert_text((72, 400), list(readable))
        (xref,) = [found[0] for found in document.get_page_fonts(0) if found[4] == "named"]
        document.xref_set_key(xref, "ToUnicode", "null")
        return bytes(document.tobytes())


def row_by_row(left: Sequence[str], right: Sequence[str], heading: str = "") -> bytes:
    """Two columns, drawn line by line across the page."""
    with pymupdf.open() as document:
        page = document.new_page()
        if heading:
            page.insert_text((72, 58), heading)
        for number, (first, second) in enumerate(zip(left, right, strict=True)):
            page.insert_text((72, 72 + 14 * number), first)
            page.insert_text((320, 72 + 14 * number), second)
        return bytes(document.tobytes())


def portfolio(cover: str) -> bytes:
    """A portfolio: a cover page, and two embedded files."""
    with pymupdf.open("pdf", pdf_of(cover)) as document:
        for name in ("a.pdf", "b.pdf"):
            document.embfile_add(name, pdf_of(SENTENCE))
        document.xref_set_key(document.pdf_catalog(), "Collection", "<< /Type /Collection >>")
        return bytes(document.tobytes())


def xfa() -> bytes:
    """An XFA form, which only Adobe's programs draw; its page asks the reader to use them."""
    with pymupdf.open(
        "pdf", pdf_of("Please wait... If this message is not eventually replaced, upgrade.")
    ) as document:
        document.xref_set_key(document.pdf_catalog(), "NeedsRendering", "true")
        return bytes(document.tobytes())


def filled_form(value: str) -> bytes:
    """A form with a field that is too small for its text."""
    with pymupdf.open("pdf", pdf_of("Remarks")) as document:
        widget = pymupdf.Widget()
        widget.field_type, widget.field_name = pymupdf.PDF_WIDGET_TYPE_TEXT, "remarks"
        widget.rect, widget.field_value, widget.field_flags = (
            pymupdf.Rect(72, 100, 200, 130),
            value,
            pymupdf.PDF_TX_FIELD_IS_MULTILINE,
        )
        document[0].add_widget(widget)
        return bytes(document.tobytes())
