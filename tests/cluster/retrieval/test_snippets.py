"""A snippet is a part of the text around the words of the question, and not too long."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.retrieval.snippets import QueryWords, snippet
from cluster.text.graphemes import CLUSTER, inside

FILLING = "The weather was fine and nothing happened at all. " * 10


@given(st.text(max_size=400), st.text(max_size=40), st.integers(1, 100))
def test_a_snippet_is_a_slice_of_the_text_and_not_too_long(text: str, query: str, length: int) -> None:
    part = snippet(text, QueryWords(query), length=length)
    assert part in text
    assert len(part) <= length or part == text


@given(st.text(alphabet="ab ", min_size=50, max_size=300), st.text(alphabet="ab ", max_size=10))
def test_a_text_that_is_not_blank_has_a_snippet(text: str, query: str) -> None:
    assert snippet("x" + text + "x", QueryWords(query), length=20)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("who may stop the pump", "Only the operator stops the pump."),
        ("sleeping swift", "Swifts sleep on the wing."),
        ("ÖFFNUNG des Ventils", "Die Öffnung der Ventile erfolgt von Hand."),
        ("permitted operator", "The ope\u00adrator per\u00admit\u00adted “nothing”."),
        ("पम्प बंद", "केवल संचालक पम्प बंद कर सकता है।"),
        ("ポンプを止める", "運転員だけがポンプを止める。"),
        ("قف المضخة", "يُوقِفُ المُشَغِّلُ المَضَخَّةَ قِفْ"),
    ],
)
def test_the_snippet_has_the_rare_words_of_the_question_whatever_their_endings(
    query: str, sentence: str
) -> None:
    part = snippet(f"{FILLING}{sentence} {FILLING}", QueryWords(query))
    assert sentence in part


@given(
    st.text("aé \u0301\u0915\u093f\u094d\u200d👩🇩🇪", max_size=120), st.text(max_size=10), st.integers(30, 60)
)
def test_no_letter_is_separated_from_its_marks(text: str, query: str, length: int) -> None:
    part = snippet(text, QueryWords(query), length=length)
    places = [at for at in range(len(text)) if text.startswith(part, at)]
    split = inside(text)
    clusters = max(map(len, CLUSTER.findall(text)), default=0)
    assert split is None or clusters > 25 or any(not split[at] and not split[at + len(part)] for at in places)


def test_words_are_not_cut_and_without_a_match_the_snippet_is_the_beginning() -> None:
    text = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda"
    assert snippet(text, QueryWords("nothing"), length=20) == "alpha beta gamma"
    assert set(snippet(text, QueryWords("zeta"), length=20).split()) <= set(text.split())
    assert "zeta" in snippet(text, QueryWords("zeta"), length=20)


@given(
    st.lists(st.text("abcdef", min_size=1, max_size=9), min_size=1, max_size=6),
    st.text("abcdef", min_size=1, max_size=9),
)
def test_words_match_where_only_their_endings_differ(query: list[str], word: str) -> None:
    def alike(one: str) -> bool:
        shorter, longer = sorted((one, word), key=len)
        common = max(4, len(longer) - 3)
        return one == word or (len(shorter) >= common and longer[:common] == shorter[:common])

    found = QueryWords(" ".join(query)).find(word)
    assert (found is not None) == any(map(alike, query))
    assert found is None or (found in query and alike(found))


@given(st.text("abcdé_ .", max_size=80), st.text("abcd ", max_size=20))
def test_the_words_of_a_text_match_like_each_word_alone(text: str, query: str) -> None:
    words = QueryWords(query)
    alone = [
        (found.start(), found.end(), match)
        for found in re.finditer(r"[^\W_]+", text)
        if (match := words.find(found[0])) is not None
    ]
    assert words.matches(text) == alone
    assert words.matches(text.upper()) == alone


def test_a_long_question_takes_no_longer_than_a_short_one() -> None:
    words = QueryWords(" ".join(f"{FILLING.split()[0][:4]}{n}" for n in range(5_000)))
    began = time.process_time()
    for _ in range(50):
        snippet(FILLING, words)
    assert time.process_time() - began < 1
