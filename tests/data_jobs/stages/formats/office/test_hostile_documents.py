"""A damaged or hostile document ends in the right outcome, in bounded time, and harms no other document."""

import warnings
from pathlib import Path

import pytest

from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages.formats.office.hostile import damaged_archives, damaged_rich_text
from tests.waiting import LONGEST_WAIT_S, Stopwatch

DOCUMENTS = Path(__file__).parent / "documents"
#: A document of each format, and its main part.
FAMILIES = {
    "docx/tbl-having-applied-style.docx": "word/document.xml",
    "pptx/txt-text-frame.pptx": "ppt/presentation.xml",
    "xlsx/sheets_order.xlsx": "xl/workbook.xml",
    "odt/simpletable.odt": "content.xml",
    "odp/ol.odp": "content.xml",
    "ods/pythagoras.ods": "content.xml",
    "epub/simpletable.epub": "OEBPS/content.opf",
}
#: Maximum seconds for a document.
LIMIT_S = 20.0


@pytest.fixture(scope="module")
def small_parser() -> Parser:
    """A parser with the smallest limits that the settings allow."""
    with Parser(Settings(parse_memory_bytes=512 * 1024 * 1024, parse_timeout_s=LONGEST_WAIT_S)) as parser:
        yield parser  # type: ignore[misc]  # a generator fixture


@pytest.mark.parametrize("name", [*FAMILIES, "rtf/simpletable.rtf"])
def test_every_mutation_ends_in_the_right_outcome(small_parser: Parser, name: str) -> None:
    path = DOCUMENTS / name
    data = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name that is packed twice
        mutations = list(
            damaged_archives(data, FAMILIES[name]) if name in FAMILIES else damaged_rich_text(data)
        )
    assert small_parser.parse(data, name=path.name).outcome is Outcome.OK
    process = small_parser._process

    wrong = []
    for what, mutated, right in mutations:
        start = Stopwatch()
        parsed = small_parser.parse(mutated, name=path.name)
        if parsed.outcome not in right or start.seconds() > LIMIT_S:
            wrong.append((what, parsed.outcome, parsed.detail, start.seconds()))
        if parsed.outcome is not Outcome.OK:
            assert parsed.detail
            assert "passwd" not in "".join(page.text for page in parsed.pages)
            assert "crashed its parser" not in parsed.detail, (what, parsed.detail)

    assert len(mutations) >= 20
    assert wrong == []
    assert small_parser._process is process, "the parsing process was lost"
    assert small_parser.parse(data, name=path.name).outcome is Outcome.OK
