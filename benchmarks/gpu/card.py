"""Step 1: what the card is, and the peaks of its products and of its copies."""

import subprocess

import torch

from benchmarks.gpu.step import Step

#: Matrix products (rows, in, out): square ones, and the up-projection of bge-large.
SHAPES = ((8192, 8192, 8192), (16_384, 4_096, 4_096), (65_536, 1_024, 4_096))
COPY_BYTES = 4 << 30


def run(step: Step) -> None:
    """Report the card and its peaks."""
    with step.part("card"):
        _card(step)
    for dtype in (step.half, torch.float32):
        with step.part(f"products, {dtype}"):
            _products(step, dtype)
    with step.part("copies"):
        _copies(step)
    with step.part("a compiled product"):
        _compiled(step)


def _card(step: Step) -> None:
    cells: dict[str, object] = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if step.device.type == "cuda":
        described = torch.cuda.get_device_properties(0)
        cells |= {
            "card": described.name,
            "capability": f"{described.major}.{described.minor}",
            "multiprocessors": described.multi_processor_count,
            "gib": round(described.total_memory / 2**30, 1),
        }
        asked = subprocess.run(
            [
                "nvidia-smi",
                "--query-gpu=driver_version,clocks.sm,clocks.max.sm,power.limit",
                "--format=csv,noheader",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        cells["driver, clock, highest clock, power"] = asked.stdout.strip()
    step.row("card", **cells)


def _products(step: Step, dtype: torch.dtype) -> None:
    best = 0.0
    for rows, width, out in SHAPES:
        if step.rehearsal:
            rows, width, out = 64, 64, 64
        x, weight = (
            torch.randn(*size, device=step.device, dtype=dtype) for size in ((rows, width), (out, width))
        )
        seconds = step.seconds(lambda x=x, weight=weight: torch.nn.functional.linear(x, weight))
        flops = 2.0 * rows * width * out / seconds
        best = max(best, flops)
        step.row(
            "products", dtype=str(dtype), shape=f"{rows} x {width} x {out}", tflops=round(flops / 1e12, 1)
        )
    if dtype == step.half and not step.peak():
        step.row("peak, products", dtype=str(dtype), tflops=best / 1e12)


def _copies(step: Step) -> None:
    source = torch.randint(0, 255, (step.sized(COPY_BYTES, 1 << 16),), dtype=torch.uint8, device=step.device)
    target = torch.empty_like(source)
    seconds = step.seconds(lambda: target.copy_(source))
    step.row("copies", gb_per_s=round(2 * len(source) / seconds / 1e9))  # each byte is read and written


def _compiled(step: Step) -> None:
    """Compare a plain product with a compiled one. Compiled models were seen to be slower with torch 2.11."""
    rows, width, out = (64, 64, 64) if step.rehearsal else SHAPES[2]
    layer = torch.nn.Linear(width, out, device=step.device, dtype=step.half)
    x = torch.randn(rows, width, device=step.device, dtype=step.half)
    ways = {"eager": layer} if step.rehearsal else {"eager": layer, "compiled": torch.compile(layer)}
    with torch.inference_mode():
        for name, way in ways.items():
            seconds = step.seconds(lambda way=way: way(x))
            step.row("a plain product", way=name, tflops=round(2e-12 * rows * width * out / seconds, 1))
