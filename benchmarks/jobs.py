"""Compare the latency of uploads, an urgent page and a query on a busy cluster with that on an idle one.

    make up && python -m benchmarks.jobs --seconds 90

Fifty PDFs of a hundred pages are attached to a vector store by one batch. While they are processed, one
client uploads small files, one embeds a question every half second, and one uploads a page, attaches it with
high priority and polls until it is searchable. The stores are deleted at the end. Exit code 1: a bound was
exceeded.
"""

import argparse
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pydoc_data.topics import topics

import httpx
import pymupdf
from openai import OpenAI
from rich import box
from rich.console import Console
from rich.table import Table

from cluster.local.addresses import api_url
from cluster.settings import Settings

DOCUMENTS, PAGES, WORDS_PER_PAGE = 50, 100, 250
#: Number of different documents. The others differ from these only in a comment, so they are other files with
#: the same work.
DISTINCT_DOCUMENTS = 10
IDLE_S, WARM_UP_S = 15.0, 5.0
QUESTION_EVERY_S, UPLOAD_EVERY_S, PAGE_EVERY_S, POLL_EVERY_S = 0.5, 0.2, 0.5, 0.05
#: Bounds, in seconds, and as a multiple of the idle p95.
UPLOAD_P99_S, PAGE_P95_S, QUESTION_P95_RATIO = 0.2, 5.0, 2.0


@dataclass
class BenchmarkedEndpoint:
    """The endpoint, and the times of its requests by kind."""

    url: str
    client: OpenAI
    #: Kept open, as in a program, because loading certificates takes 50 ms of processor time.
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))
    #: Seconds of each request, by kind.
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def question(self) -> None:
        """Embed a text that was never embedded before."""
        body = {
            "model": "all-MiniLM-L6-v2",
            "input": f"How long is the notice period of contract {random.random()}?",
        }
        self.http.post(f"{self.url}/embeddings", json=body).raise_for_status()

    def upload(self) -> str:
        """Upload a small new file; returns its id."""
        data = f"Contract {random.random()} ends without notice.".encode()
        return self.client.files.create(file=("contract.txt", data), purpose="assistants").id

    def page(self, store: str) -> None:
        """Upload a page, attach it with high priority, and poll until it is searchable."""
        file = self.upload()
        self.client.vector_stores.files.create(
            file_id=file, vector_store_id=store, extra_body={"priority_class": "high"}
        )
        while (
            found := self.client.vector_stores.files.retrieve(file, vector_store_id=store)
        ).status == "in_progress":
            time.sleep(POLL_EVERY_S)
        if found.status != "completed":
            raise RuntimeError(f"{file} ended as {found.status}: {found.last_error}")

    def repeat(self, what: str, ask: Callable[[], object], *, every_s: float, until: threading.Event) -> None:
        """Repeat a request, and record its times."""
        taken = self.seconds.setdefault(what, [])
        while not until.is_set():
            started = time.perf_counter()
            ask()
            taken.append(time.perf_counter() - started)
            until.wait(every_s)


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=90.0,
        help="how long the busy cluster is measured (default: %(default)s)",
    )
    options = parser.parse_args()
    url = f"{api_url(Settings())}/v1"
    cluster = BenchmarkedEndpoint(url, OpenAI(base_url=url, api_key="unused", max_retries=0))
    store = cluster.client.vector_stores.create(name="benchmark, urgent").id
    bulk = cluster.client.vector_stores.create(name="benchmark, bulk").id
    try:
        for what in ("question", "upload", "page"):
            measure(cluster, store, IDLE_S, "idle", only=what)
        files = [
            cluster.client.files.create(file=(f"{n}.pdf", data), purpose="assistants").id
            for n, data in enumerate(documents())
        ]
        batch = cluster.client.vector_stores.file_batches.create(bulk, file_ids=files)
        time.sleep(WARM_UP_S)
        measure(cluster, store, options.seconds, "busy")
        counts = cluster.client.vector_stores.file_batches.retrieve(
            batch.id, vector_store_id=bulk
        ).file_counts
        if not counts.in_progress:
            print("the documents were done before the time was over: use fewer --seconds", file=sys.stderr)
        cluster.client.vector_stores.file_batches.cancel(batch.id, vector_store_id=bulk)
    finally:
        for id in (store, bulk):
            cluster.client.vector_stores.delete(id)
    return show(
        cluster.seconds, f"{counts.completed} of {counts.total} documents done, {counts.failed} failed"
    )


def measure(cluster: BenchmarkedEndpoint, store: str, seconds: float, state: str, *, only: str = "") -> None:
    """Send all three kinds of requests for some seconds, or only one of them."""
    until = threading.Event()
    asked: dict[str, tuple[Callable[[], object], float]] = {
        "question": (cluster.question, QUESTION_EVERY_S),
        "upload": (cluster.upload, UPLOAD_EVERY_S),
        "page": (lambda: cluster.page(store), PAGE_EVERY_S),
    }
    threads = [
        threading.Thread(
            target=cluster.repeat, args=(f"{what} {state}", ask), kwargs={"every_s": every_s, "until": until}
        )
        for what, (ask, every_s) in asked.items()
        if only in {"", what}
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    until.set()
    for thread in threads:
        thread.join()


def documents() -> list[bytes]:
    """PDFs with words of the Python language reference, shuffled, so that no vector comes from the cache."""
    words = " ".join(topics.values()).split()
    written = [_pdf(words) for _ in range(DISTINCT_DOCUMENTS)]
    return [
        written[number % DISTINCT_DOCUMENTS] + f"\n%{number}\n%%EOF".encode() for number in range(DOCUMENTS)
    ]


def _pdf(words: list[str]) -> bytes:
    with pymupdf.open() as document:
        for _ in range(PAGES):
            document.new_page().insert_textbox(
                (50, 50, 550, 800), " ".join(random.choices(words, k=WORDS_PER_PAGE)), fontsize=9
            )
        return bytes(document.tobytes())


def show(seconds: dict[str, list[float]], work: str) -> int:
    """Print the table; returns 1 if a bound is exceeded, else 0."""
    table = Table(box=box.MARKDOWN)
    for heading in ("", "asked", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(heading, justify="left" if not heading else "right")
    for what, taken in seconds.items():
        table.add_row(
            what, str(len(taken)), *(f"{1000 * quantile(taken, at):.1f}" for at in (0.5, 0.95, 0.99))
        )
    times = quantile(seconds["question busy"], 0.95) / quantile(seconds["question idle"], 0.95)
    Console().print(
        f"While workers are busy: {work}", table, f"\nA question's p95, busy over idle: {times:.2f}"
    )
    bounds = (
        quantile(seconds["upload busy"], 0.99) < UPLOAD_P99_S,
        quantile(seconds["page busy"], 0.95) < PAGE_P95_S,
        times < QUESTION_P95_RATIO,
    )
    return 0 if all(bounds) else 1


def quantile(values: list[float], at: float) -> float:
    """The value that the share ``at`` of the values does not exceed."""
    return (
        statistics.quantiles(values, n=1000, method="inclusive")[round(at * 1000) - 1]
        if len(values) > 1
        else values[0]
    )


if __name__ == "__main__":
    sys.exit(main())
