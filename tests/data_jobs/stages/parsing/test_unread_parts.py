"""One sentence says which parts of a document could not be read, and why."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.records import NO_PAGE, Fact
from data_jobs.stages.parsing.unread_parts import MAX_RANGES, ranges, unread_sentence, with_unread


@pytest.mark.parametrize(
    ("unread", "sentence"),
    [
        ({}, ""),
        ({3: "is damaged"}, "page 3 of 1,000 could not be read: it is damaged"),
        (
            {4: "is a picture", 2: "is a picture", 3: "is a picture", 9: "is damaged"},
            "pages 2-4 of 1,000 could not be read: each is a picture; "
            "page 9 of 1,000 could not be read: it is damaged",
        ),
        (
            {NO_PAGE: "its 3 attached files were not read", 1: "is blank"},
            "its 3 attached files were not read; page 1 of 1,000 could not be read: it is blank",
        ),
    ],
    ids=["nothing", "one page", "ranges by reason", "no page"],
)
def test_pages_are_named_by_reason(unread: dict[int, str], sentence: str) -> None:
    assert unread_sentence(unread, 1_000) == sentence


@given(st.sets(st.integers(1, 10_000)))
def test_ranges_name_every_page_once(pages: set[int]) -> None:
    listed: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?(?:, |$| and)", ranges(sorted(pages))):
        listed += range(int(first), int(last or first) + 1)
    runs = sum(page - 1 not in pages for page in pages)
    assert listed == sorted(pages) if runs <= MAX_RANGES else set(listed) < pages


def test_a_sentence_stays_short_whatever_was_found() -> None:
    assert len(unread_sentence({page: f"says {page // 2}" for page in range(1, 20_000, 2)}, 20_000)) < 2_000


def test_the_number_of_unread_pages_is_a_fact() -> None:
    assert with_unread({}, {NO_PAGE: "ends early"}) == {}
    assert with_unread({Fact.ENCODING: "koi8-r"}, {1: "is damaged", 2: "is damaged"}) == {
        Fact.ENCODING: "koi8-r",
        Fact.UNREAD_PAGES: 2,
    }
