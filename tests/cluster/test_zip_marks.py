"""Documents that are ZIP files are recognised by their entries, from the whole file or its beginning."""

import io
import random
import zipfile
from collections.abc import Mapping
from typing import IO

import pytest

from cluster.file_beginning import SNIFFED_BYTES
from cluster.formats import recognise

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
POWERPOINT = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
BINARY_EXCEL = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
ODT, EPUB, ZIP = "application/vnd.oasis.opendocument.text", "application/epub+zip", "application/zip"
TYPES = "[Content_Types].xml"
NOISE = random.Random(1).randbytes(2 * SNIFFED_BYTES)


class Stream(io.RawIOBase):
    """A file that cannot seek, so that the sizes of an entry follow after its bytes."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.written += bytes(data)
        return len(data)


def packed(
    entries: Mapping[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, to: IO[bytes] | None = None
) -> bytes:
    file = to or io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.written if isinstance(file, Stream) else file.getvalue()  # type: ignore[attr-defined,no-any-return]


DOCUMENTS = {
    "word": ({TYPES: b"<Types/>", "_rels/.rels": b"x", "word/document.xml": b"<w/>"}, WORD),
    "word, types last": ({"word/numbering.xml": b"<w/>" * 99, TYPES: b"<Types/>"}, WORD),
    "excel as openpyxl writes it": (
        {"docProps/app.xml": b"x", "xl/worksheets/sheet1.xml": b"x", TYPES: b"x"},
        EXCEL,
    ),
    "binary excel": ({TYPES: b"x", "xl/workbook.bin": b"x", "xl/styles.xml": b"x"}, BINARY_EXCEL),
    "powerpoint": ({TYPES: b"x", "ppt/presentation.xml": b"x"}, POWERPOINT),
    "names with backslashes": ({TYPES: b"x", "word\\document.xml": b"x"}, WORD),
    "opendocument": ({"mimetype": ODT.encode(), "content.xml": b"x", "META-INF/manifest.xml": b"x"}, ODT),
    "opendocument template": ({"mimetype": ODT.encode() + b"-template", "content.xml": b"x"}, ODT),
    "e-book": ({"mimetype": EPUB.encode() + b"\n", "META-INF/container.xml": b"x"}, EPUB),
    "e-book without its type": ({"META-INF/container.xml": b"x", "a.xhtml": b"x"}, EPUB),
    "archive of texts": ({"a.txt": b"text", "b/c.md": b"# text"}, ZIP),
    "java archive": ({"META-INF/MANIFEST.MF": b"x", "word.class": b"x"}, ZIP),
    "archive of a document": ({"report.docx": b"x", "word/report.docx": b"x"}, ZIP),
    "package of .NET": ({TYPES: b"x", "lib/a.dll": b"x", "_rels/.rels": b"x"}, ZIP),
    "a text named mimetype": ({"mimetype": b"the type of a file is ..."}, ZIP),
    "nothing": ({}, ZIP),
}


@pytest.mark.parametrize(("entries", "expected"), DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_the_entries_decide(entries: dict[str, bytes], expected: str, method: int) -> None:
    data = packed(entries, method=method)
    assert recognise(data, name="a.txt").media_type == expected
    assert recognise(data[:-30], name="a.txt").media_type == expected or not entries


def test_sizes_may_follow_the_bytes_of_an_entry() -> None:
    data = packed({TYPES: b"<Types/>" * 500, "word/document.xml": b"<w/>"}, to=Stream())
    assert data[6] & 8
    assert recognise(data[:-30], name="a").media_type == WORD


def test_the_directory_decides_behind_a_large_picture() -> None:
    data = packed({"docProps/thumbnail.jpeg": NOISE, TYPES: b"x", "ppt/presentation.xml": b"x"})
    assert recognise(data, name="a").media_type == POWERPOINT
    assert recognise(data[:SNIFFED_BYTES], name="a").media_type == ZIP


def test_an_archive_with_a_folder_word_is_no_word_document() -> None:
    data = packed({"word/notes.xml": b"x", "b.txt": b"x"})
    assert recognise(data, name="a.docx").media_type == ZIP


def test_a_document_inside_an_archive_does_not_decide() -> None:
    inner = packed({TYPES: b"x", "word/document.xml": b"x"})
    data = packed({"inner.docx": inner}, method=zipfile.ZIP_STORED)
    assert recognise(data, name="a").media_type == ZIP
    assert recognise(data[:-30], name="a").media_type == ZIP


def test_damaged_files_are_recognised_quickly() -> None:
    """Any bytes behind the mark give some type, without an error and without unpacking a bomb."""
    bomb = packed({TYPES: bytes(8 * 1024 * 1024), "word/document.xml": b"x"}, to=Stream())
    assert recognise(bomb[:-30], name="a").media_type == ZIP
    data = packed(DOCUMENTS["word"][0])
    chance = random.Random(2)
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 9)):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        assert recognise(bytes(damaged[: chance.randrange(4, len(damaged))]), name="a").media_type
