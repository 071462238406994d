"""Every row of the table of formats has a parser that reads a sample."""

from importlib import import_module

import pytest

from cluster.formats import READABLE, Format, recognise
from data_jobs.stages.formats.contract import ParseOptions
from tests.data_jobs.stages.bad_documents import SENTENCE, pdf_of
from tests.data_jobs.stages.formats.ocr.pictures import picture, saved
from tests.data_jobs.stages.formats.office.packages import docx_of, epub_of, odf_of, pptx_of, xlsx_of

OFFICE = "application/vnd.openxmlformats-officedocument"
OPEN_DOCUMENT = "application/vnd.oasis.opendocument"
SAMPLES = {
    "application/pdf": (pdf_of(SENTENCE), "a.pdf"),
    f"{OFFICE}.wordprocessingml.document": (
        docx_of(f"<w:p><w:r><w:t>{SENTENCE}</w:t></w:r></w:p>"),
        "a.docx",
    ),
    f"{OFFICE}.presentationml.presentation": (
        pptx_of(f"<p:sp><p:txBody><a:p><a:r><a:t>{SENTENCE}</a:t></a:r></a:p></p:txBody></p:sp>"),
        "a.pptx",
    ),
    f"{OFFICE}.spreadsheetml.sheet": (xlsx_of(f'<row><c t="str"><v>{SENTENCE}</v></c></row>'), "a.xlsx"),
    f"{OPEN_DOCUMENT}.text": (odf_of("text", f"<text:p>{SENTENCE}</text:p>"), "a.odt"),
    f"{OPEN_DOCUMENT}.presentation": (
        odf_of(
            "presentation",
            f"<draw:page><draw:frame><draw:text-box><text:p>{SENTENCE}</text:p></draw:text-box></draw:frame>"
            "</draw:page>",
        ),
        "a.odp",
    ),
    f"{OPEN_DOCUMENT}.spreadsheet": (
        odf_of(
            "spreadsheet",
            f"<table:table><table:table-row><table:table-cell><text:p>{SENTENCE}</text:p></table:table-cell>"
            "</table:table-row></table:table>",
        ),
        "a.ods",
    ),
    "application/rtf": (rf"{{\rtf1\ansi {SENTENCE}\par}}".encode(), "a.rtf"),
    "application/epub+zip": (epub_of({"a.xhtml": f"<p>{SENTENCE}</p>"}), "a.epub"),
    "message/rfc822": (f"Subject: x\nMessage-ID: <1@x>\n\n{SENTENCE}\n".encode(), "a.eml"),
    "text/html": (f"<!doctype html><p>{SENTENCE}</p>".encode(), "a.html"),
    "text/markdown": (f"# Heading\n\n{SENTENCE}\n".encode(), "a.md"),
    "text/csv": (f"bird,note\nheron,{SENTENCE}\n".encode(), "a.csv"),
    "text/tab-separated-values": (f"bird\tnote\nheron\t{SENTENCE}\n".encode(), "a.tsv"),
    "application/json": (f'{{"bird": {{"note": "{SENTENCE}"}}}}'.encode(), "a.json"),
    "application/jsonl": (f'{{"bird": 1}}\n{{"note": "{SENTENCE}"}}\n'.encode(), "a.jsonl"),
    "application/xml": (f"<bird><note>{SENTENCE}</note></bird>".encode(), "a.xml"),
    "text/x-rst": (f"Birds\n=====\n\n{SENTENCE}\n".encode(), "a.rst"),
    "text/x-tex": (f"\\section{{Birds}}\n{SENTENCE}\n".encode(), "a.tex"),
    "text/asciidoc": (f"== Birds\n\n{SENTENCE}\n".encode(), "a.adoc"),
    "text/org": (f"* Birds\n{SENTENCE}\n".encode(), "a.org"),
    "text/x-source-code": (f"# {SENTENCE}\n".encode(), "a.py"),
    "text/plain": (SENTENCE.encode(), "a.txt"),
}


PICTURES = [row for row in READABLE if row.media_type.startswith("image/")]


@pytest.mark.parametrize("row", [row for row in READABLE if row not in PICTURES], ids=lambda row: row.name)
def test_the_parser_of_every_format_reads_a_sample(row: Format) -> None:
    data, name = SAMPLES[row.media_type]
    assert recognise(data, name=name) == row
    output = import_module(str(row.parser)).parse(data, ParseOptions(max_pages=10))
    assert SENTENCE in output.pages[0]


@pytest.mark.parametrize("row", PICTURES, ids=lambda row: row.name)
def test_every_picture_has_a_page_that_recognition_can_read(row: Format) -> None:
    data = saved(picture(SENTENCE), row.name)
    assert recognise(data, name="a") == row
    output = import_module(str(row.parser)).parse(data, ParseOptions(max_pages=10, part=(0, 10)))
    assert (output.pages, list(output.unread)) == ([""], [1])
