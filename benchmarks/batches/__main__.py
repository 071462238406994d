"""Measure the Batch API on the cluster that `make up` started.

    make up && python -m benchmarks.batches --requests 3000 --rounds 3
    make up && python -m benchmarks.batches --faults --requests 20000
    make up && python -m benchmarks.batches --memory --requests 1000 50000

Without an option, each round compares the tokens per second of a batch with those of a bulk ingest of the
same texts. --faults runs one batch with 1% wrong requests while the worker, the replica of the endpoint and
the whole Ray head are killed, and checks that every request is answered once and billed once. --memory
prints the peak memory of the worker and of the replica for each number of requests.

Exit code 1: the batch was slower than nine tenths of the ingest, an answer or the usage was wrong, or the
worker's memory grew with the number of requests.
"""

import argparse
import sys

from benchmarks.batches import faults, memory, speed
from benchmarks.batches.batch_run import BatchRun
from cluster.settings import Settings


def main() -> int:
    """Run one of the benchmarks, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.batches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--requests", type=int, nargs="+", help="requests of each batch")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the comparison (default: 3)")
    parser.add_argument("--words", type=int, help="words of each text")
    parser.add_argument("--batch", metavar="ID", help="with --faults: continue with this batch")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--faults", action="store_true", help="kill processes while one batch runs")
    kind.add_argument("--memory", action="store_true", help="measure the memory of batches of several sizes")
    options = parser.parse_args()
    runs = BatchRun(Settings())
    if options.faults:
        (requests,) = options.requests or [20_000]
        return faults.measure(runs, requests=requests, words=options.words or 5, batch_id=options.batch)
    if options.memory:
        return memory.measure(runs, sizes=options.requests or [1_000, 50_000], words=options.words or 5)
    (requests,) = options.requests or [3_000]
    return speed.measure(runs, requests=requests, words=options.words or 60, rounds=options.rounds)


if __name__ == "__main__":
    sys.exit(main())
