"""A word broken at a line end becomes whole again, and a compound keeps its hyphen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_jobs.stages.formats.line_ends import join_lines

JOINED = {
    "a word of the document": (
        "Nobody is permit-\nted here. Some are permitted.",
        "Nobody is permitted here. Some are permitted.",
    ),
    "no word of the document": ("They are inter-\nnational.", "They are international."),
    "written with a hyphen elsewhere": (
        "a well-\nknown pump, the well-known one",
        "a well-known pump, the well-known one",
    ),
    "two words of the document": (
        "The heat pump: a heat-\npump is one.",
        "The heat pump: a heat-pump is one.",
    ),
    "a prefix": ("This is self-\nevident.", "This is self-evident."),
    "a compound of three": ("It is state-of-the-\nart.", "It is state-of-the-art."),
    "short parts are no evidence": ("as he is in it, an is-\nland", "as he is in it, an island"),
    "a number": ("the 3-\ncomponent and pages 12-\n15", "the 3-component and pages 12-15"),
    "a name": ("the AB-\nCD and Barnes-\nJewish", "the AB-CD and Barnes-Jewish"),
    "an omitted word": ("short-\nand long-term", "short- and long-term"),
    "German": ("Ein-\nund Ausgang der Vor-\nrichtung", "Ein- und Ausgang der Vorrichtung"),
    "no spaces": ("one -\ntwo", "one - two"),
    "broken twice": (
        "a super-\ncalifragilistic-\nexpiali-\ndocious word",
        "a supercalifragilisticexpialidocious word",
    ),
    "a space before the end": ("it is permit- \n  ted", "it is permitted"),
    "another hyphen": ("it is permit\u2010\nted", "it is permitted"),
    "soft hyphens at line ends": ("it is per\u00ad\nmit\u00ad\nted", "it is permitted"),
    "visible soft hyphens": (
        "a well\u00adknown pump, a well\u00ad\nknown one",
        "a well-known pump, a well-known one",
    ),
    "capitals": ("PERMIT-\nTED is what PERMITTED says", "PERMITTED is what PERMITTED says"),
    "Chinese": ("水泵只能由值班主管\n停止。", "水泵只能由值班主管停止。"),
    "Japanese, written downwards": ("ひ\nと\nつ", "ひとつ"),
    "Chinese cells": ("商品\n商品基本条码\n价格", "商品 商品基本条码价格"),
    "Chinese beside Latin": ("版本\nversion", "版本 version"),
    "Korean": ("밸브를\n닫는다", "밸브를 닫는다"),
}


@pytest.mark.parametrize(("paragraph", "text"), JOINED.values(), ids=JOINED)
def test_lines_are_joined_as_a_reader_reads_them(paragraph: str, text: str) -> None:
    assert join_lines([[paragraph]]) == [text]


def test_evidence_may_stand_on_another_page() -> None:
    assert (
        join_lines([["a co-\noperative"], ["They co-operative-ly agreed."], ["a co-operative"]])[0]
        == "a co-operative"
    )


def test_a_line_of_a_megabyte_takes_no_longer_than_its_length() -> None:
    assert len(join_lines([["x" * 1_000_000 + "-\n" + "y" * 1_000_000]])[0]) >= 2_000_000
    assert join_lines([[" " * 2_000_000 + "a\n b"]]) == ["a b"]


@given(st.lists(st.lists(st.text("ab-\u2010\u00ad \n.水", max_size=30), max_size=3), max_size=3))
def test_no_letter_is_lost_or_moved(pages: list[list[str]]) -> None:
    def letters(text: str) -> str:
        return "".join(filter(str.isalpha, text))

    assert [letters(text) for text in join_lines(pages)] == [letters("".join(page)) for page in pages]
