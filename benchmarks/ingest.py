"""Compare the bulk pipeline with two common ways to do the same job, on the same documents and weights.

    python -m benchmarks.ingest --documents path/to/pdfs --rounds 3

- ours: ``data_jobs.ingest`` into a new store, including keywords, the writes to Postgres and the job records;
- plain loop: one process, PyMuPDF, windows of 254 tokens, ``SentenceTransformer.encode`` in batches of 32,
  nothing stored;
- published recipe: Ray Data, PyMuPDF, LangChain's RecursiveCharacterTextSplitter 2048/200, ``encode`` in
  batches of 10, nothing stored. Its chunks are longer than the model reads, so part of the text is never
  embedded; the table says how much.

Every party runs in a new process. The time is from reading the first byte to the last vector; the model of
the plain loop is loaded before, and so is Ray for the other two. Tokens are the model's without special
tokens. Only embedded tokens count, and tokens in an overlap count once.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

PARTIES = ("ours", "plain loop", "published recipe")
HERE = Path(__file__).parent


def main() -> int:
    """Run the rounds, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path("../shared/corpus/small") if Path("../shared/corpus/small").exists() else Path("docs")
    parser.add_argument(
        "--documents", type=Path, default=default, help="folder of PDFs (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="interleaved rounds, whose medians are printed (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {party: [] for party in PARTIES}
    for number in range(arguments.rounds):
        for party in PARTIES:
            print(f"round {number + 1}/{arguments.rounds}: {party}", file=sys.stderr)
            rounds[party].append(_run(party, arguments.documents))
    medians = {
        party: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for party, runs in rounds.items()
    }
    if arguments.json:
        print(json.dumps(medians))
    else:
        _print(medians, arguments)
    return 0


def _run(party: str, documents: Path) -> dict[str, float]:
    module = (
        "benchmarks.peers."
        + {"ours": "ours", "plain loop": "plain_loop", "published recipe": "published_recipe"}[party]
    )
    environment = {
        **os.environ,
        "GOMP_SPINCOUNT": "0",
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
    }
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        done = subprocess.run(
            [sys.executable, "-m", module, str(documents.absolute())],
            env={**environment, "CLUSTER_HOME": home},
            capture_output=True,
            text=True,
            cwd=HERE.parent,
        )
    if done.returncode != 0:
        raise SystemExit(f"{party} failed:\n{done.stderr[-4000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _print(medians: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    first = medians["plain loop"]["tokens_embedded"] / medians["plain loop"]["seconds"]
    table = Table(
        title=f"Bulk ingestion of {arguments.documents}, {os.cpu_count()} cores, "
        f"medians of {arguments.rounds} rounds"
    )
    for column in (
        "",
        "documents",
        "pages/s",
        "chunks/s",
        "tokens/s",
        "over plain loop",
        "tokens lost",
        "seconds",
    ):
        table.add_column(column, justify="right" if column else "left")
    for party, m in medians.items():
        rate = m["tokens_embedded"] / m["seconds"]
        lost = f"{m['tokens'] - m['tokens_embedded']:,.0f} ({1 - m['tokens_embedded'] / m['tokens']:.1%})"
        row = (
            f"{m['documents']:.0f}",
            f"{m['pages'] / m['seconds']:.1f}",
            f"{m['chunks'] / m['seconds']:.1f}",
            f"{rate:,.0f}",
        )
        table.add_row(party, *row, f"{rate / first:.2f}x", lost, f"{m['seconds']:.1f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
