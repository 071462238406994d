"""The language of a document is found, and is not guessed for texts that do not show it."""

import pytest

from cluster.languages.document_language import document_language
from tests.cluster.languages.texts import CHINESE, ENGLISH, FRENCH, GERMAN


@pytest.mark.parametrize(
    ("pages", "code"),
    [
        ([GERMAN], "de"),
        ([FRENCH, FRENCH], "fr"),
        ([CHINESE], "zh"),
        ([ENGLISH] * 20, "en"),
        ([ENGLISH] * 20 + [GERMAN], "en"),
        ([ENGLISH] * 5 + [GERMAN] * 5, "mul"),
        ([], "und"),
        (["", " \n"], "und"),
        (["Rechnung 2024"], "und"),
        (["Invoice 2024-11-03 Total 34.50 EUR"], "und"),
        (["1 2 3 4 5 6 7 8"] * 100, "und"),
    ],
)
def test_a_document_has_one_language_several_or_none_that_is_clear(pages: list[str], code: str) -> None:
    assert document_language(pages).code == code


def test_a_chunk_has_the_language_of_its_document_unless_the_document_has_several() -> None:
    assert document_language([GERMAN]).of_chunk(ENGLISH) == "de"
    mixed = document_language([ENGLISH * 3, GERMAN * 3])
    assert [mixed.of_chunk(text) for text in (ENGLISH, GERMAN, "A 12")] == ["en", "de", "und"]
    mostly_english = document_language([ENGLISH * 20, GERMAN * 3])
    assert (mostly_english.code, mostly_english.of_chunk(GERMAN), mostly_english.of_chunk("A 12")) == (
        "en",
        "de",
        "en",
    )
