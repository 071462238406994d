"""OpenAI's tokeniser: known ids, exact offsets, and text that stays the same on its way to ids and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.engines.tokens.cl100k import Cl100kTokeniser, require_file
from cluster.records import Page
from data_jobs.stages.chunkers.content_defined import ContentDefinedChunker


@pytest.fixture(scope="module")
def tokeniser() -> Cl100kTokeniser:
    """Return the tokeniser with the packaged file."""
    return Cl100kTokeniser(require_file(None), max_content_tokens=8_191)


def test_ids_and_offsets_are_those_of_openai(tokeniser: Cl100kTokeniser) -> None:
    (tokens,) = tokeniser.tokenise(["a heron 🐦"])
    assert tokens.ids.tolist() == [64, 1077, 263, 11410, 238, 99]
    assert tokens.offsets.tolist() == [[0, 1], [1, 5], [5, 7], [7, 9], [8, 9], [8, 9]]
    (marker,) = tokeniser.ids(["<|endoftext|>"])
    assert len(marker) > 1  # the name of a special token is ordinary text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_no_text_is_lost_and_every_character_is_in_a_token(text: str) -> None:
    tokeniser = Cl100kTokeniser(require_file(None), max_content_tokens=8_191)
    (tokens,) = tokeniser.tokenise([text])
    assert tokeniser.decode(tokens.ids) == text
    covered = np.zeros(len(text), np.bool_)
    for start, end in tokens.offsets.tolist():
        assert start < end
        covered[start:end] = True
    assert covered.all()


def test_a_text_cut_inside_a_character_loses_that_character_only(tokeniser: Cl100kTokeniser) -> None:
    (ids,) = tokeniser.ids(["a heron 🐦"])
    assert [tokeniser.decode(ids[:cut]) for cut in (5, 4)] == ["a heron ", "a heron "]
    assert tokeniser.decode(ids[4:]) == ""


def test_chunks_never_begin_or_end_inside_a_character(tokeniser: Cl100kTokeniser) -> None:
    page = Page(number=1, text="鷺は何時間も動かずに立つ🐦 ﷽ " * 60)
    chunks = ContentDefinedChunker(tokeniser, "m@1", max_tokens=17).chunk("doc", [page]).chunks
    assert len(chunks) > 50
    for chunk in chunks:
        assert tokeniser.decode(np.array(chunk.token_ids, np.int32)).strip() == chunk.text.strip()
