"""Measure how bulk ingest scales with its engines, how fast documents are written, and what processes need.

    python -m benchmarks.scaling engines
    python -m benchmarks.scaling writing
    python -m benchmarks.scaling documents --documents path/to/pdfs
    python -m benchmarks.scaling processes

- engines: an ingest with 1, 2, 4, 8 and 16 engines. An engine sleeps as long as a GPU would compute, so that
  a small machine can run sixteen of them. All other work is real: stages, Ray Data, Postgres. The rate is the
  slope of written chunks over time, without the start and the end of a run. The report names the part of the
  pipeline that uses the most CPU time, because this part is the bottleneck when the engines are not;
- writing: the stage that writes, in several processes, with documents that are made beforehand;
- documents: CPU time of each part of an ingest of real documents, with the default model on the CPU;
- processes: the memory of each process of a running cluster (``make up``), and the requests that it answers.
"""

import argparse
from importlib import import_module
from pathlib import Path

#: The default numbers of engines. Each ingest has one of these numbers.
ENGINES = (1, 2, 4, 8, 16)
#: The default numbers of processes that write at the same time.
WRITERS = (1, 2, 4)


def main() -> int:
    """Run the chosen part, and print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    engines = parts.add_parser("engines", help="an ingest with more and more engines")
    engines.add_argument("--engines", type=int, nargs="+", default=ENGINES, help="numbers of engines")
    engines.add_argument(
        "--batches", type=int, default=6, help="batches of documents for each engine (default: %(default)s)"
    )
    engines.add_argument("--words", type=int, default=800, help="words of a document (default: %(default)s)")
    engines.add_argument(
        "--milliseconds",
        type=float,
        default=500.0,
        help="time that an engine takes for a thousand tokens (default: %(default)s)",
    )
    engines.add_argument(
        "--cpus",
        type=int,
        default=8,
        help="CPUs that Ray has besides one for each engine (default: %(default)s)",
    )
    writing = parts.add_parser("writing", help="the stage that writes")
    writing.add_argument("--writers", type=int, nargs="+", default=WRITERS, help="numbers of processes")
    writing.add_argument(
        "--documents", type=int, default=600, help="documents in each round (default: %(default)s)"
    )
    writing.add_argument("--chunks", type=int, default=16, help="chunks of a document (default: %(default)s)")
    writing.add_argument("--rounds", type=int, default=3, help="rounds, interleaved (default: %(default)s)")
    documents = parts.add_parser("documents", help="an ingest of real documents, without a GPU")
    documents.add_argument(
        "--documents", type=Path, default=Path("docs"), help="folder of documents (default: %(default)s)"
    )
    parts.add_parser("processes", help="memory and requests of a running cluster")
    options = parser.parse_args()
    # Importing Ray Data takes seconds, so only the chosen part is imported.
    import_module(f"benchmarks.scaling.{options.part}").run(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
