"""Grapheme clusters are what a reader takes for one character, and the quick search for them misses none."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.text.graphemes import CLUSTER, JOINING, MAY_JOIN, boundary, inside

letters = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("a \u0301\u0915\u093f\u094d\u200d\ufe0f👩💻🏽🇩🇪\u1100\u1161\u11a8각\u0600"),
    ),
    max_size=60,
)


def test_the_quick_search_misses_no_joining_character() -> None:
    everything = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    assert not JOINING.search(MAY_JOIN.sub("", everything))


@given(letters)
def test_the_allowed_cuts_are_those_between_clusters(text: str) -> None:
    ends = {0, *(match.end() for match in CLUSTER.finditer(text))}
    split = inside(text)
    # CR LF is one cluster, but white space is ignored.
    assert all(
        (at in ends) != bool(split is not None and split[at]) or text[at - 1 : at + 1] == "\r\n"
        for at in range(len(text) + 1)
    )
    assert all(
        boundary(text, at) == max(end for end in ends if end <= at)
        for at in range(len(text) + 1)
        if "\r\n" not in text
    )


@pytest.mark.parametrize(
    "cluster", ["e\u0301", "क्षि", "நி", "กำ", "👩🏽\u200d💻", "🇩🇪", "\u1100\u1161\u11a8", "كِ"]
)
def test_a_cluster_is_one_character_to_a_reader(cluster: str) -> None:
    split = inside(f"a{cluster}b")
    assert split is not None
    assert split.tolist() == [False, False, *[True] * (len(cluster) - 1), False, False]
