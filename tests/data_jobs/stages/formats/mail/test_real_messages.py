"""E-mails that other programs wrote give the words that mblaze shows for them."""

from pathlib import Path

import pytest

from cluster.records import Outcome
from data_jobs.stages.parsing.parser import Parser
from tests.data_jobs.stages.formats.office.test_real_documents import words

MESSAGES = sorted((Path(__file__).parent / "documents").glob("*.eml"))
MIN_SHARE = 0.98


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.name)
def test_the_words_of_an_independent_reader_are_there(parser: Parser, path: Path) -> None:
    parsed = parser.parse(path.read_bytes(), name=path.name)

    assert parsed.outcome is Outcome.OK, parsed.detail
    shown, found = words(path.with_suffix(".txt").read_text(encoding="utf-8")), words(parsed.pages[0].text)
    assert sum((shown & found).values()) >= MIN_SHARE * sum(shown.values()), shown - found


def test_there_are_messages_of_several_programs() -> None:
    assert len(MESSAGES) >= 5
