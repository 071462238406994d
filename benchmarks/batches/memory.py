"""Measure the peak memory of the worker and of the endpoint's replica while batches of several sizes run.

The worker runs the job of a batch, and the replica has the model. The first, small batch is not measured,
because it loads what every batch needs. ``__main__`` calls ``measure``.
"""

import time

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.batches.batch_run import ENDED, ENDPOINT, MIB, WORKERS, BatchRun, new_texts

WARM_UP_REQUESTS = 500
SAMPLE_EVERY_S = 0.1
#: Maximum growth of the worker from the smallest to the largest batch, in MiB.
MAX_GROWTH = 32.0


def measure(run: BatchRun, *, sizes: list[int], words: int) -> int:
    """Run a batch of each size, print the table, and return the exit code."""
    _peaks(run, WARM_UP_REQUESTS, words)
    table = Table("requests", "worker before", "worker peak", "replica before", "replica peak", title="MiB")
    peaks = []
    for size in sorted(sizes):
        worker, replica = _peaks(run, size, words)
        peaks.append(worker[1])
        table.add_row(f"{size:,}", *(f"{value:,.0f}" for value in (*worker, *replica)))
    Console(width=80).print(table)
    return int(peaks[-1] - peaks[0] > MAX_GROWTH)


def _peaks(run: BatchRun, requests: int, words: int) -> list[tuple[float, float]]:
    """Run a batch, and return the memory of the worker and of the replica before it and at its peak."""
    processes = [run.replica(WORKERS), run.replica(ENDPOINT)]
    if None in processes:
        raise SystemExit("the worker or the endpoint has no replica; start them with make up")
    watched = [process for process in processes if process is not None]
    before = peak = [_memory(process) for process in watched]
    batch = run.create(new_texts(requests, words=words))
    while batch.status not in ENDED:
        next_look = time.monotonic() + 1.0
        while time.monotonic() < next_look:
            peak = [max(most, _memory(process)) for most, process in zip(peak, watched, strict=True)]
            time.sleep(SAMPLE_EVERY_S)
        batch = run.now(batch)
    if batch.status != "completed":
        raise SystemExit(f"the batch of {requests:,} requests is {batch.status}")
    return list(zip(before, peak, strict=True))


def _memory(process: psutil.Process) -> float:
    """Return the resident memory in MiB."""
    return float(process.memory_info().rss) / MIB
