"""A folder of documents that fail in every known way, beside some that do not fail."""

import random
import zlib
from pathlib import Path

import pymupdf

from cluster.records import Outcome

SENTENCE = "Herons stand still for hours before they strike."
BOMB_BYTES = 512 * 1024 * 1024


def write_bad_documents(folder: Path) -> dict[str, Outcome]:
    """Write the documents; returns the expected outcome of each by file name."""
    good = pdf_of(SENTENCE)
    files: dict[str, tuple[bytes, Outcome]] = {
        "good.pdf": (good, Outcome.OK),
        "good.txt": (SENTENCE.encode(), Outcome.OK),
        "good.md": (f"# Birds\n\n{SENTENCE}".encode(), Outcome.OK),
        "truncated.pdf": (good[: len(good) // 2], Outcome.CORRUPT),
        "password.pdf": (encrypted(), Outcome.ENCRYPTED),
        "scanned.pdf": (image_only(), Outcome.NEEDS_OCR),
        "half_scanned.pdf": (half_scanned(), Outcome.PARTIAL_TEXT),
        "blank.pdf": (pdf_of(""), Outcome.EMPTY),
        "page.pdf": (f"<!doctype html><html><body><p>{SENTENCE}</p></body></html>".encode(), Outcome.OK),
        "empty.pdf": (b"", Outcome.EMPTY),
        "random.pdf": (random.Random(0).randbytes(50_000), Outcome.UNSUPPORTED),
        "archive.a": (b"!<arch>\n" + bytes(100), Outcome.UNSUPPORTED),
        "bomb.pdf": (bomb(), Outcome.TOO_LARGE),
    }
    for name, (content, _) in files.items():
        (folder / name).write_bytes(content)
    return {name: outcome for name, (_, outcome) in files.items()}


def pdf_of(text: str) -> bytes:
    """A PDF of one page with the text."""
    with pymupdf.open() as document:
        page = document.new_page()
        if text:
            page.insert_text((72, 72), text)
        return bytes(document.tobytes())


def encrypted() -> bytes:
    """A PDF of one page that needs a password."""
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), SENTENCE)
        return bytes(
            document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret", owner_pw="owner")
        )


def image_only() -> bytes:
    """A PDF whose page is a picture of text."""
    with pymupdf.open("pdf", pdf_of(SENTENCE)) as text, pymupdf.open() as document:
        picture = text[0].get_pixmap(dpi=50)
        page = document.new_page()
        page.insert_image(page.rect, pixmap=picture)
        return bytes(document.tobytes())


def half_scanned() -> bytes:
    """A PDF with a page of text and a page that is a picture of text."""
    with pymupdf.open("pdf", pdf_of(SENTENCE)) as document, pymupdf.open("pdf", image_only()) as scanned:
        document.insert_pdf(scanned)
        return bytes(document.tobytes())


def bomb() -> bytes:
    """A PDF whose page has half a gigabyte of drawing commands, compressed a thousand times."""
    packer = zlib.compressobj(9)
    block = b"0 0 m 1 1 l S " * 65_536
    stream = b"".join(packer.compress(block) for _ in range(BOMB_BYTES // len(block) + 1)) + packer.flush()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << >> >>",
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(stream), stream),
    ]
    written = b"%PDF-1.7\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    ending = b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(written)
    return written + b"xref\n0 5\n0000000000 65535 f \n" + table + ending
