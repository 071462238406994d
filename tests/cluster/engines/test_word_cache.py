"""The word cache gives the ids and offsets of the tokeniser in Rust, for any text."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cluster.engines import Registry, open_tokeniser
from cluster.engines.tokens.tokeniser import LocalTokeniser
from cluster.engines.tokens.word_cache import WordCachedTokeniser, unsuitable
from cluster.engines.weights import ModelFolder, open_model_folder
from cluster.errors import Misconfigured
from cluster.settings import Settings
from tests.cluster.engines.conftest import LICENCE, TEXTS, engine_of

#: Pieces of text that some step of the tokeniser treats specially.
PIECES = [
    *("[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[cls]", "[CL", "S]", "##ing", "[unused1]"),
    *(
        " ",
        "\n",
        "\t",
        "\r\n",
        "\x0b",
        "\x0c",
        "\x1c",
        "\x1f",
        "\x85",
        "\xa0",
        "\u1680",
        "\u2003",
        "\u2028",
        "\u2029",
        "\u3000",
    ),
    *(
        "\0",
        "\x07",
        "\x7f",
        "\xad",
        "\u200b",
        "\u200d",
        "\u2060",
        "\ufeff",
        "\ufffd",
        "\ufffe",
        "\ue000",
        "\ud800",
        "\udfff",
    ),
    *(
        "é",
        "e\u0301",
        "\u0301",
        "a\u0308\u0323",
        "a\u0323\u0308",
        "ǘ",
        "ﬁ",
        "İ",
        "ẞ",
        "ΑΣ",
        "Ω",
        "K",
        "≠",
        "½",
        "①",
        "Ⅷ",
    ),
    *(
        "中",
        "北京市",
        "\uf900",
        "\U00020000",
        "ご飯",
        "한국",
        "한",
        "हिन्दी",
        "مَرْحَبًا",
        "שָׁלוֹם",
        "ก็",
        "\u302e",
        "\U0001d165",
    ),
    *("🙂", "👩‍🚀", "🇨🇭", "👍🏽", "#️⃣", "x" * 99, "x" * 100, "x" * 101, "é" * 101, "-" * 120),
    *(
        "Hello,",
        "don't",
        "U.S.A.",
        "3.14%",
        "(see",
        "[12]",
        "naïve",
        "unaffable",
        "http://example.org/a?b=c#d",
        "\\n",
        "`code`",
        "$5",
        "^~|",
    ),
]
anything = st.text(st.characters(), max_size=40)
mixtures = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=15).map("".join)


@cache
def both() -> tuple[LocalTokeniser, WordCachedTokeniser]:
    """The real tokeniser, and the word cache."""
    folder = open_model_folder(Registry(Settings()).default)
    return LocalTokeniser(folder), WordCachedTokeniser(folder)


def assert_same(
    texts: Sequence[str], tokenisers: tuple[LocalTokeniser, WordCachedTokeniser] | None = None
) -> None:
    """Check that ids, offsets and their types equal those of the real tokeniser."""
    real, cached = tokenisers or both()
    for text, expected, whole, ids in zip(
        texts, real.tokenise(texts), cached.tokenise(texts), cached.ids(texts), strict=True
    ):
        assert whole.ids.dtype == whole.offsets.dtype == ids.dtype == np.int32
        assert whole.ids.tolist() == ids.tolist() == expected.ids.tolist(), ascii(text)
        assert whole.offsets.tolist() == expected.offsets.tolist(), ascii(text)
    assert cached.count(texts).tolist() == real.count(texts).tolist()


def variant(folder: Path, **changes: dict[str, Any]) -> ModelFolder:
    """The packaged model with parts of its tokenizer.json changed."""
    original = open_model_folder(Registry(Settings()).default)
    described = json.loads((original.path / "tokenizer.json").read_text(encoding="utf-8"))
    for part, change in changes.items():
        (described["added_tokens"][1] if part == "added_token" else described[part]).update(change)
    (folder / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    return replace(original, path=folder)


def all_but_the_tokeniser(folder: Path) -> None:
    """Link the packaged model's other files into the folder."""
    for file in open_model_folder(Registry(Settings()).default).path.iterdir():
        if file.name != "tokenizer.json":
            (folder / file.name).symlink_to(file)


@hypothesis_settings(max_examples=250)
@given(texts=st.lists(st.one_of(anything, mixtures), min_size=10, max_size=20))
def test_any_text_gives_the_same(texts: list[str]) -> None:
    assert_same(texts)


@pytest.mark.parametrize("piece", PIECES, ids=ascii)
def test_every_rule_gives_the_same_at_every_place(piece: str) -> None:
    assert_same(
        [
            piece,
            f"word{piece}word",
            f" {piece} ",
            f"{piece}É{piece}",
            piece * 3,
            f"[CLS{piece}]",
            f"{piece}\n\x0c{piece}",
        ]
    )


def test_every_character_of_the_first_planes_letters_gives_the_same() -> None:
    without_ideographs = [
        *range(0x3400),
        *range(0xA000, 0xAC10),
        *range(0xD7A0, 0xE010),
        *range(0xF8F0, 0x11000),
    ]
    assert_same([f"a{chr(code)}b {chr(code)}\u0301É" for code in without_ideographs])


def test_real_prose_gives_the_same() -> None:
    assert_same([*TEXTS, LICENCE, "", "\ud800 word", "🙂" * 400, "北京" * 5_000, "a" * 100_000])


@pytest.mark.corpus
def test_the_pages_of_real_documents_give_the_same(corpus: Path) -> None:
    pages = []
    for file in sorted(corpus.rglob("*.pdf")):
        with pymupdf.open(file) as document:
            pages.extend(page.get_text() for page in document)
    assert len(pages) > 300
    assert_same(pages)


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"lowercase": False}},
        {"normalizer": {"lowercase": False, "strip_accents": True}},
        {"normalizer": {"strip_accents": False}},
        {"normalizer": {"handle_chinese_chars": False}},
        {"normalizer": {"clean_text": False}},
        {"model": {"max_input_chars_per_word": 5}},
        {"added_token": {"lstrip": True, "rstrip": True}},
        {"added_token": {"single_word": True}},
    ],
    ids=str,
)
def test_every_kind_of_bert_vocabulary_gives_the_same(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = variant(tmp_path, **changes)
    assert unsuitable(folder) is None
    texts = [*TEXTS, *(f"a{one}B {one}{other}" for one, other in zip(PIECES, reversed(PIECES), strict=True))]
    assert_same(texts, (LocalTokeniser(folder), WordCachedTokeniser(folder)))


def test_marks_that_normalising_puts_in_order_give_the_same(tmp_path: Path) -> None:
    vocabulary = json.loads(
        (open_model_folder(Registry(Settings()).default).path / "tokenizer.json").read_text(encoding="utf-8")
    )["model"]["vocab"]
    for unused, piece in (("[unused1]", "##\u302e"), ("[unused2]", "##\U0001d165")):
        vocabulary[piece] = vocabulary.pop(unused)
    folder = variant(tmp_path, model={"vocab": vocabulary})
    pair = LocalTokeniser(folder), WordCachedTokeniser(folder)
    assert len(set(pair[0].ids(["a\u302e\U0001d165"])[0].tolist())) == 3
    assert_same(["a\u302e\U0001d165", "a\U0001d165\u302e", "word a\u302e word"], pair)


def test_a_forgotten_word_is_looked_up_again() -> None:
    folder = open_model_folder(Registry(Settings()).default)
    cached = WordCachedTokeniser(folder, max_words=50)
    for _ in range(3):
        assert_same(TEXTS, (both()[0], cached))
        assert 50 < cached.words_kept <= 100


def test_overlong_words_are_not_kept() -> None:
    cached = WordCachedTokeniser(open_model_folder(Registry(Settings()).default))
    cached.ids(["x" * 1_000_000, "é" * 33, "한국" * 1_000])
    assert cached.words_kept == 0


def test_threads_share_it() -> None:
    cached = WordCachedTokeniser(open_model_folder(Registry(Settings()).default), max_words=200)
    expected = [tokens.ids.tolist() for tokens in both()[0].tokenise(TEXTS)]
    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(lambda _: cached.tokenise(TEXTS), range(32)):
            assert [tokens.ids.tolist() for tokens in found] == expected
    assert cached.words_kept <= 400


def test_bulk_work_uses_the_word_cache_and_engines_do_not() -> None:
    assert isinstance(open_tokeniser(Registry(Settings()).default), WordCachedTokeniser)
    assert not isinstance(engine_of("float32").tokeniser, WordCachedTokeniser)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer is Whitespace"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer is Lowercase"),
        ({"added_token": {"normalized": True}}, "'[UNK]' is matched after normalising"),
    ],
    ids=str,
)
def test_other_vocabularies_get_the_plain_tokeniser_and_the_log_says_why(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    all_but_the_tokeniser(tmp_path)
    variant(tmp_path, **changes)
    with capture_logs() as lines:
        assert type(open_tokeniser(Registry(Settings(model_path=tmp_path)).default)) is LocalTokeniser
    (line,) = [line for line in lines if line["event"] == "tokeniser_opened"]
    assert line["path"] == "plain"
    assert reason in line["because"]


def test_a_folder_without_a_tokeniser_is_refused(tmp_path: Path) -> None:
    all_but_the_tokeniser(tmp_path)
    with pytest.raises(Misconfigured, match=r"tokenizer\.json"):
        open_tokeniser(Registry(Settings(model_path=tmp_path)).default)
