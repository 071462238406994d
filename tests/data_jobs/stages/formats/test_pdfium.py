"""PDFium reads what PyMuPDF reads, except for what the handbook's table of differences says."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pymupdf
import pytest

from cluster.errors import Misconfigured
from cluster.records import Outcome, ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.formats.contract import ParseOptions
from data_jobs.stages.formats.pdf import mupdf_parser, pdfium_parser
from data_jobs.stages.parsing import parser_version as version_module
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages.bad_documents import SENTENCE, pdf_of
from tests.data_jobs.stages.pdf_samples import pages, replaced, stream, written

OPTIONS = ParseOptions(max_pages=1_000)
#: Minimum share of the words of one parser that the other parser finds, too.
SAME_WORDS = 0.98


@pytest.fixture(scope="module")
def pdfium() -> Iterator[Parser]:
    """A parser with PDFium."""
    with Parser(Settings(pdf_parser="pdfium")) as parser:
        yield parser


def read(parser: Parser, data: bytes) -> ParsedDocument:
    return parser.parse(data, name="a.pdf")


def test_a_missing_library_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise version_module.PackageNotFoundError(package)

    version_module.parser_version.cache_clear()
    monkeypatch.setattr(version_module, "version", version)
    with pytest.raises(Misconfigured, match=r"pymupdf is not installed.*CLUSTER_PDF_PARSER"):
        Parser(Settings())
    version_module.parser_version.cache_clear()


def test_a_page_without_drawing_commands_counts_as_blank(pdfium: Parser) -> None:
    parsed = read(pdfium, replaced(3, 6, b"/Contents 7 0 R", b"/Contents 99 0 R"))
    assert (parsed.outcome, [bool(page.text) for page in parsed.pages]) == (Outcome.OK, [True, False, True])


def test_pages_that_the_page_tree_hides_are_reported(pdfium: Parser) -> None:
    parsed = read(pdfium, replaced(3, 2, b"/Count 3", b"/Count 1"))
    assert (parsed.outcome, len(parsed.pages)) == (Outcome.PARTIAL_TEXT, 1)
    assert parsed.detail == "holds 3 pages, but its page tree says 1, which were read"
    parsed = read(pdfium, replaced(3, 2, b"/Count 3", b"/Count 7"))
    assert (parsed.outcome, set(parsed.unread)) == (Outcome.PARTIAL_TEXT, {4, 5, 6, 7})


def test_a_compression_bomb_harms_only_its_page(pdfium: Parser) -> None:
    objects = pages(2)
    bomb = zlib.compress(zlib.compress(bytes(128 * 1024 * 1024), 1))
    objects[4] = stream(bomb, b"/Filter [/FlateDecode /FlateDecode] ")
    assert [page.text for page in read(pdfium, written(objects)).pages] == ["", "This is page 2."]


def test_a_file_that_needs_a_password_is_protected(pdfium: Parser) -> None:
    with pymupdf.open("pdf", pdf_of(SENTENCE)) as document:
        data = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="secret", owner_pw="")
    assert read(pdfium, data).outcome == Outcome.ENCRYPTED


@pytest.mark.corpus
def test_both_parsers_find_the_same_words_in_real_documents(corpus: Path) -> None:
    for path in sorted(corpus.glob("*.pdf"))[::3]:
        ours, theirs = (
            Counter(re.findall(r"\w+", " ".join(parse(path.read_bytes(), OPTIONS).pages).casefold()))
            for parse in (mupdf_parser.parse, pdfium_parser.parse)
        )
        for one, other in ((ours, theirs), (theirs, ours)):
            assert (one - other).total() <= (1 - SAME_WORDS) * one.total(), path.name
