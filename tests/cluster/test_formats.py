"""A file's format is recognised by its bytes, and the handbook lists every format that can be read."""

import random
import re

import pytest

from cluster.formats import (
    DOCUMENT_PURPOSES,
    FORMATS,
    JSON_LINES_PURPOSES,
    READABLE,
    UNKNOWN,
    Format,
    format_of,
    recognise,
)
from cluster.formats.languages import LANGUAGES
from cluster.submissions import EVENT_FILES
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"%PDF-1.7", "a.txt", "application/pdf"),
        (b"junk\n%PDF-1.4", "a", "application/pdf"),
        (b"<!DOCTYPE html><p>", "a.pdf", "text/html"),
        (b"  <html>", "a.txt", "text/html"),
        (b"<p>a fragment", "a.html", "text/html"),
        (b"<?xml version='1.0'?> <!-- a --> <!-- <b> -->\n<html>", "a.txt", "text/html"),
        (
            b"<!-- a -->\n" * 300 + b"<p>",
            "a.txt",
            "text/plain",
        ),  # backtracking over the comments would take for ever
        (b"# Title", "README.md", "text/markdown"),
        (b"# Title", "a.txt", "text/plain"),
        (b"a,b\n1,2\n", "a.csv", "text/csv"),
        (b"a\tb\n1\t2\n", "a.TSV", "text/tab-separated-values"),
        (b'{"a": 1}', "a.json", "application/json"),
        (b'{"a": 1}', "a.txt", "text/plain"),
        (b'{"a": 1}\n{"a": 2}\n', "a.jsonl", "application/jsonl"),
        (b"no JSON", "a.jsonl", "text/plain"),
        (b'\n<?xml version="1.0"?><a>b</a>', "a.txt", "application/xml"),
        ('<?xml version="1.0"?><a>b</a>'.encode("utf-16"), "a", "application/xml"),
        (b"<a>b</a>", "a.xml", "application/xml"),
        (b'<?xml version="1.0"?><html><body>b</body></html>', "a.xml", "text/html"),
        ("äöü".encode("latin-1"), "a.txt", "text/plain"),
        ("text".encode("utf-16"), "a.txt", "text/plain"),
        (b"\x00\x01\x02", "a.txt", "application/octet-stream"),
        (b"\x00\x01\x02\x03", "a.txt", "application/octet-stream"),
        (b"\x89PNG\r\n\x1a\n", "a.txt", "image/png"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "a.txt", "image/webp"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "a.txt", "application/octet-stream"),
        (b"PK\x03\x04", "a.docx", "application/zip"),
        (b"PAR1\x15\x04\x15", "a.txt", "application/vnd.apache.parquet"),
        (b"GIF89a\x01\x00\x01\x00\x80\x00\x00", "a.txt", "image/gif"),
        (b"{\\rtf1\\ansi\\deff0 {\\fonttbl}}", "a.txt", "application/rtf"),
        (b"a.txt" + bytes(252) + b"ustar\x0000", "a.txt", "application/x-tar"),
        (b"!<arch>\ndebian-binary   1", "a.deb", "application/x-archive"),
        (bytes(5000), "a.txt", "application/octet-stream"),
        (
            b"@\x01\x00\x00\x00\x00\x00\x00" + b'{"weight": 1}' * 99,
            "a.safetensors",
            "application/octet-stream",
        ),
    ],
)
def test_the_bytes_decide_the_format(data: bytes, name: str, expected: str) -> None:
    assert recognise(data, name=name).media_type == expected


PDF_SOURCE = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\n"


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n",
        b"\n" * 900,
        b"<br />\n<b>Warning</b>: x\n",
        b"\x00\x01",
        b"\xef\xbb\xbf",
    ],
)
@pytest.mark.parametrize(
    "pdf",
    [
        PDF_SOURCE,
        b"%PDF-1.7\r\n\r\n  12 0 obj",
        b"%PDF-2.0 %comment\n1 0 obj",
        b"%PDF-1.5\n" + bytes(range(256)),
    ],
)
def test_a_pdf_is_recognised_behind_junk(junk: bytes, pdf: bytes) -> None:
    assert recognise(junk + pdf, name="a.txt").media_type == "application/pdf"


@pytest.mark.parametrize(
    "text",
    [
        "A PDF begins with %PDF-1.7 and a line end.",
        "%PDF-1.7 is how a PDF begins",
        "%PDF- marks a PDF",
        "# PDF\n\n```\n%PDF-1.4\n1 0 obj\n```\n",
        "# PDF\n\n    %PDF-1.4\n    1 0 obj\n",
        "magic:\n%PDF-1.4\n%!PS-Adobe\nGIF89a\n",
        "PK is the mark of Phil Katz",
        "PK\n",
        "GIF89a is a format",
        "GIF87a\nGIF89a\nPNG\n",
        "{\\rtf is how RTF begins",
        "RIFF and WAVE",
        "RIFF----WEBP is a container",
        "BM, MZ, II*, MM and ELF are marks, too",
        "!<arch> begins an archive",
        "ID3 OggS fLaC FORM 8BPS",
        "SQLite format 3 is a file format",
        "7z BZh9 ustar",
    ],
)
@pytest.mark.parametrize(
    ("name", "type"), [("a.txt", "text/plain"), ("a.md", "text/markdown"), ("a.html", "text/html")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le"])
def test_a_text_that_mentions_a_format_is_text(text: str, name: str, type: str, encoding: str) -> None:
    assert recognise(text.encode(encoding), name=name).media_type == type


@pytest.mark.parametrize(
    "page", [b"<!doctype html><pre>\n%PDF-1.4\n1 0 obj\n</pre>", b"<html><body>\n%PDF-1.7\n%x\n1 0 obj"]
)
def test_an_html_page_about_pdf_is_html(page: bytes) -> None:
    assert recognise(page, name="a.txt").media_type == "text/html"


@pytest.mark.parametrize(
    "text",
    [
        b"a\x00b\x00c words",
        b"\x00starts with NUL",
        b"ring the bell \x07 twice",
        b"end of file\x1a",
        b"end of file\x1a" + b"\x1a" * 100,
        b"crashed log\n" + bytes(3000),
        b"rub\x7fout",
        b"\x1b[31mred\x1b[0m \x1b]0;title\x07 text",
        b"N\x08NA\x08AM\x08ME\x08E",
        b"\x0cform feed, \x0bvertical tab",
        b"record\x1eunit\x1fgroup\x1d",
        b"gr\xf6\xdfe\x07",
        "日本語のテキストです。".encode("shift_jis") + b"\x1a",
        "日本語".encode("iso2022_jp"),
        "größe\x00".encode(),
        b"cut in a character " * 215 + b"1234567890\xc3",
    ],
)
def test_control_characters_do_not_make_text_binary(text: bytes) -> None:
    assert recognise(text, name="a.txt").media_type == "text/plain"


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"]
)
@pytest.mark.parametrize(
    "text",
    ["plain words", "Насос остановлен", "请先关闭水泵，然后检查阀门。", "펌프를 멈춘 다음 밸브를 확인"],
)
def test_wide_text_is_text_and_its_markup_is_seen(encoding: str, text: str) -> None:
    assert recognise(text.encode(encoding), name="a.md").media_type == "text/markdown"
    assert recognise(f"<!DOCTYPE html>\n<p>{text}".encode(encoding), name="a.txt").media_type == "text/html"


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_not_text(seed: int) -> None:
    assert (
        recognise(random.Random(seed).randbytes(200 + 200 * seed), name="a.txt").media_type
        == "application/octet-stream"
    )


@pytest.mark.parametrize("purpose", JSON_LINES_PURPOSES)
def test_json_lines_of_any_name_are_recognised_only_for_a_purpose_that_accepts_them(purpose: str) -> None:
    line = b'\xef\xbb\xbf {"custom_id": "1"}\n'
    assert recognise(line, name="a.jsonl", purpose=purpose).media_type == "application/jsonl"
    assert recognise(line, name="a.txt", purpose=purpose).media_type == "application/jsonl"
    assert recognise(line, name="a.txt", purpose="assistants").media_type == "text/plain"
    assert recognise(line, name="a.txt").media_type == "text/plain"
    assert recognise(line, name="a.md", purpose=purpose).media_type == "text/markdown"


@pytest.mark.parametrize(
    ("name", "line"),
    [("a.csv", b"id,type,time\n"), ("a.jsonl", b'{"id": "1"}\n'), ("a.json", b'{"id": "1"}\n')],
)
def test_events_are_read_from_files_of_these_names(name: str, line: bytes) -> None:
    assert recognise(line, name=name, purpose="user_data").media_type in EVENT_FILES


def test_every_row_is_found_by_its_media_type() -> None:
    known = [row for row in FORMATS if row.media_type != UNKNOWN.media_type and not row.only_for_its_purposes]
    assert [format_of(row.media_type) for row in known] == known
    assert not format_of(UNKNOWN.media_type).parsed_in_parts
    assert format_of("of no row").parser is None


def test_every_readable_format_can_be_uploaded_as_a_document() -> None:
    assert [row.name for row in READABLE if not set(row.purposes) >= set(DOCUMENT_PURPOSES)] == []


def test_only_parsers_import_the_libraries_that_read_documents() -> None:
    """The other code runs outside the limited process and reads no document. The process that draws pages
    has limits of its own. PyMuPDF prints the pages of the demo, and reports use a font of PyMuPDF.
    """
    libraries = re.compile(
        r"^\s*(?:import|from) (?:pymupdf|pypdfium2|selectolax|markdown_it|chardet)\b", re.MULTILINE
    )
    parsers = ROOT / "data_jobs" / "stages" / "formats"
    importing = [
        str(path.relative_to(ROOT))
        for package in ("cluster", "data_jobs", "serve_app")
        for path in (ROOT / package).rglob("*.py")
        if parsers not in path.parents and libraries.search(path.read_text(encoding="utf-8"))
    ]
    assert sorted(importing) == [
        "cluster/local/handbook_pdf.py",
        "cluster/page_pictures/drawing_process.py",
        "cluster/usage_reports/fonts.py",
    ]


#: Formats with more suffixes have a list of their own in the handbook.
MANY_SUFFIXES = 30


def suffixes_in_handbook(row: Format) -> str:
    if len(row.suffixes) > MANY_SUFFIXES:
        return "many, [see below](#source-code-and-configuration)"
    return ", ".join(f"`.{suffix}`" for suffix in sorted(row.suffixes)) or "any"


def library_in_handbook(row: Format) -> str:
    choices = [
        (row.libraries, row.licence),
        *((one.libraries, one.licence) for one in row.other_parsers.values()),
    ]
    shown = [f"{', '.join(libraries)} ({licence})" for libraries, licence in choices if libraries]
    return " or ".join(shown) or "Python"


def test_the_handbook_lists_every_readable_format() -> None:
    """The handbook has a line with the name, media type, suffixes, page and library of each format."""
    page = (ROOT / "docs" / "how-a-document-travels.md").read_text(encoding="utf-8")
    line = r"^\| ([^|]+) \| `(\w+/[\w.+-]+)` \| ([^|]*) \| ([^|]+) \| ([^|]+) \|$"
    assert re.findall(line, page, re.MULTILINE) == [
        (row.name, row.media_type, suffixes_in_handbook(row), row.page, library_in_handbook(row))
        for row in READABLE
    ]


def test_the_handbook_lists_every_language() -> None:
    page = " ".join((ROOT / "docs" / "how-a-document-travels.md").read_text(encoding="utf-8").split())
    missing = [
        language
        for language, suffixes in LANGUAGES.items()
        if f"{language} ({', '.join(f'`.{suffix}`' for suffix in suffixes.split())})" not in page
    ]
    assert missing == []


def test_every_library_of_a_parser_has_a_licence() -> None:
    rows = [one for row in READABLE for one in (row, *row.other_parsers.values())]
    assert [row.parser for row in rows if bool(row.licence) != bool(row.libraries)] == []
