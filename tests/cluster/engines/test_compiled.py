"""The compiled forward pass gives torch's vectors, bit for bit in every batch, and reads only its memory."""

import platform
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from structlog.testing import capture_logs

from cluster.engines import Registry
from cluster.engines.bert import compiled
from cluster.engines.bert.compiled import CompiledEncoder, library, unfit
from cluster.engines.bert.forward import BertEncoder
from cluster.engines.choice.fastest import open_on_cpu
from cluster.engines.choice.paths import QUERY_TOKENS
from cluster.engines.weights import ModelFolder, open_model_folder
from cluster.settings import Settings
from tests.cluster.engines.test_families import folder_of

CPU = torch.device("cpu")
#: Every height of a tile, both sides of every limit at which rows are divided, odd lengths in pairs, and the
#: longest.
LENGTHS = [512, 256, 193, 192, 191, 97, 96, 95, 49, 48, 47, 33, 32, 31, 17, 16, 15, *range(14, 0, -1)]


@pytest.fixture(scope="module", params=["mean", "cls"])
def folder(request: pytest.FixtureRequest) -> ModelFolder:
    """The real weights, with each pooling."""
    return replace(open_model_folder(Registry(Settings()).default), pooling=request.param)


@pytest.fixture(scope="module")
def encoder(folder: ModelFolder) -> CompiledEncoder:
    """The compiled encoder, even where engines would choose another path."""
    if library() is None:
        assert shutil.which("cc") is None or platform.machine() != "x86_64"
        pytest.skip("no compiled forward: no C compiler, or another processor")
    return CompiledEncoder(folder)


@pytest.fixture(scope="module")
def inputs() -> list[NDArray[np.int32]]:
    """Inputs of all lengths, the longest first."""
    draw = np.random.default_rng(0)
    return [draw.integers(1000, 30_000, length).astype(np.int32) for length in LENGTHS]


def test_widths_that_are_no_whole_panels_are_not_for_it(tmp_path: Path) -> None:
    folder = open_model_folder(
        Registry(Settings(model_path=folder_of("bert", "mean_tokens", tmp_path / "model", heads=8))).default
    )
    assert "multiples of 16" in str(unfit(folder))


def test_widths_whose_halves_are_no_whole_panels_are_multiplied_row_by_row(
    tmp_path: Path, inputs: list[NDArray[np.int32]]
) -> None:
    folder = open_model_folder(
        Registry(Settings(model_path=folder_of("bert", "mean_tokens", tmp_path / "model", inner=80))).default
    )
    if library() is None:
        pytest.skip("no compiled forward: no C compiler, or another processor")
    short = [ids[:300] for ids in inputs]
    with torch.inference_mode():
        theirs = BertEncoder(folder, device=CPU, dtype=torch.float32)(short).numpy()
    np.testing.assert_allclose(CompiledEncoder(folder)(short).numpy(), theirs, atol=2e-5)


def test_without_a_compiler_torch_computes_and_the_log_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LIBRARY", "cluster.engines._absent")
    library.cache_clear()
    try:
        assert library() is None
        with capture_logs() as lines:
            assert isinstance(
                open_on_cpu(open_model_folder(Registry(Settings()).default), Settings())[0], BertEncoder
            )
        (opened,) = [line for line in lines if line["event"] == "encoder_opened"]
        assert (opened["query"], opened["batch"]) == ("torch float32", "torch float32")
        assert opened["not_compiled_because"] == unfit(open_model_folder(Registry(Settings()).default))
    finally:
        library.cache_clear()


def test_vectors_are_those_of_torchs_forward(
    folder: ModelFolder, encoder: CompiledEncoder, inputs: list[NDArray[np.int32]]
) -> None:
    theirs = BertEncoder(folder, device=CPU, dtype=torch.float32)
    with torch.inference_mode():
        np.testing.assert_allclose(encoder(inputs).numpy(), theirs(inputs).numpy(), atol=2e-6)


def test_a_vector_has_the_same_bits_in_any_batch_and_order(
    encoder: CompiledEncoder, inputs: list[NDArray[np.int32]]
) -> None:
    together = encoder(inputs).numpy()
    assert np.array_equal(encoder(inputs[::-1]).numpy()[::-1], together)
    assert np.array_equal(np.concatenate([encoder([one]).numpy() for one in inputs]), together)


def test_short_inputs_need_one_layout_of_the_weights_for_the_same_bits(
    folder: ModelFolder, encoder: CompiledEncoder
) -> None:
    ids = [np.arange(1000, 1000 + QUERY_TOKENS, dtype=np.int32)]
    assert np.array_equal(CompiledEncoder(folder, pairs=False)(ids).numpy(), encoder(ids).numpy())


@pytest.mark.parametrize(
    "ids", [[], [5] * 513, [30_522], [-1]], ids=["empty", "too long", "beyond the vocabulary", "negative"]
)
def test_ids_outside_the_weights_are_refused(encoder: CompiledEncoder, ids: list[int]) -> None:
    with pytest.raises(IndexError):
        encoder([np.array([5], np.int32), np.array(ids, np.int32)])
