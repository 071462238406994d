"""The contract suite of engines: every engine keeps these promises."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.engines import Engine, Registry, describe
from cluster.errors import InvalidInput
from cluster.settings import Settings
from tests.cluster.engines.conftest import OF_THE_WEIGHTS, TEXTS

#: Least cosine to sentence-transformers in float32.
FIDELITY = {"bfloat16": 0.9999, "int8": 0.98}
FIDELITY_IN_FLOAT32 = 0.99999
#: Largest difference of a component of a unit vector between two batches with the same text.
BATCH_TOLERANCE = {"bfloat16": 4e-3, "int8": 4e-3}
BATCH_TOLERANCE_IN_FLOAT32 = 2e-6
#: Texts without unknown tokens, so that their ids can be decoded to text.
PROSE = TEXTS[14:40]


def tolerance(path: str) -> float:
    """Largest difference of a component between two batches."""
    return BATCH_TOLERANCE.get(path, BATCH_TOLERANCE_IN_FLOAT32)


@pytest.mark.parametrize("path", OF_THE_WEIGHTS, indirect=True)
def test_vectors_are_those_of_sentence_transformers(
    path: str, vectors: NDArray[np.float32], expected: NDArray[np.float32]
) -> None:
    assert vectors.shape == expected.shape
    assert vectors.dtype == np.float32
    cosines = np.einsum("nd,nd->n", vectors, expected)
    print(f"{path}: least cosine {cosines.min():.6f}, mean {cosines.mean():.6f}")
    assert cosines.min() >= FIDELITY.get(path, FIDELITY_IN_FLOAT32)


def test_vectors_have_unit_length(vectors: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_a_vector_does_not_depend_on_its_neighbours(
    engine: Engine, path: str, texts: list[str], vectors: NDArray[np.float32]
) -> None:
    alone = np.concatenate([engine.embed([text]).vectors for text in texts[:20]])
    np.testing.assert_allclose(vectors[:20], alone, atol=tolerance(path))


def test_the_same_call_gives_the_same_bits(
    engine: Engine, texts: list[str], vectors: NDArray[np.float32]
) -> None:
    assert np.array_equal(engine.embed(texts).vectors, vectors)


def test_vectors_are_in_the_order_of_the_texts(
    engine: Engine, path: str, texts: list[str], vectors: NDArray[np.float32]
) -> None:
    backward = engine.embed(texts[::-1]).vectors
    np.testing.assert_allclose(vectors, backward[::-1], atol=tolerance(path))


def test_eight_threads_get_the_same_vectors_as_one(engine: Engine, texts: list[str]) -> None:
    texts = [*texts[:9], *texts[20:30]]
    alone = engine.embed(texts).vectors
    with ThreadPoolExecutor(8) as callers:
        for vectors in callers.map(lambda _: engine.embed(texts).vectors, range(8)):
            assert np.array_equal(vectors, alone)


def test_tokens_that_are_cut_off_are_counted(engine: Engine) -> None:
    longest = engine.fingerprint.max_tokens
    special = engine.tokeniser.special_tokens
    fits, beyond = (" ".join(["word"] * count) for count in (longest - special, longest - special + 100))
    result = engine.embed([fits, beyond, ""])
    assert result.token_counts.tolist() == [longest, longest, special]
    assert result.truncated.tolist() == [0, 100, 0]
    np.testing.assert_allclose(result.vectors[0], result.vectors[1], atol=1e-6)


def test_token_ids_and_their_text_have_the_same_vector(engine: Engine, path: str, texts: list[str]) -> None:
    texts = [text for text in texts if text in PROSE]
    ids = [one[: engine.tokeniser.max_content_tokens] for one in engine.tokeniser.ids(texts)]
    np.testing.assert_allclose(engine.embed_ids(ids), engine.embed(texts).vectors, atol=tolerance(path))


def test_no_texts_give_no_vectors(engine: Engine) -> None:
    dim = engine.fingerprint.dim
    empty = engine.embed([])
    assert empty.vectors.shape == engine.embed_ids([]).shape == (0, dim)
    assert empty.token_counts.shape == empty.truncated.shape == (0,)


def test_an_empty_input_has_a_vector(engine: Engine) -> None:
    assert engine.embed_ids([np.empty(0, np.int32)]).shape == (1, engine.fingerprint.dim)


def test_ids_the_model_cannot_read_are_refused_by_position(engine: Engine) -> None:
    beyond, too_long = engine.tokeniser.vocabulary_size, engine.tokeniser.max_content_tokens + 1
    for ids in ([beyond], [-1], [5] * too_long):
        with pytest.raises(InvalidInput, match="input 1 "):
            engine.embed_ids([np.array([5], np.int32), np.array(ids, np.int32)])


def test_a_lone_surrogate_is_no_error(engine: Engine) -> None:
    assert engine.embed(["half \ud83d a pair"]).vectors.shape == (1, engine.fingerprint.dim)


@pytest.mark.parametrize("path", OF_THE_WEIGHTS, indirect=True)
def test_the_fingerprint_needs_no_engine_and_names_the_arithmetic(engine: Engine, path: str) -> None:
    assert describe(Registry(Settings()).default).id == engine.fingerprint.id
    assert engine.fingerprint.precision == (
        "float32" if path in ("reference", "compiled") else path.partition(" ")[0]
    )
    assert engine.fingerprint.to_dict() | {"precision": ""} == {
        "model": "all-MiniLM-L6-v2",
        "revision": "53aa51172d14",
        "dim": 384,
        "max_tokens": 256,
        "pooling": "mean",
        "normalised": True,
        "precision": "",
        "document_prompt": "",
    }
