"""Chunks hold every token once, are slices of their page, fit the model, and stay where they are when text elsewhere changes."""

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cluster.engines import Tokeniser, open_tokeniser
from cluster.records import Page
from cluster.settings import Settings
from data_jobs.stages.chunk import Chunker
from data_jobs.stages.sentences import boundaries

SEED = 20_261_124

words = st.sampled_from(
    ["word", "Sentence.", "e.g.", "3.14", "\n\n", "\n- item", "x" * 300, "naïve", "東京。", "🐦", "—", "a\tb", "U.S.", "?!"]
)
texts = st.one_of(st.text(max_size=300), st.lists(words, max_size=120).map(" ".join))


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    """The model's own."""
    return open_tokeniser(Settings())


@hypothesis_settings(max_examples=150, deadline=None)
@given(pages=st.lists(texts, max_size=4), most=st.sampled_from([1, 7, 40, 254]))
def test_no_token_is_lost_and_no_chunk_is_more_than_a_slice_that_fits(tokeniser: Tokeniser, pages: list[str], most: int) -> None:
    chunks = Chunker(tokeniser, "model", max_tokens=most).chunk("doc", [Page(number=n, text=text) for n, text in enumerate(pages, 1)])
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    for number, tokens in enumerate(tokeniser.tokenise(pages), 1):
        mine = [chunk for chunk in chunks if chunk.page == number]
        assert [id for chunk in mine for id in chunk.token_ids] == tokens.ids.tolist()
        assert all(1 <= len(chunk.token_ids) <= most for chunk in mine)
        assert all(pages[number - 1][chunk.start : chunk.end] == chunk.text for chunk in mine)


def prose(sentences: int) -> list[str]:
    """Sentences of random words, the same at every call."""
    chance = random.Random(SEED)
    vocabulary = "heron swift pump valve operator river night engine slowly never stands opens closes under over quiet red long".split()
    return [" ".join(chance.choices(vocabulary, k=chance.randint(5, 25))).capitalize() + "." for _ in range(sentences)]


def test_what_a_chunk_holds_is_what_its_text_alone_gives(tokeniser: Tokeniser) -> None:
    chunks = Chunker(tokeniser, "model").chunk("doc", [Page(number=1, text=" ".join(prose(400)))])
    for chunk, alone in zip(chunks, tokeniser.tokenise([chunk.text for chunk in chunks]), strict=True):
        assert list(chunk.token_ids) == alone.ids.tolist()


def test_chunks_begin_with_sentences_and_are_well_filled(tokeniser: Tokeniser) -> None:
    chunks = Chunker(tokeniser, "model").chunk("doc", [Page(number=1, text=" ".join(prose(2_000)))])
    assert all(chunk.text[0].isupper() and chunk.text.endswith(".") for chunk in chunks)
    assert sum(len(chunk.token_ids) for chunk in chunks) / len(chunks) > 0.6 * 254


def test_an_inserted_sentence_changes_three_chunks_at_most_nearly_always(tokeniser: Tokeniser) -> None:
    chunker, sentences, chance = Chunker(tokeniser, "model"), prose(600), random.Random(SEED)
    before = {chunk.id for chunk in chunker.chunk("doc", [Page(number=1, text=" ".join(sentences))])}
    changed = []
    for _ in range(100):
        edited = list(sentences)
        edited.insert(chance.randrange(len(edited)), "The inserted sentence speaks of nightingales.")
        after = {chunk.id for chunk in chunker.chunk("doc", [Page(number=1, text=" ".join(edited))])}
        changed.append(len(after - before))
    print(f"seed {SEED}: chunks changed, worst {max(changed)}, mean {sum(changed) / len(changed):.2f}")
    assert sum(count > 3 for count in changed) <= 2


def test_equal_chunks_have_ids_of_their_own_and_page_numbers_none(tokeniser: Tokeniser) -> None:
    chunker = Chunker(tokeniser, "model")
    same = chunker.chunk("doc", [Page(number=1, text="The same."), Page(number=2, text="The same.")])
    moved = chunker.chunk("doc", [Page(number=7, text="The same.")])
    assert len({chunk.id for chunk in same}) == 2
    assert moved[0].id == same[0].id


def test_a_manual_of_fifteen_hundred_pages_takes_seconds(tokeniser: Tokeniser) -> None:
    page = " ".join(prose(35))
    started = time.perf_counter()
    chunks = Chunker(tokeniser, "model").chunk("doc", [Page(number=n, text=page) for n in range(1, 1_501)])
    assert len(chunks) >= 3_000
    assert time.perf_counter() - started < 30


@given(text=texts)
def test_sentences_tile_the_text(text: str) -> None:
    starts = boundaries(text).tolist()
    assert starts[0] == 0
    assert all(a < b for a, b in pairwise(starts))
    assert "".join(text[a:b] for a, b in pairwise([*starts, len(text)])) == text


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", 3),
        ("See Fig. 3 and e.g. Smith et al. 2001.", 1),
        ("Pi is 3.14 today.", 1),
        ("J. R. R. Tolkien wrote it.", 1),
        ('He said "Stop." She did.', 2),
        ("一。二。三", 3),
        ("A title\n\nA paragraph", 2),
        ("- one\n- two\n- three", 3),
        ("it ended.. and went on", 1),
    ],
)
def test_where_sentences_end(text: str, sentences: int) -> None:
    assert len(boundaries(text)) == sentences


def test_megabytes_without_a_sentence_take_no_quadratic_time() -> None:
    started = time.perf_counter()
    for text in ("a" * 2_000_000, " " * 2_000_000, "." * 2_000_000, "\n" * 2_000_000, "a. " * 300_000):
        boundaries(text)
    assert time.perf_counter() - started < 20
