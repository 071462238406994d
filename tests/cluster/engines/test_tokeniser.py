"""The tokeniser gives the ids of the model's own tokeniser, with offsets into the original text."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.engines import Registry, Tokeniser, open_tokeniser
from cluster.settings import Settings
from tests.cluster.engines.conftest import LICENCE, TEXTS


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    return open_tokeniser(Registry(Settings()).default)


def test_ids_are_those_of_transformers(tokeniser: Tokeniser) -> None:
    from transformers import AutoTokenizer

    from cluster.engines.weights import open_model_folder

    theirs = AutoTokenizer.from_pretrained(
        str(open_model_folder(Registry(Settings()).default).path), local_files_only=True
    )
    for text, ids in zip(TEXTS, tokeniser.ids(TEXTS), strict=True):
        assert ids.tolist() == theirs(text, add_special_tokens=False, verbose=False)["input_ids"]


def test_offsets_are_characters_of_the_text_as_given(tokeniser: Tokeniser) -> None:
    text = "naïve 👩‍🚀 café"
    (tokens,) = tokeniser.tokenise([text])
    assert [text[start:end] for start, end in tokens.offsets] == ["naïve", "👩‍🚀", "café"]


def test_a_long_text_is_whole(tokeniser: Tokeniser) -> None:
    text = (LICENCE * 4)[:100_000]
    (tokens,) = tokeniser.tokenise([text])
    assert len(text) - tokens.offsets[-1, 1] < 10
    assert len(tokens.ids) == len(tokens.offsets) == tokeniser.count([text])[0] > 15_000


@given(text=st.text(st.characters(), max_size=80))
def test_any_text_has_ids_and_ascending_offsets(tokeniser: Tokeniser, text: str) -> None:
    (tokens,) = tokeniser.tokenise([text])
    assert np.array_equal(tokens.ids, tokeniser.ids([text])[0])
    assert tokens.ids.dtype == tokens.offsets.dtype == np.int32
    assert tokens.offsets.shape == (len(tokens.ids), 2)
    assert (np.diff(tokens.offsets[:, 0]) >= 0).all()
    assert tokens.offsets.max(initial=0) <= len(text)


def test_a_lone_surrogate_keeps_the_offsets_of_what_follows(tokeniser: Tokeniser) -> None:
    (tokens,) = tokeniser.tokenise(["\ud800 word"])
    assert tokens.offsets[-1].tolist() == [2, 6]


def test_threads_share_it(tokeniser: Tokeniser) -> None:
    alone = [ids.tolist() for ids in tokeniser.ids(TEXTS)]
    with ThreadPoolExecutor(8) as callers:
        assert all(
            [ids.tolist() for ids in found] == alone
            for found in callers.map(lambda _: tokeniser.ids(TEXTS), range(16))
        )


def test_the_tokeniser_knows_the_models_limit(tokeniser: Tokeniser) -> None:
    assert (tokeniser.max_content_tokens, tokeniser.special_tokens) == (254, 2)
