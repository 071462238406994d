"""Chunks hold every token once, are slices of their page, fit the model, and do not move when others do."""

import random
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from cluster.engines import Registry, Tokeniser, Tokens, open_tokeniser
from cluster.records import MAX_CHUNK_TEXT_BYTES, Page
from cluster.settings import Settings
from cluster.text.graphemes import CLUSTER, inside
from data_jobs.stages.chunkers.content_defined import ContentDefinedChunker
from data_jobs.stages.chunkers.contract import ChunkedDocument
from data_jobs.stages.chunkers.page_chunker import LEAST_CHARACTERS
from data_jobs.stages.chunkers.sentences import boundaries
from data_jobs.stages.chunkers.token_places import MAX_BLANK_TOKENS, tokenise

SEED = 20_261_124

PROSE = [
    "word",
    "Sentence.",
    "e.g.",
    "3.14",
    "\n\n",
    "\n- item",
    "x" * 300,
    "naïve",
    "東京。",
    "🐦",
    "—",
    "a\tb",
    "U.S.",
    "?!",
]
MARKED = [
    "كِتَابٌ",
    "हिन्दी",
    "ปั๊มน้ำ" * 9,
    "각",
    "한국어" * 20,
    "\u1112\u1161\u11ab",
    "e\u0301\u0323",
    "z" + "\u0301" * 40,
    "क्\u200dष",
]
EMOJI = ["👩🏽\u200d💻", "🇩🇪🇫🇷", "🏳\ufe0f\u200d🌈"]
UNSEEN = [
    "\u200b",
    "\u00ad",
    "\ufffd",
    "\ue000",
    "\u0600",
    " " * 200,
    "\x88",
    "\x1f",
    "[UNK]",
    "\ud800",
    "ab\u200bcd",
]
words = st.sampled_from([*PROSE, *MARKED, *EMOJI, *UNSEEN])
texts = st.one_of(st.text(max_size=300), st.lists(words, max_size=120).map(" ".join))


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    """The tokeniser of the model."""
    return open_tokeniser(Registry(Settings()).default)


def chunked(tokeniser: Tokeniser, pages: list[str], *, most: int | None = None) -> ChunkedDocument:
    return ContentDefinedChunker(tokeniser, "model", max_tokens=most).chunk(
        "doc", [Page(number=n, text=text) for n, text in enumerate(pages, 1)]
    )


def solid(text: str) -> int:
    """Number of characters that are not white space."""
    return sum(map(len, text.split()))


def letters(tokeniser: Tokeniser, text: str) -> list[str]:
    """The grapheme clusters that give tokens."""
    return [cluster for cluster in CLUSTER.findall(text) if len(tokeniser.tokenise([cluster])[0].ids)]


@hypothesis_settings(max_examples=100)
@given(pages=st.lists(texts, max_size=4), most=st.sampled_from([1, 7, 40, 254]))
def test_chunks_hold_every_token_and_every_character_once_and_fit(
    tokeniser: Tokeniser, pages: list[str], most: int
) -> None:
    found = chunked(tokeniser, pages, most=most)
    chunks = found.chunks
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    for number, tokens in enumerate(tokenise(tokeniser, pages), 1):
        mine, text = [chunk for chunk in chunks if chunk.page == number], pages[number - 1]
        assert [id for chunk in mine for id in chunk.token_ids] == tokens.ids.tolist()
        assert all(text[chunk.start : chunk.end] == chunk.text == chunk.text.strip() != "" for chunk in mine)
        assert all(one.end <= other.start for one, other in pairwise(mine))
        assert sum(solid(chunk.text) for chunk in mine) == (solid(text) if len(tokens.ids) else 0)
        for chunk in mine:
            assert 1 <= len(chunk.token_ids) <= most or (
                most < 254 and len(letters(tokeniser, chunk.text)) == 1
            )
            assert len(chunk.text) <= LEAST_CHARACTERS
    assert 0 <= found.unknown_characters <= found.characters == sum(map(solid, pages))


@hypothesis_settings(max_examples=100)
@given(text=texts, most=st.sampled_from([40, 254]))
def test_no_letter_is_separated_from_its_marks(tokeniser: Tokeniser, text: str, most: int) -> None:
    if max((len(one.ids) for one in tokenise(tokeniser, CLUSTER.findall(text)[:200])), default=0) > most:
        return  # one letter alone exceeds the limit
    split = inside(text)
    for chunk in chunked(tokeniser, [text], most=most).chunks:
        begins = (
            chunk.start == 0 or text[chunk.start - 1].isspace() or split is None or not split[chunk.start]
        )
        ends = chunk.end == len(text) or text[chunk.end].isspace() or split is None or not split[chunk.end]
        assert begins
        assert ends


class Bytes:
    """A tokeniser with byte-level tokens, like RoBERTa's: several for a letter, and some for white space."""

    max_content_tokens, special_tokens, unknown_id = 254, 2, None

    def __init__(self) -> None:
        vocabulary = {letter: id for id, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
        self._tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
        self._tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        found = self._tokenizer.encode_batch(list(texts))
        return [
            Tokens(ids=np.array(one.ids, np.int32), offsets=np.array(one.offsets, np.int32).reshape(-1, 2))
            for one in found
        ]


@hypothesis_settings(max_examples=60)
@given(text=texts.filter(str.isprintable), most=st.sampled_from([60, 254]))
def test_byte_level_vocabularies_split_no_letter_either(text: str, most: int) -> None:
    tokeniser = cast("Tokeniser", Bytes())
    found = (
        ContentDefinedChunker(tokeniser, "model", max_tokens=most)
        .chunk("doc", [Page(number=1, text=text)])
        .chunks
    )
    (tokens,) = tokenise(tokeniser, [text], blanks=True)
    assert [id for chunk in found for id in chunk.token_ids] == (tokens.ids.tolist() if solid(text) else [])
    assert sum(solid(chunk.text) for chunk in found) == solid(text)
    assert all(chunk.text == chunk.text.strip() != "" and len(chunk.token_ids) <= most for chunk in found)
    if max((len(one.ids) for one in tokeniser.tokenise(CLUSTER.findall(text))), default=0) > most:
        return  # one letter alone exceeds the limit
    split = inside(text)
    assert split is None or not any(
        split[chunk.start] and not text[chunk.start - 1].isspace() for chunk in found if chunk.start
    )


def test_only_short_runs_of_white_space_tokens_are_kept() -> None:
    found = (
        ContentDefinedChunker(cast("Tokeniser", Bytes()), "model")
        .chunk("doc", [Page(number=1, text="a  b" + " " * 100_000 + "c")])
        .chunks
    )
    assert [(chunk.text[:4], len(chunk.token_ids)) for chunk in found] == [
        ("a  b", 4 + MAX_BLANK_TOKENS),
        ("c", 1),
    ]


@pytest.mark.parametrize(
    "word", ["مُسْتَشْفَيَاتُهُمْ", "विश्वविद्यालयों", "שְׁמָרִים", "இயக்குநர்கள்", "naïvete\u0301s", "per\u00admit\u00adted"]
)
def test_words_are_cut_at_white_space_and_not_at_marks(tokeniser: Tokeniser, word: str) -> None:
    text = " ".join([word] * 400)
    chunks = chunked(tokeniser, [text], most=60).chunks
    assert len(chunks) > 5
    assert " ".join(chunk.text for chunk in chunks) == text
    assert {part for chunk in chunks for part in chunk.text.split()} == {word}


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("0123456789abcdef" * 65_536, 1.0),
        ("word" + " " * 2_000_000 + "word", 1.0),
        ("\n".join(["word", *[" " * 70] * 30_000, "word"]), 1.0),
        ("word " + "\u200b" * 100_000 + " word", 1.0),
        ("wo" + "\u200b" * 100_000 + "rd", 1.0),
        ("word" + "\u0301" * 100_000 + " word", 1.0),
        ("한국어" * 20_000, 1.0),
        ("ปิดปั๊มน้ำก่อนเปิดวาล์ว" * 150, 0.0),
        ("word " + "\ue000" * 20_000, 0.0),
        ("." * 300_000, 1.0),
    ],
    ids=[
        "hexadecimal",
        "spaces",
        "lines",
        "zero width",
        "zero width inside",
        "one letter",
        "Korean",
        "Thai",
        "private use",
        "dots",
    ],
)
def test_long_runs_become_chunks_that_fit_and_unknown_text_is_counted(
    tokeniser: Tokeniser, text: str, known: float
) -> None:
    started = time.process_time()
    found = chunked(tokeniser, [text])
    assert time.process_time() - started < 30
    assert all(len(chunk.token_ids) <= 254 and len(chunk.text) <= LEAST_CHARACTERS for chunk in found.chunks)
    assert max(len(chunk.text) for chunk in found.chunks) * 4 <= MAX_CHUNK_TEXT_BYTES
    assert 1 - found.unknown_share == pytest.approx(known, abs=0.01)
    if known:
        assert found.unknown_tokens == 0
    if "\u200b" not in text and "\ue000" not in text and "\u0301" not in text:
        assert sum(solid(chunk.text) for chunk in found.chunks) == solid(text)


def test_a_too_long_word_is_tokenised_in_pieces_and_its_neighbours_stay_the_same(
    tokeniser: Tokeniser,
) -> None:
    long = "pump" * 40
    before, after = "the naïve operator stops", "at once."
    (tokens,) = tokenise(tokeniser, [f"{before} {long} {after}"])
    alone = [
        one.ids.tolist()
        for one in tokeniser.tokenise([before, *[long[at : at + 32] for at in range(0, 160, 32)], after])
    ]
    assert tokens.ids.tolist() == [id for ids in alone for id in ids]
    assert tokeniser.unknown_id in tokeniser.tokenise([long])[0].ids
    assert tokeniser.unknown_id not in tokens.ids


def prose(sentences: int) -> list[str]:
    """Sentences of random words, the same at every call."""
    chance = random.Random(SEED)
    vocabulary = (
        "heron swift pump valve operator river night engine slowly never "
        "stands opens closes under over quiet red long"
    ).split()
    return [
        " ".join(chance.choices(vocabulary, k=chance.randint(5, 25))).capitalize() + "."
        for _ in range(sentences)
    ]


def test_the_tokens_of_a_chunk_are_those_of_its_text_alone(tokeniser: Tokeniser) -> None:
    chunks = (
        ContentDefinedChunker(tokeniser, "model")
        .chunk("doc", [Page(number=1, text=" ".join(prose(400)))])
        .chunks
    )
    for chunk, alone in zip(chunks, tokeniser.tokenise([chunk.text for chunk in chunks]), strict=True):
        assert list(chunk.token_ids) == alone.ids.tolist()


def test_chunks_begin_with_sentences_and_are_well_filled(tokeniser: Tokeniser) -> None:
    chunks = (
        ContentDefinedChunker(tokeniser, "model")
        .chunk("doc", [Page(number=1, text=" ".join(prose(2_000)))])
        .chunks
    )
    assert all(chunk.text[0].isupper() and chunk.text.endswith(".") for chunk in chunks)
    assert sum(len(chunk.token_ids) for chunk in chunks) / len(chunks) > 0.6 * 254


def test_an_inserted_sentence_changes_three_chunks_at_most_nearly_always(tokeniser: Tokeniser) -> None:
    chunker, sentences, chance = ContentDefinedChunker(tokeniser, "model"), prose(600), random.Random(SEED)
    before = {chunk.id for chunk in chunker.chunk("doc", [Page(number=1, text=" ".join(sentences))]).chunks}
    changed = []
    for _ in range(100):
        edited = list(sentences)
        edited.insert(chance.randrange(len(edited)), "The inserted sentence speaks of nightingales.")
        after = {chunk.id for chunk in chunker.chunk("doc", [Page(number=1, text=" ".join(edited))]).chunks}
        changed.append(len(after - before))
    print(f"seed {SEED}: chunks changed, worst {max(changed)}, mean {sum(changed) / len(changed):.2f}")
    assert sum(count > 3 for count in changed) <= 2


def test_equal_chunks_have_different_ids_which_do_not_depend_on_the_page(tokeniser: Tokeniser) -> None:
    chunker = ContentDefinedChunker(tokeniser, "model")
    same = chunker.chunk("doc", [Page(number=1, text="The same."), Page(number=2, text="The same.")]).chunks
    moved = chunker.chunk("doc", [Page(number=7, text="The same.")]).chunks
    assert len({chunk.id for chunk in same}) == 2
    assert moved[0].id == same[0].id


def test_a_manual_of_fifteen_hundred_pages_takes_seconds(tokeniser: Tokeniser) -> None:
    page = " ".join(prose(35))
    started = time.process_time()
    chunks = (
        ContentDefinedChunker(tokeniser, "model")
        .chunk("doc", [Page(number=n, text=page) for n in range(1, 1_501)])
        .chunks
    )
    assert len(chunks) >= 3_000
    assert time.process_time() - started < 30


@given(text=texts)
def test_the_spans_of_sentences_cover_the_text(text: str) -> None:
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
        ("पम्प बंद करें। वाल्व खोलें॥ फिर रुकें", 3),
        ("أين المضخة؟ هنا. نعم", 3),
        ("پمپ بند کریں۔ والو کھولیں", 2),
        ("A title\n\nA paragraph", 2),
        ("- one\n- two\n- three", 3),
        ("it ended.. and went on", 1),
    ],
)
def test_where_sentences_end(text: str, sentences: int) -> None:
    assert len(boundaries(text)) == sentences


def test_megabytes_without_a_sentence_take_linear_time() -> None:
    started = time.process_time()
    for text in ("a" * 2_000_000, " " * 2_000_000, "." * 2_000_000, "\n" * 2_000_000, "a. " * 300_000):
        boundaries(text)
    assert time.process_time() - started < 20
