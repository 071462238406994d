"""Documents that other people and programs wrote give the words that LibreOffice shows for them."""

import re
from collections import Counter
from pathlib import Path

import pytest

from cluster.formats import recognise
from cluster.records import Outcome
from data_jobs.stages.parsing.parser import Parser

DOCUMENTS = Path(__file__).parent / "documents"
REAL = sorted(
    path for path in DOCUMENTS.glob("*/*.*") if path.suffix != ".txt" and path.parent.name != "encrypted"
)
ENCRYPTED = sorted((DOCUMENTS / "encrypted").iterdir())
#: Minimum share of LibreOffice's words that the parsed text has.
MIN_SHARE = 0.98


@pytest.mark.parametrize("path", REAL, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_words_of_an_independent_reader_are_there(parser: Parser, path: Path) -> None:
    parsed = parser.parse(path.read_bytes(), name=path.name)

    assert parsed.outcome is Outcome.OK, parsed.detail
    shown = words(path.with_suffix(".txt").read_text(encoding="utf-8"))
    found = words("\n".join(page.text for page in parsed.pages))
    assert sum((shown & found).values()) >= MIN_SHARE * sum(shown.values()), shown - found


@pytest.mark.parametrize("path", ENCRYPTED, ids=lambda path: path.name)
def test_documents_with_a_password_are_encrypted(parser: Parser, path: Path) -> None:
    assert parser.parse(path.read_bytes(), name=path.name).outcome is Outcome.ENCRYPTED


def test_every_format_has_at_least_five_documents_which_their_beginning_recognises() -> None:
    by_format = Counter(recognise(path.read_bytes(), name="a").name for path in REAL)

    assert set(by_format) == {"DOCX", "PPTX", "XLSX", "ODT", "ODP", "ODS", "RTF", "EPUB"}
    assert min(by_format.values()) >= 5
    for path in REAL:
        beginning = path.read_bytes()[: 64 * 1024]
        assert recognise(beginning, name="a").name.lower()[:3] == path.parent.name[:3], path.name


def words(text: str) -> Counter[str]:
    """The words of a text with their numbers."""
    return Counter(re.findall(r"\w+", text.lower()))
