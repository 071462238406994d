"""The code for GPUs, tested on a CPU: stand-ins replace the variable-length kernel and the recording."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from cluster.engines import Registry
from cluster.engines.bert.forward import BertEncoder
from cluster.engines.bert.gpu import MOST_INPUTS, SIZES, Packed, Replays, pack, unpacked
from cluster.engines.local import LocalEngine
from cluster.engines.weights import open_model_folder
from cluster.errors import Unavailable
from cluster.settings import Settings
from tests.cluster.engines.conftest import engine_of
from tests.cluster.engines.test_attention import varlen

CPU = torch.device("cpu")
MOST_TOKENS = 256


def encoder_of(pooling: str) -> BertEncoder:
    """The real weights in float32, with a kernel over cumulative lengths."""
    encoder = BertEncoder(open_model_folder(Registry(Settings()).default), device=CPU, dtype=torch.float32)
    encoder.pooling = pooling
    encoder._kernel = varlen
    return encoder


@pytest.fixture(scope="module", params=["mean", "cls"])
def encoder(request: pytest.FixtureRequest) -> BertEncoder:
    """An encoder for each pooling."""
    return encoder_of(request.param)


def expected(encoder: BertEncoder, ids: list[NDArray[np.int32]]) -> NDArray[np.float32]:
    """The vectors of the inputs one by one, without the kernel."""
    plain = encoder_of(encoder.pooling)
    plain._kernel = None
    with torch.inference_mode():
        return np.concatenate([plain([one]).numpy() for one in ids])


def inputs(*lengths: int) -> list[NDArray[np.int32]]:
    """Inputs of these lengths, with arbitrary tokens."""
    draw = np.random.default_rng(sum(lengths))
    return [draw.integers(1_000, 20_000, size=length).astype(np.int32) for length in lengths]


def packed(ids: list[NDArray[np.int32]]) -> Packed:
    """The batch as it would be packed on a GPU."""
    buffer = torch.zeros(2 * sum(map(len, ids)) + len(ids) + 1, dtype=torch.int32)
    pack(ids, buffer.numpy(), inputs=len(ids))
    return unpacked(buffer, inputs=len(ids), longest=max(map(len, ids)))


def run_again(forward: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """Compute where a GPU would replay; as on a GPU, the result is always in the same memory."""
    result = forward()
    return lambda: result.copy_(forward()), result


def fetch(vectors: Tensor) -> NDArray[np.float32]:
    """A copy, as one from a GPU would be."""
    return vectors.numpy().copy()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(0, 5))
def test_a_packed_batch_is_the_inputs_again(lengths: list[int], empty: int) -> None:
    ids = inputs(*lengths)
    buffer = torch.full((2 * sum(lengths) + len(ids) + empty + 1,), -1, dtype=torch.int32)
    pack(ids, buffer.numpy(), inputs=len(ids) + empty)
    batch = unpacked(buffer, inputs=len(ids) + empty, longest=max(lengths))
    bounds = batch.bounds.tolist()
    assert bounds[len(ids) :] == [sum(lengths)] * (empty + 1)
    for one, start, end in zip(ids, bounds, bounds[1:], strict=False):
        assert batch.ids[start:end].tolist() == one.tolist()
        assert batch.positions[start:end].tolist() == list(range(len(one)))


def test_a_batch_over_cumulative_lengths_has_the_vectors_of_its_inputs_alone(encoder: BertEncoder) -> None:
    ids = inputs(256, 40, 40, 7, 1)
    with torch.inference_mode():
        vectors = encoder.vectors(packed(ids)).numpy()
    np.testing.assert_allclose(vectors, expected(encoder, ids), atol=2e-6)


def test_small_batches_on_recorded_forwards_have_the_same_vectors_in_any_order(encoder: BertEncoder) -> None:
    with torch.inference_mode():
        replays = Replays(
            encoder.vectors, device=CPU, most_tokens=MOST_TOKENS, record=run_again, sizes=(32, 512)
        )
        for lengths in ([12], [256, 256], [3] * MOST_INPUTS, [100, 20, 5], [12]):
            ids = inputs(*lengths)
            vectors = replays(ids, fetch)
            assert vectors is not None
            np.testing.assert_allclose(vectors, expected(encoder, ids), atol=2e-6)


def test_a_batch_runs_on_the_smallest_size_that_holds_it_or_on_none() -> None:
    seen: list[int] = []

    def encode(batch: Packed) -> Tensor:
        seen.append(len(batch.ids))
        return torch.zeros(len(batch.bounds) - 1, 4)

    replays = Replays(encode, device=CPU, most_tokens=MOST_TOKENS, record=run_again)
    assert seen == list(SIZES)
    for tokens, size in ((1, 32), (32, 32), (33, 64), (255, 256), (512, 512)):
        ids = inputs(*[tokens // 2, tokens - tokens // 2] if tokens > MOST_TOKENS else [tokens])
        assert replays(ids, fetch) is not None
        assert seen.pop() == size
    assert replays(inputs(256, 256, 1), fetch) is None
    assert replays(inputs(*[1] * (MOST_INPUTS + 1)), fetch) is None


def test_a_lost_gpu_makes_every_call_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = engine_of("float32")
    assert isinstance(engine, LocalEngine)

    def lost(*_: object) -> Tensor:
        raise torch.AcceleratorError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(type(engine._encoder), "__call__", lost)
    for _ in range(2):
        with pytest.raises(Unavailable, match="unspecified launch failure"):
            engine.submit(engine.tokeniser.ids(["healthy"])).result()
