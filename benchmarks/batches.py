"""Compare the tokens per second of a batch with those of a bulk ingest of the same texts.

    make up && python -m benchmarks.batches --requests 3000 --rounds 3

Each round creates a batch with one text on each line, and then ingests the same texts as files into a new
vector store. The time of the batch is from the beginning of its first attempt to its end, so it includes the
check of the input file and the writing of the output file. The time of the ingest is that of its own report,
which begins after Ray has started. Tokens are the model's without special tokens.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

from openai import OpenAI
from rich.console import Console
from rich.table import Table

from cluster.local.addresses import api_url
from cluster.settings import Settings

MODEL = "all-MiniLM-L6-v2"
WORDS_PER_TEXT, TEXTS_PER_FILE = 60, 50
#: Special tokens of each input, which the usage of a batch includes.
SPECIAL_TOKENS = 2
POLL_S = 0.2


def main() -> int:
    """Run the rounds, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--requests", type=int, default=3_000, help="requests of a batch (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: %(default)s)")
    arguments = parser.parse_args()
    client = OpenAI(base_url=f"{api_url(Settings())}/v1", api_key=os.environ.get("CLUSTER_KEY", "none"))
    rates: dict[str, list[float]] = {"batch": [], "ingest": []}
    for number in range(arguments.rounds):
        texts = _texts(arguments.requests)
        for party, measure in (("batch", _batch), ("ingest", _ingest)):
            print(f"round {number + 1}/{arguments.rounds}: {party}", file=sys.stderr)
            rates[party].append(measure(client, texts))
    ratios = [batch / ingest for batch, ingest in zip(rates["batch"], rates["ingest"], strict=True)]
    table = Table("", "tokens/s", "of ingest", title=f"{arguments.requests:,} texts, {os.cpu_count()} cores")
    table.add_row("ingest", f"{statistics.median(rates['ingest']):,.0f}", "1.00")
    table.add_row("batch", f"{statistics.median(rates['batch']):,.0f}", f"{statistics.median(ratios):.2f}")
    Console(width=80).print(table)
    return 0


def _texts(count: int) -> list[str]:
    """Return texts that no earlier call returned, so that no vector of them is known already."""
    words = " ".join(topics.values()).split()
    return [" ".join(random.choices(words, k=WORDS_PER_TEXT)) for _ in range(count)]


def _batch(client: OpenAI, texts: list[str]) -> float:
    lines = (
        json.dumps(
            {
                "custom_id": str(number),
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": MODEL, "input": text},
            }
        )
        for number, text in enumerate(texts)
    )
    file = client.files.create(file=("texts.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h")
    while batch.in_progress_at is None:
        time.sleep(POLL_S)
        batch = client.batches.retrieve(batch.id)
    began = time.perf_counter()
    while batch.status != "completed":
        time.sleep(POLL_S)
        batch = client.batches.retrieve(batch.id)
    seconds = time.perf_counter() - began
    assert batch.usage is not None
    return (batch.usage.total_tokens - SPECIAL_TOKENS * len(texts)) / seconds


def _ingest(client: OpenAI, texts: list[str]) -> float:
    store = client.vector_stores.create(name=f"benchmark {random.random()}")
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as folder:
        for first in range(0, len(texts), TEXTS_PER_FILE):
            path = Path(folder) / f"{first}.txt"
            path.write_text("\n\n".join(texts[first : first + TEXTS_PER_FILE]), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "data_jobs.ingest", folder, "--vector-store", store.id, "--json"],
            capture_output=True,
            text=True,
        )
    if done.returncode != 0:
        raise SystemExit(f"the ingest failed:\n{done.stderr[-4000:]}")
    client.vector_stores.delete(store.id)
    report = json.loads(done.stdout.splitlines()[-1])
    return float(report["tokens_embedded"] / report["seconds"])


if __name__ == "__main__":
    sys.exit(main())
