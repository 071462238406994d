"""Measure how much later the first token of an agent's answer comes than that of its chat server.

    export CLUSTER_CHAT_MODELS='{"simulated": {
      "model": "m", "base_url": "http://127.0.0.1:8090/v1", "context_tokens": 8192}}'
    make up && python -m benchmarks.answers

The benchmark starts a simulated chat server, gives the handbook to an agent, and asks the agent and the chat
server in turns, one question at a time. The overhead includes the ingress, the embedding of the question, the
search, the prompt, and the request to the chat server. No question is asked twice, so no cache answers it.
Then the same is measured while a batch of embeddings saturates the engine.

Exit code 1: the 95th percentile of the overhead is above 30 ms, or more than twice as high under the batch.
On a machine with other work, only the second number is meaningful.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from openai import OpenAI

from benchmarks.answers.first_token import FirstTokens, MeasuredFirstTokens
from benchmarks.batches.batch_run import BatchRun, new_texts
from cluster.local.addresses import api_url
from cluster.settings import Settings

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))
AGENT = "benchmark-of-answers"
WARM_UP = 20
MAX_OVERHEAD_MS, MAX_RATIO = 30.0, 2.0


def main() -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.answers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--questions", type=int, default=150, help="questions of each phase (150)")
    parser.add_argument(
        "--first-token",
        type=float,
        default=0.0,
        metavar="S",
        help="wait of the chat server (0)",
    )
    given = parser.parse_args()
    settings = Settings()
    runs = BatchRun(settings)
    (model,) = settings.chat_models.values()
    assert model.base_url is not None
    questions = _questions()
    with _chat_server(model.base_url, given.first_token):
        _give_the_handbook(runs.client, f"{api_url(settings)}/v1")
        url, key = f"{api_url(settings)}/v1", os.environ.get("CLUSTER_KEY", "none")
        tokens = FirstTokens(url, model.base_url, AGENT, key)
        tokens.measure([next(questions) for _ in range(WARM_UP)])
        idle = tokens.measure([next(questions) for _ in range(given.questions)])
        with _bulk(runs):
            bulk = tokens.measure([next(questions) for _ in range(given.questions)])
    print(_table(idle, bulk))
    ratio = bulk.overhead_ms(95) / idle.overhead_ms(95)
    print(f"\np95 under the batch over p95 without it: {ratio:.2f}")
    return int(idle.overhead_ms(95) > MAX_OVERHEAD_MS or ratio > MAX_RATIO)


def _questions() -> Iterator[str]:
    """Yield questions about the headings of the handbook, each once."""
    headings = [
        (page.stem, heading) for page in PAGES for heading in re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    ]
    for form in ("What does the page {} say about {}?", "Explain from {}: {}.", "In {}, how does {} work?"):
        for page, heading in headings:
            yield form.format(page, heading)


@contextmanager
def _chat_server(base_url: str, first_token_s: float) -> Iterator[None]:
    """Run the simulated chat server at the URL that the settings name."""
    port = str(urlsplit(base_url).port)
    module = ["-m", "benchmarks.answers.chat_process", "--port", port, "--first-token", str(first_token_s)]
    process = subprocess.Popen([sys.executable, *module])
    try:
        for _ in range(200):
            try:
                httpx.get(f"{base_url}/models")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def _give_the_handbook(client: OpenAI, url: str) -> None:
    """Put the handbook into a vector store, and give the store to an agent."""
    store = client.vector_stores.create(name=AGENT)
    files = [client.files.create(file=page, purpose="assistants").id for page in PAGES]
    batch = client.vector_stores.file_batches.create_and_poll(store.id, file_ids=files)
    assert batch.file_counts.completed == len(PAGES), batch.file_counts
    body = {"external_id": AGENT, "knowledge": [{"vector_store_id": store.id}]}
    made = httpx.post(
        f"{url}/agents", json=body, headers={"authorization": f"Bearer {client.api_key}"}, timeout=60
    )
    made.raise_for_status()


@contextmanager
def _bulk(runs: BatchRun) -> Iterator[None]:
    """Run a batch of embeddings that takes longer than the block."""
    batch = runs.create(new_texts(30_000, words=60))
    while runs.now(batch).request_counts is None or not runs.now(batch).request_counts.completed:
        time.sleep(0.5)
    try:
        yield
        assert runs.now(batch).status == "in_progress", "the batch ended before the questions; send fewer"
    finally:
        runs.client.batches.cancel(batch.id)


def _table(idle: MeasuredFirstTokens, bulk: MeasuredFirstTokens) -> str:
    lines = [
        "| ms until the first token | chat server, p50 | agent, p50 | p95 | overhead, p50 | p95 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, seen in (("alone", idle), ("while a batch saturates the engine", bulk)):
        numbers = [
            sorted(seen.direct)[len(seen.direct) // 2] * 1_000,
            sorted(seen.agent)[len(seen.agent) // 2] * 1_000,
            sorted(seen.agent)[int(len(seen.agent) * 0.95)] * 1_000,
            seen.overhead_ms(50),
            seen.overhead_ms(95),
        ]
        lines.append(f"| {name} | {' | '.join(f'{number:.1f}' for number in numbers)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
