"""A PDF has headings: those of its outline, or the paragraphs in large letters."""

from collections.abc import Iterator
from pathlib import Path

import pymupdf
import pytest

from cluster.formats import PDF_PARSERS
from cluster.records import ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.parsing.parser import Parser

PROSE = "Herons stand still for hours before they strike, and nobody sees them move. " * 12
#: Text, font size.
Drawn = tuple[str, float]


@pytest.fixture(scope="module", params=PDF_PARSERS)
def parser(request: pytest.FixtureRequest) -> Iterator[Parser]:
    """A parser with each library that reads PDF."""
    with Parser(Settings(pdf_parser=request.param)) as parser:
        yield parser


def drawn(*pages: list[Drawn]) -> pymupdf.Document:
    """A document with these texts below each other."""
    document = pymupdf.open()
    for texts in pages:
        page, top = document.new_page(), 40.0
        for text, size in texts:
            bottom = top + (140 if text == PROSE else 2 * size)
            assert page.insert_textbox(pymupdf.Rect(40, top, 550, bottom), text, fontsize=size) >= 0
            top = bottom + 20
    return document


def headings(parsed: ParsedDocument) -> list[list[tuple[int, str]]]:
    """The level and the text of each heading of each page."""
    return [
        [(block.level, page.text[block.start : block.end]) for block in page.structure.blocks]
        for page in parsed.pages
    ]


def test_paragraphs_in_large_letters_are_headings(parser: Parser) -> None:
    document = drawn(
        [("Birds of the lake", 18), ("1 The heron", 14), (PROSE, 10), ("n0", 14), ("see me@example.org", 14)],
        [("1.1 What it eats", 13.5), (PROSE, 10), ("Fish", 12), (PROSE, 10)],
    )
    data = document.tobytes()
    expected = [
        [(1, "Birds of the lake"), (2, "1 The heron")],
        [(2, "1.1 What it eats"), (3, "Fish")],
    ]
    assert headings(parser.parse(data, name="a.pdf")) == expected
    parts = [parser.parse(data, name="a.pdf", part=(place, place + 1)) for place in range(2)]
    assert [headings(part)[0] for part in parts] == expected


def test_the_outline_of_a_document_decides(parser: Parser) -> None:
    document = drawn([("Large", 18), ("1. Herons:", 10), (PROSE, 10), ("What they eat", 10), (PROSE, 10)])
    document.set_toc([[1, "Herons", 1], [2, "What they eat", 1]])
    parsed = parser.parse(document.tobytes(), name="a.pdf")
    assert headings(parsed) == [[(1, "1. Herons:"), (2, "What they eat")]]


def test_an_outline_of_other_titles_does_not_hide_headings(parser: Parser) -> None:
    document = drawn([("Herons", 18), (PROSE, 10)])
    document.set_toc([[1, "Cover", 1], [1, "Scan 17", 1]])
    assert headings(parser.parse(document.tobytes(), name="a.pdf")) == [[(1, "Herons")]]


def test_pages_have_the_labels_that_readers_see(parser: Parser) -> None:
    document = drawn([(PROSE, 10)], [(PROSE, 10)], [(PROSE, 10)])
    document.set_page_labels(
        [{"startpage": 0, "style": "D"}, {"startpage": 1, "style": "r", "firstpagenum": 4}]
    )
    parsed = parser.parse(document.tobytes(), name="a.pdf")
    assert [page.structure.label for page in parsed.pages] == ["", "iv", "v"]


@pytest.mark.corpus
def test_the_sections_of_a_real_document_are_its_headings(parser: Parser, corpus: Path) -> None:
    parsed = parser.parse((corpus / "suitesparse-AMD_UserGuide.pdf").read_bytes(), name="a.pdf")
    assert [text for page in headings(parsed) for _, text in page] == [
        "AMD User Guide",
        "1 Overview",
        "2 Availability",
        "3 Using AMD in MATLAB",
        "4 Using AMD in a C program",
        "5 Synopsis of C-callable routines",
        "6 Using AMD in a Fortran program",
        "7 Sample Fortran main program",
        "8 Installation",
        "9 The AMD routines",
        "References",
    ]
