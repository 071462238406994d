"""Keyword extraction takes bounded time, accepts any text, and finds the chunks that contain each keyword."""

import time

import pytest

from cluster.records import Page
from data_jobs.stages.keywords import (
    SAMPLE_CHARACTERS,
    KeywordExtractor,
    find_in_texts,
    sample,
    stop_words_of,
)
from tests.cluster.languages.texts import CHINESE, ENGLISH, FRENCH, GERMAN

ABOUT = (
    "The grey heron is a wading bird. "
    "A grey heron hunts fish in shallow water. Herons nest in colonies near the river. "
)


def test_keywords_say_what_a_text_is_about() -> None:
    found = KeywordExtractor(5).extract([Page(number=1, text=ABOUT * 3)])
    assert "grey heron" in found
    assert len(found) <= 5
    assert all(keyword == keyword.lower() for keyword in found)


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n", "12 34 56", "!!! ???", "🐦 🐦", "a", "東京 東京", "\u202e\u200b", "x" * 100_000]
)
def test_odd_text_gives_few_keywords_or_none_and_never_an_error(text: str) -> None:
    assert len(KeywordExtractor(5).extract([Page(number=1, text=text)])) <= 5


def test_a_long_document_takes_no_longer_than_its_sample() -> None:
    extractor = KeywordExtractor(12)
    started = time.process_time()
    extractor.extract([Page(number=1, text=ABOUT * 50_000)])
    assert time.process_time() - started < 5
    assert len(sample(ABOUT * 50_000)) < SAMPLE_CHARACTERS * 1.1


def test_no_keywords_are_extracted_if_none_are_wanted() -> None:
    assert KeywordExtractor(0).extract([Page(number=1, text=ABOUT)]) == []


def test_a_chunk_gets_the_keywords_that_it_contains_as_words() -> None:
    found = find_in_texts(
        ["heron", "wading bird", "c++"], ["A Heron.", "herons, a wading\nbird", "in C++ only", ""]
    )
    assert found == [["heron"], ["wading bird"], ["c++"], []]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [(GERMAN, "de", "pumpen"), (FRENCH, "fr", "pompes"), (CHINESE, "zh", "水泵"), (ENGLISH, "en", "pumps")],
)
def test_keywords_have_no_stop_words_of_the_language_of_the_document(
    text: str, language: str, expected: str
) -> None:
    keywords = KeywordExtractor(10, languages=stop_words_of([language])).extract([Page(number=1, text=text)])
    assert expected in keywords[:5]
    assert not {"die", "das", "la", "les", "elle", "the", "she", "的", "在"} & set(" ".join(keywords).split())
    (found,) = find_in_texts([expected], [text])
    assert found == [expected]


def test_a_document_in_two_languages_has_keywords_of_both() -> None:
    pages = [Page(number=1, text=GERMAN), Page(number=2, text=CHINESE), Page(number=3, text=FRENCH)]
    keywords = KeywordExtractor(40, languages=stop_words_of(["de", "zh", "fr"])).extract(pages)
    assert {"pumpen", "水泵", "pompes"} <= set(keywords)
    assert not {"die", "les"} & set(keywords)


def test_languages_without_stop_words_and_unknown_languages_have_keywords() -> None:
    assert (stop_words_of(["sw"]), stop_words_of([]), stop_words_of(["cs"])) == ((), ("en",), ("cz",))
    assert KeywordExtractor(3, languages=()).extract([Page(number=1, text=ENGLISH)])
