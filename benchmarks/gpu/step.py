"""What the steps share: the device, the rows of the report, and models.

A step is a module with ``run(step)``. It reports each result at once, so that a step that is killed loses
only what it has not measured yet.

    def run(step: Step) -> None:
        step.row("copies", card="H200", gb_per_s=4_300)
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.peers.shapes import MINILM, write_model
from cluster.engines import Registry
from cluster.engines.bert.forward import BertEncoder
from cluster.engines.bert.gpu import Packed, pack, to_gpu, unpacked
from cluster.engines.local import LocalEngine
from cluster.engines.weights import ModelFolder, open_model_folder
from cluster.settings import Settings

Ids = list[NDArray[np.int32]]

#: Environment variable with the folder of the models with random weights, which all steps share.
MODELS = "GPU_BENCHMARK_MODELS"
#: Seconds for which a kernel is timed, after passes that are not timed.
TIMED_S, UNTIMED_PASSES = 0.3, 3
#: Ids of ordinary words in BERT's vocabulary.
WORDS = (1_000, 30_000)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the benchmark."""

    name: str
    #: File of the rows of all steps: JSON lines.
    rows: Path
    #: True on a machine without a GPU: tiny sizes on the CPU, to find errors before there is a GPU.
    rehearsal: bool

    @property
    def device(self) -> torch.device:
        """The GPU, or the CPU in a rehearsal."""
        return torch.device("cpu" if self.rehearsal else "cuda")

    @property
    def half(self) -> torch.dtype:
        """The number type of the GPU's products. A CPU without bfloat16 rehearses in float32."""
        return torch.float32 if self.rehearsal else torch.bfloat16

    @property
    def precision(self) -> str:
        """The setting of an engine that computes in ``half``."""
        return str(self.half).removeprefix("torch.")

    @property
    def small(self) -> str:
        """Name of the small model of the step: MiniLM, or a tiny one in a rehearsal."""
        return "tiny" if self.rehearsal else MINILM

    def sized(self, size: int, rehearsed: int) -> int:
        """Return a size, or the smaller one of a rehearsal."""
        return rehearsed if self.rehearsal else size

    def row(self, table: str, **cells: Any) -> None:
        """Report a row of a table."""
        with self.rows.open("a") as file:
            file.write(json.dumps({"step": self.name, "table": table, **cells}, default=str) + "\n")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Report an error in the block, and go on after it. An interrupt ends the step."""
        started = time.perf_counter()
        try:
            yield
        except Exception as exc:  # noqa: BLE001  one broken part must not cost the others
            traceback.print_exc()
            self.row("errors", part=name, error=f"{type(exc).__name__}: {exc}"[:300])
        print(f"{self.name}: {name}, {time.perf_counter() - started:.1f} s", flush=True)

    def peak(self) -> float | None:
        """Return the FLOP/s of large products that the step ``card`` measured; None if it did not."""
        found = (
            [json.loads(line) for line in self.rows.read_text().splitlines()] if self.rows.exists() else []
        )
        return next((row["tflops"] * 1e12 for row in found if row["table"] == "peak, products"), None)

    def share(self, flops_per_s: float) -> float | None:
        """Return the share of the peak, in percent."""
        peak = self.peak()
        return None if peak is None else round(100 * flops_per_s / peak, 1)

    def synchronise(self) -> None:
        """Wait until the device has computed everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], *, timed_s: float = TIMED_S) -> float:
        """Return the device's time for one pass of the work."""
        for _ in range(UNTIMED_PASSES):
            work()
        self.synchronise()
        started = time.perf_counter()
        work()
        self.synchronise()
        passes = max(1, int(timed_s / max(1e-6, time.perf_counter() - started)))
        if self.rehearsal:
            return time.perf_counter() - started
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        for _ in range(passes):
            work()
        last.record()
        self.synchronise()
        return first.elapsed_time(last) / 1e3 / passes


def engine_of(step: Step, name: str, **changed: Any) -> LocalEngine:
    """Open the engine of a model on the device, with these further settings."""
    return LocalEngine(model_of(name), Settings(device=step.device.type, precision=step.precision, **changed))


def model_of(name: str) -> ModelFolder:
    """Return a model: the packaged weights, or random ones of a shape, which are written once."""
    if name == MINILM:
        return open_model_folder(Registry(Settings()).default)
    folder = Path(os.environ[MODELS]) / name
    if not folder.exists():
        folder.mkdir(parents=True)
        write_model(folder, name)
    return open_model_folder(Registry(Settings(model_path=folder)).default)


def encoder_of(step: Step, folder: ModelFolder, dtype: torch.dtype | None = None) -> BertEncoder:
    """Open the forward pass of a GPU. In a rehearsal, a slow substitute replaces the attention kernel."""
    encoder = BertEncoder(folder, device=step.device, dtype=step.half if dtype is None else dtype)
    if step.rehearsal and folder.config["model_type"] != "mpnet":
        from tests.cluster.engines.test_attention import varlen

        encoder._kernel = varlen
    return encoder


def packed(step: Step, ids: Ids) -> Packed:
    """Return the batch on the device."""
    if not step.rehearsal:
        return to_gpu(ids, step.device)
    buffer = torch.zeros(2 * sum(map(len, ids)) + len(ids) + 1, dtype=torch.int32)
    pack(ids, buffer.numpy(), inputs=len(ids))
    return unpacked(buffer, inputs=len(ids), longest=max(map(len, ids)))


def random_ids(lengths: Sequence[int], *, seed: int = 0) -> Ids:
    """Return inputs of these lengths with random words, the longest first."""
    draw = np.random.default_rng(seed)
    return [draw.integers(*WORDS, size=length).astype(np.int32) for length in sorted(lengths, reverse=True)]


def flops_per_token(folder: ModelFolder, length: float) -> float:
    """Return the floating-point operations for each token of an input: linear layers and attention."""
    config = folder.config
    hidden, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    linear = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(layers * (linear + 4 * length * hidden))
