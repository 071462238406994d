"""The readable parts of faulty PDFs are read, and the other parts are reported."""

import zlib
from collections.abc import Iterator

import pymupdf
import pytest

from cluster.formats import PDF_PARSERS
from cluster.records import Outcome, ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages import pdf_samples
from tests.data_jobs.stages.bad_documents import SENTENCE, pdf_of
from tests.data_jobs.stages.formats.ocr.pictures import FONT
from tests.data_jobs.stages.pdf_samples import (
    lines_of,
    pages,
    replaced,
    row_by_row,
    stream,
    without_letters,
    written,
)

#: A font with Hebrew and Arabic letters.
LEFT = [
    f"The {word} heron stands still for hours"
    for word in ("first", "second", "third", "fourth", "fifth", "sixth")
]
RIGHT = [
    f"while the {word} swift sleeps on the wing"
    for word in ("first", "second", "third", "fourth", "fifth", "sixth")
]


@pytest.fixture(scope="module", params=PDF_PARSERS)
def parser(request: pytest.FixtureRequest) -> Iterator[Parser]:
    """A parser with each library that reads PDF."""
    with Parser(Settings(pdf_parser=request.param)) as parser:
        yield parser


@pytest.fixture(scope="module")
def mupdf() -> Iterator[Parser]:
    """A parser with PyMuPDF, for tests of what PDFium cannot do (``test_pdfium.py``)."""
    with Parser(Settings()) as parser:
        yield parser


def read(parser: Parser, data: bytes) -> tuple[Outcome, list[str], str]:
    parsed = parser.parse(data, name="a.pdf")
    return parsed.outcome, [page.text for page in parsed.pages], parsed.detail


def said(*numbers: int) -> list[str]:
    """The texts of pages made by ``pdf_samples.pages``; 0 stands for a page without text."""
    return [f"This is page {number}." if number else "" for number in numbers]


def test_a_word_broken_at_a_line_end_is_whole(parser: Parser) -> None:
    data = lines_of("Nobody is permit-", "ted to stop the well-", "known pump but the well-known few.")
    assert read(parser, data)[1] == [
        "Nobody is permitted to stop the well-known pump but the well-known few."
    ]


def test_scanned_pages_are_reported_and_blank_ones_are_not(parser: Parser) -> None:
    parsed = parser.parse(pdf_samples.mostly_scanned(), name="a.pdf")
    assert (parsed.outcome, parsed.facts) == (Outcome.PARTIAL_TEXT, {"unread_pages": 8})
    assert "pages 2-9 of 11 could not be read: each is a picture" in parsed.detail
    assert [bool(page.text) for page in parsed.pages] == [True] + [False] * 10


def test_a_part_of_a_document_reports_its_own_pages(parser: Parser) -> None:
    parsed: ParsedDocument = parser.parse(pdf_samples.mostly_scanned(), name="a.pdf", part=(7, 11))
    assert (parsed.outcome, set(parsed.unread), parsed.page_count) == (Outcome.PARTIAL_TEXT, {8, 9}, 11)


def test_text_whose_font_names_no_letters_is_not_indexed_as_garbage(parser: Parser) -> None:
    lines = ("This page is drawn with a font", "that does not name its letters.")
    outcome, texts, detail = read(parser, without_letters(*lines, font=FONT))
    assert (outcome, texts) == (Outcome.NEEDS_OCR, [])
    assert "fonts" in detail
    outcome, texts, detail = read(parser, without_letters(*lines, font=FONT, readable=[SENTENCE]))
    assert (outcome, texts) == (Outcome.PARTIAL_TEXT, [SENTENCE])
    assert detail.startswith("page 1 of 1 could not be read: it uses fonts")


@pytest.mark.parametrize(
    "letters", ["\ue001\ue002 \ue003\ue004 " * 9, "(cid:12)(cid:7) (cid:3) " * 9], ids=["private", "cid"]
)
def test_private_letters_are_garbage_too(parser: Parser, letters: str) -> None:
    assert read(parser, lines_of(letters, font=FONT if letters[0] != "(" else None))[0] == Outcome.NEEDS_OCR


@pytest.mark.parametrize("text", ["Δοκιμή Проверка", "x \u2248 y \u2211 z"])
def test_unusual_letters_are_not_garbage(parser: Parser, text: str) -> None:
    assert read(parser, lines_of(text, font=FONT))[:2] == (Outcome.OK, [text])


def test_columns_that_were_drawn_row_by_row_are_read_one_after_the_other(parser: Parser) -> None:
    text = read(parser, row_by_row(LEFT, RIGHT))[1][0]
    assert text == " ".join(LEFT + RIGHT)


def test_a_table_is_read_row_by_row(parser: Parser) -> None:
    names, values = [f"pressure of pump number {n}" for n in range(12)], [f"{n}.5 bar" for n in range(12)]
    text = read(parser, row_by_row(names, values))[1][0]
    assert "pressure of pump number 3 3.5 bar pressure of pump number 4" in text


RIGHT_TO_LEFT = {"Hebrew": "שלום עולם, ארבעים ימים", "Arabic": "السلام عليكم مدرسة كبيرة"}


@pytest.mark.parametrize("text", RIGHT_TO_LEFT.values(), ids=RIGHT_TO_LEFT)
def test_hebrew_and_arabic_are_read_from_the_first_letter_to_the_last(parser: Parser, text: str) -> None:
    for drawn in (text, text[::-1]):
        assert read(parser, lines_of(drawn, font=FONT))[1] == [text]


def test_numbers_among_hebrew_letters_stay_as_they_are(mupdf: Parser) -> None:
    assert read(mupdf, lines_of("ארבעים ימים 123 שלום", font=FONT))[1] == ["ארבעים ימים 123 שלום"]


def test_a_ligature_of_arabic_letters_is_its_letters(parser: Parser) -> None:
    assert read(parser, lines_of("ﺍﻟﺴﻼﻡ"[::-1], font=FONT))[1] == ["السلام"]


@pytest.mark.parametrize(
    "tail",
    [b"\0" * 3_000, b"<html>served with it</html>\n" * 200, b"\n" * 5_000],
    ids=["NUL", "HTML", "blank"],
)
def test_bytes_after_the_end_of_a_file_are_not_damage(parser: Parser, tail: bytes) -> None:
    assert read(parser, written(pages(2)) + tail)[:2] == (Outcome.OK, said(1, 2))


def test_a_file_cut_in_a_later_revision_is_cut_short(parser: Parser) -> None:
    revised = (
        written(pages(2))
        + b"5 0 obj\n"
        + stream(b"BT /F 12 Tf (This is the revised page.) Tj ET")
        + b"\nendobj\n7 0 obj\n<< /Len"
    )
    assert read(parser, revised + b" " * 2_000)[0] == Outcome.CORRUPT


CONTENTS = {
    "outside the table": b"/Contents 99 0 R",
    "no stream": b"/Contents 3 0 R",
    "a number": b"/Contents 17",
}


@pytest.mark.parametrize("contents", CONTENTS.values(), ids=CONTENTS)
def test_only_the_page_without_drawing_commands_is_lost(mupdf: Parser, contents: bytes) -> None:
    outcome, texts, detail = read(mupdf, replaced(3, 6, b"/Contents 7 0 R", contents))
    assert (outcome, texts) == (Outcome.PARTIAL_TEXT, said(1, 0, 3))
    assert detail == "page 2 of 3 could not be read: it is damaged"


def test_the_readable_part_of_a_damaged_page_is_read(mupdf: Parser) -> None:
    outcome, texts, _ = read(mupdf, replaced(3, 6, b"/Contents 7 0 R", b"/Contents [7 0 R 99 0 R]"))
    assert (outcome, texts) == (Outcome.PARTIAL_TEXT, said(1, 2, 3))


def test_a_page_whose_commands_do_not_unpack_is_damaged_and_a_wrong_checksum_is_not(mupdf: Parser) -> None:
    objects = pages(2)
    packed = zlib.compress(objects[4].split(b"stream\n")[1])
    objects[4] = stream(b"not packed at all", b"/Filter /FlateDecode ")
    assert read(mupdf, written(objects))[:2] == (Outcome.PARTIAL_TEXT, said(0, 2))
    objects[4] = stream(packed[:-4] + b"\0\0\0\0", b"/Filter /FlateDecode ")
    assert read(mupdf, written(objects))[:2] == (Outcome.OK, said(1, 2))


def test_commands_compressed_twice_are_a_bomb_and_not_damage(mupdf: Parser) -> None:
    objects = pages(2)
    objects[4] = stream(
        zlib.compress(zlib.compress(bytes(128 * 1024 * 1024), 1)), b"/Filter [/FlateDecode /FlateDecode] "
    )
    assert read(mupdf, written(objects))[0] == Outcome.TOO_LARGE


@pytest.mark.parametrize("count", [b"0", b"1", b"-1", b"7", b"100000000", b"(many)", b"null"])
def test_a_wrong_number_of_pages_loses_none_and_adds_none(mupdf: Parser, count: bytes) -> None:
    assert read(mupdf, replaced(3, 2, b"/Count 3", b"/Count " + count))[:2] == (Outcome.OK, said(1, 2, 3))


@pytest.mark.parametrize(
    "kids", [b"[8 0 R 10 0 R]", b"[8 0 R 2 0 R 10 0 R]"], ids=["wrong below", "a circle"]
)
def test_a_tree_of_pages_may_be_wrong_anywhere(mupdf: Parser, kids: bytes) -> None:
    objects = pages(4)
    objects[1] = b"<< /Type /Pages /Kids [12 0 R 13 0 R] /Count 2 >>"
    objects.append(b"<< /Type /Pages /Parent 2 0 R /Kids [4 0 R 6 0 R] /Count 2 >>")
    objects.append(b"<< /Type /Pages /Parent 2 0 R /Kids %s /Count 1 >>" % kids)
    assert read(mupdf, written(objects))[:2] == (Outcome.OK, said(1, 2, 3, 4))


def test_a_portfolio_reports_the_files_in_it(parser: Parser) -> None:
    outcome, texts, detail = read(parser, pdf_samples.portfolio("This is the cover."))
    assert (outcome, texts) == (Outcome.PARTIAL_TEXT, ["This is the cover."])
    assert "the 2 files in it were not read" in detail
    assert read(parser, pdf_samples.portfolio(""))[0] == Outcome.UNSUPPORTED


def test_the_placeholder_page_of_an_xfa_form_is_not_its_text(parser: Parser) -> None:
    outcome, texts, detail = read(parser, pdf_samples.xfa())
    assert (outcome, texts) == (Outcome.UNSUPPORTED, [])
    assert "XFA" in detail


def test_a_field_is_read_to_its_end(parser: Parser) -> None:
    value = " ".join(f"remark{number}" for number in range(60))
    text = read(parser, pdf_samples.filled_form(value))[1][0]
    assert [word for word in value.split() if word not in text.split()] == []


@pytest.mark.parametrize(
    ("owner", "outcome"), [("", Outcome.OK), ("other", Outcome.ENCRYPTED)], ids=["empty", "set"]
)
def test_a_document_opens_if_its_owner_password_is_empty(mupdf: Parser, owner: str, outcome: Outcome) -> None:
    with pymupdf.open("pdf", pdf_of(SENTENCE)) as document:
        data = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret", owner_pw=owner)
    found, texts, _ = read(mupdf, data)
    assert (found, texts) == (outcome, [SENTENCE] if outcome == Outcome.OK else [])


def test_a_page_that_shows_nothing_is_empty(parser: Parser) -> None:
    assert read(parser, pdf_of(""))[0] == Outcome.EMPTY
