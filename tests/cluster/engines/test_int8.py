"""Engines compute in 8 bits only after their recall was measured for these weights on this processor."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cluster.engines import Registry, open_engine
from cluster.engines.bert.int8 import Int8Linear
from cluster.engines.bert.linear import Linear
from cluster.engines.choice.paths import NumericPath, Timings
from cluster.engines.int8_gate import LEAST_TEXTS, main, nearest, recall
from cluster.errors import Misconfigured
from cluster.settings import Settings
from tests.cluster.engines.conftest import LICENCE

#: Passages of the licence that start at different words.
PASSAGES = [" ".join(LICENCE.split()[at : at + 40]) for at in range(0, 20 * LEAST_TEXTS, 20)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a measurement."""
    monkeypatch.setenv("CLUSTER_HOME", str(tmp_path))
    monkeypatch.setenv("CLUSTER_PRECISION", "int8")
    monkeypatch.setenv("CLUSTER_DEVICE", "cpu")
    monkeypatch.setenv("CLUSTER_INT8_LEAST_RECALL", "0.9")  # so that the measured recall passes
    timed(monkeypatch, int8_ms=1.0)
    return tmp_path


def timed(monkeypatch: pytest.MonkeyPatch, *, int8_ms: float) -> None:
    """Set the time of a batch in 8 bits to this, and in float32 to 10 ms."""

    def given(*_: object, paths: tuple[NumericPath, ...], **__: object) -> Timings:
        batch = {path: int8_ms if path is NumericPath.INT8_FLOAT32 else 10.0 for path in paths}
        return Timings(query=dict.fromkeys(paths, 1.0), batch=batch)

    monkeypatch.setattr("cluster.engines.choice.fastest.timings_of", given)


def measured(home: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str] = PASSAGES) -> int:
    """The exit code of the command."""
    (home / "texts.txt").write_text("\n".join(texts))
    monkeypatch.setattr("sys.argv", ["int8_gate", str(home / "texts.txt")])
    return main()


def test_without_a_measurement_8_bits_are_refused_with_the_command_that_makes_one(home: Path) -> None:
    with pytest.raises(Misconfigured, match=r"python -m cluster\.engines\.int8_gate"):
        open_engine(Registry(Settings()).default)


def test_where_8_bits_are_not_faster_neither_an_engine_nor_the_gate_begins(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(monkeypatch, int8_ms=10.0)
    for begin in (lambda: open_engine(Registry(Settings()).default), lambda: measured(home, monkeypatch)):
        with pytest.raises(Misconfigured, match="not faster on this processor"):
            begin()


def test_an_engine_opens_only_if_the_measured_recall_suffices(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measured(home, monkeypatch) == 0
    told = capsys.readouterr().out
    assert "passed" in told
    (file,) = (home / "int8").iterdir()
    seen = json.loads(file.read_text())
    print(
        f"int8 on {seen['texts']} passages: recall@10 {seen['recall']:.3f}, least cosine "
        f"{seen['least_cosine']:.4f}"
    )
    assert f"{seen['recall']:.3f}" in told
    assert open_engine(Registry(Settings()).default).fingerprint.precision == "int8"
    with pytest.raises(Misconfigured, match=f"{seen['recall']:.3f}"):
        open_engine(Registry(Settings(int8_least_recall=1.0)).default)


def test_a_measurement_on_few_texts_or_a_broken_one_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Misconfigured, match=str(LEAST_TEXTS)):
        measured(home, monkeypatch, PASSAGES[:100] * 3)
    with pytest.raises(Misconfigured) as refused:
        open_engine(Registry(Settings()).default)
    file = Path(str(refused.value).rpartition(" writes ")[2])
    file.parent.mkdir()
    file.write_text("{}")
    with pytest.raises(Misconfigured, match="cannot be read"):
        open_engine(Registry(Settings()).default)


def test_recall_is_the_share_of_the_true_neighbours_that_were_found() -> None:
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(40, 40)))[0].astype(np.float32)
    truth = nearest(vectors, vectors)
    assert all(own not in one for own, one in enumerate(truth))
    assert recall(truth, truth) == 1.0
    other = truth.copy()
    other[:, :3] = np.arange(40)[:, None]
    assert recall(other, truth) == pytest.approx(0.7)


@pytest.mark.parametrize("activation", ["none", "gelu", "relu"])
def test_a_layer_in_8_bits_is_near_the_exact_one_whatever_the_size_of_a_token(activation: str) -> None:
    draw = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(96, 48, generator=draw), torch.randn(96, generator=draw)
    x = torch.randn(30, 48, generator=draw) * torch.logspace(-4, 4, 30)[:, None]
    exact = functional.linear(x, weight, bias)
    exact = {"none": exact, "gelu": functional.gelu(exact), "relu": functional.relu(exact)}[activation]
    found = Int8Linear(weight, bias, activation)(x)  # type: ignore[arg-type]
    assert functional.cosine_similarity(found, exact, dim=1).min() > 0.999
    assert torch.equal(Int8Linear(weight, bias, activation)(x[:1]), found[:1])  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 16, 300])
def test_the_largest_integers_are_multiplied_without_overflow(rows: int) -> None:
    signs = torch.where(torch.arange(96)[:, None] % 2 == 0, 1.0, -1.0)
    weight = signs * torch.ones(96, 64)
    found = Int8Linear(weight, torch.zeros(96))(torch.ones(rows, 64))
    torch.testing.assert_close(found, (64 * signs.T).expand(rows, 96))


def test_a_layer_in_8_bits_does_not_run_on_a_kernel_that_is_only_a_reference() -> None:
    weight, bias, x = torch.randn(384, 384), torch.zeros(384), torch.randn(16, 384)
    coarse, exact = Int8Linear(weight, bias), Linear(weight, bias)
    seconds = {layer: min(seconds_of(layer, x) for _ in range(3)) for layer in (coarse, exact)}
    assert seconds[coarse] < 30 * seconds[exact]  # the reference kernel takes a thousand times as long


def seconds_of(layer: Int8Linear | Linear, x: Tensor) -> float:
    """Seconds of processor time."""
    begun = time.thread_time()
    layer(x)
    return time.thread_time() - begun
