"""Step 3: a batch that the memory cannot hold is halved, and a lost GPU makes every call ``Unavailable``."""

import subprocess
import sys
from pathlib import Path

import torch
from structlog.testing import capture_logs

from benchmarks.gpu.step import Step, engine_of, random_ids
from cluster.errors import Unavailable

#: Memory that is left to the engine: less than a batch of so many tokens needs.
LEFT_BYTES, TOKENS, LENGTH = 256 << 20, 131_072, 128
LOST = "lost"


def run(step: Step) -> None:
    """Check both faults. A CPU has neither."""
    if step.rehearsal:
        step.row("faults", fault="none on a CPU", holds=True)
        return
    with step.part("too little memory"):
        _halved(step)
    with step.part("a lost GPU"):
        _lost(step)


def _halved(step: Step) -> None:
    engine = engine_of(step, step.small, bulk_batch_tokens=TOKENS)
    ids = random_ids([LENGTH] * (TOKENS // (LENGTH + 2)))
    expected = engine.embed_ids(ids[:256])
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - LEFT_BYTES, dtype=torch.uint8, device="cuda")
    with capture_logs() as logs:
        found = engine.submit(ids).result()
    halved = sum(line["event"] == "batch_halved" for line in logs)
    del taken
    least = float((found[:256] * expected).sum(axis=1).min())
    step.row(
        "faults",
        fault="too little memory",
        halved=halved,
        least_cosine=least,
        holds=halved > 0 and least > 0.9999,
    )


def _lost(step: Step) -> None:
    """Lose the GPU in a process of its own, because no later call of that process can use it."""
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.faults", LOST],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    said = (child.stdout.strip().splitlines() or ["nothing"])[-1]
    step.row("faults", fault="a lost GPU", said=said[:200], holds=said == "Unavailable Unavailable")


def _lose(step: Step) -> None:
    engine = engine_of(step, step.small)
    ids = random_ids([10])
    engine.submit(ids).result()
    try:
        torch.zeros(4, device="cuda")[torch.tensor([1_000_000], device="cuda")]
        torch.cuda.synchronize()
    except torch.AcceleratorError:
        pass
    said = []
    for urgent in (False, True):
        try:
            engine.submit(ids, urgent=urgent).result()
            said.append("answered")
        except Unavailable:
            said.append("Unavailable")
        except Exception as exc:  # noqa: BLE001  the report shows what else it is
            said.append(f"{type(exc).__name__}: {exc}")
    print(*said, flush=True)


if __name__ == "__main__" and LOST in sys.argv:
    _lose(Step(name="faults", rows=Path("/dev/null"), rehearsal=False))
