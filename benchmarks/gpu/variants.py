"""Step 7: variants of the engine whose winner is not known beforehand, side by side in one process."""

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch.nn import functional

from benchmarks.gpu.step import Ids, Step, encoder_of, engine_of, model_of, packed, random_ids
from benchmarks.peers.shapes import MINILM
from cluster.engines import local
from cluster.engines.bert.attention import attend_by, attend_within
from cluster.engines.bert.gpu import recorded

MODELS = (MINILM, "base")
IN_FLIGHT, BATCHES = (1, 2, 3), (4_096, 16_384, 65_536, 131_072)
#: Lengths of inputs of the load: a chunk of 100 to 250 tokens, as the pipeline cuts them.
CHUNKS, FEWEST, MOST = 4_000, 100, 250
LAYERS = ((384, 1_536), (768, 3_072), (1_024, 4_096))
ROWS = 16_384
PROCESSES = (1, 2, 3)
WORK = "work"


def run(step: Step) -> None:
    """Measure each variant."""
    for name in ("tiny",) if step.rehearsal else MODELS:
        with step.part(f"batches in flight, {name}"):
            _in_flight(step, name)
    with step.part("processes on one GPU"):
        _processes(step)
    with step.part("attention"):
        _attention(step)
    if step.rehearsal:
        return
    for name in MODELS:
        with step.part(f"launches, {name}"):
            _launches(step, name)
    with step.part("linear layers"):
        _linear(step)


def _load(step: Step) -> Ids:
    count = step.sized(CHUNKS, 6)
    return random_ids([FEWEST + number % (MOST - FEWEST) for number in range(count)])


def _in_flight(step: Step, name: str) -> None:
    """Compare numbers of streams and tokens of a batch, with the load of a bulk ingest."""
    ids = _load(step)
    for in_flight in (1,) if step.rehearsal else IN_FLIGHT:
        for tokens in (512,) if step.rehearsal else BATCHES:
            with patch.object(local, "GPU_BATCHES", in_flight):
                engine = engine_of(step, name, bulk_batch_tokens=tokens)
            engine.embed_ids(ids[: len(ids) // 4])
            started = time.perf_counter()
            engine.embed_ids(ids)
            rate = sum(map(len, ids)) / (time.perf_counter() - started)
            step.row(
                "batches in flight",
                model=name,
                in_flight=in_flight,
                batch=tokens,
                million_a_second=round(rate / 1e6, 3),
            )


def _processes(step: Step) -> None:
    """Compare one process on the GPU with several that work at the same time."""
    for count in (1,) if step.rehearsal else PROCESSES:
        command = [
            sys.executable,
            "-m",
            "benchmarks.gpu.variants",
            WORK,
            *(["rehearsal"] if step.rehearsal else []),
        ]
        children = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(count)
        ]
        for child in children:
            _line(child, "ready")
        started = time.perf_counter()
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        tokens = sum(int(_line(child, "tokens ").split()[1]) for child in children)
        rate = tokens / (time.perf_counter() - started)
        for child in children:
            child.communicate()
        step.row("processes on one GPU", model=MINILM, processes=count, million_a_second=round(rate / 1e6, 3))


def _line(child: "subprocess.Popen[str]", start: str) -> str:
    """Return the next line of the process with this start."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(start):
            return line
    raise RuntimeError(f"a process ended with status {child.wait()}")


def _work(step: Step) -> None:
    """Open an engine, wait for a line, embed, and print the number of tokens."""
    engine = engine_of(step, step.small, bulk_batch_tokens=16_384)
    ids = _load(step)
    engine.embed_ids(ids[: len(ids) // 4])
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(step.sized(5, 1)):
        engine.embed_ids(ids)
    print("tokens", step.sized(5, 1) * sum(map(len, ids)), flush=True)


def _attention(step: Step) -> None:
    """Compare the kernel for all lengths with one call for each length."""
    lengths = [len(one) for one in _load(step)][: step.sized(100, 6)]
    bounds = torch.tensor([0, *lengths], dtype=torch.int32, device=step.device).cumsum(0, dtype=torch.int32)
    for hidden, heads in ((384, 12), (768, 12)):
        qkv = torch.randn(sum(lengths), 3 * hidden, device=step.device, dtype=step.half)
        kernel = encoder_of(step, model_of("tiny"))._kernel
        assert kernel is not None
        ways = {
            "all lengths": attend_within(bounds, longest=max(lengths), heads=heads, kernel=kernel),
            "each length": attend_by(lengths, heads=heads, device=step.device, dtype=step.half),
        }
        with torch.inference_mode():
            for name, attend in ways.items():
                seconds = step.seconds(lambda attend=attend, qkv=qkv: attend(qkv))
                step.row("attention", hidden=hidden, way=name, microseconds=round(1e6 * seconds, 1))


def _launches(step: Step, name: str) -> None:
    """Compare launches by Python with a recorded forward pass and a compiled one, for one shape."""
    encoder = encoder_of(step, model_of(name))
    for tokens in (2_048, 16_384):
        batch = packed(step, random_ids([128] * (tokens // 128)))
        with torch.inference_mode():
            replay, _ = recorded(lambda batch=batch: encoder.vectors(batch))
            ways: dict[str, Callable[[], object]] = {
                "launched": lambda batch=batch: encoder.vectors(batch),
                "recorded": replay,
            }
            compiled = torch.compile(encoder.vectors)
            ways["compiled"] = partial(compiled, batch)
            for way, work in ways.items():
                with step.part(f"{name}, {tokens}, {way}"):
                    rate = tokens / step.seconds(work)
                    step.row(
                        "launches", model=name, batch=tokens, way=way, million_a_second=round(rate / 1e6, 3)
                    )


def _linear(step: Step) -> None:
    """Compare ways to compute a layer with GELU: two kernels, one with the tanh form of GELU, and 8 bits."""
    for width, inner in LAYERS:
        x = torch.randn(ROWS, width, device=step.device, dtype=step.half)
        weight = torch.randn(inner, width, device=step.device, dtype=step.half)
        bias = torch.randn(inner, device=step.device, dtype=step.half)
        ways: dict[str, Callable[[], object]] = {
            "linear and GELU": lambda: functional.gelu(functional.linear(x, weight, bias)),  # noqa: B023
            "linear": lambda: functional.linear(x, weight, bias),  # noqa: B023
            "one kernel": lambda: torch._addmm_activation(bias, x, weight.t(), use_gelu=True),  # noqa: B023
            "8 bits": _eight_bits(x, weight),
        }
        with torch.inference_mode():
            for name, work in ways.items():
                with step.part(f"{name}, {width}"):
                    flops = 2.0 * ROWS * width * inner / step.seconds(work)
                    step.row(
                        "linear layers", width=width, inner=inner, way=name, tflops=round(flops / 1e12, 1)
                    )


def _eight_bits(x: torch.Tensor, weight: torch.Tensor) -> Callable[[], object]:
    """Return the product in FP8 with a scale for each row; the rows are scaled and rounded in each pass."""
    most = torch.finfo(torch.float8_e4m3fn).max

    def rounded(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = rows.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / most
        return (rows / scale).to(torch.float8_e4m3fn), scale

    fixed, fixed_scale = rounded(weight)

    def product() -> torch.Tensor:
        small, scale = rounded(x)
        return torch._scaled_mm(small, fixed.t(), scale_a=scale, scale_b=fixed_scale.t(), out_dtype=x.dtype)

    return product


if __name__ == "__main__" and WORK in sys.argv:
    _work(Step(name="variants", rows=Path("/dev/null"), rehearsal="rehearsal" in sys.argv))
