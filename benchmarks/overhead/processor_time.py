"""Measure the processor time that metrics and traces add to a request, in one process without a network.

    python -m benchmarks.overhead.processor_time --rounds 40

16 tasks send requests of one sentence through the whole application, so that the model computes batches. In
every round each variant answers the same number of requests, in an order that rotates, and the processor time
of the process is measured. It includes the thread that encodes and sends the spans. The cost of publishing
metrics is added as a share of the period. Other work on the machine changes the ratios inside a round less
than the times, because a variant takes only a fraction of a second.

Without Serve around the replica, Ray starts a small cluster of its own, which ends with the benchmark.

The table also has the time of the calls that a request makes to ``cluster.tracing``, measured alone.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from benchmarks import own_database
from benchmarks.overhead.variants import CLIENTS, OFF, VARIANTS, recorders, rotated
from benchmarks.peers.servers import ENVIRONMENT, MODEL, OUR_FIELDS
from benchmarks.peers.texts import Texts
from cluster.settings import Settings
from cluster.tracing import SERVER, continued_trace, flush_spans, span, spans
from cluster.tracing.conventions import METHOD, PATH, ROUTE, STATUS, embeddings
from cluster.tracing.exporting import OpenTelemetryRecorder
from serve_app.api import build_api
from serve_app.deployment import Embedder
from serve_app.embedding.metrics import PERIOD_S
from tests.cluster.tracing.collector import collecting

#: Number of rounds, and of requests in each round, when only the calls of ``cluster.tracing`` are measured.
CALL_ROUNDS, CALLS = 25, 1_000


def main() -> int:
    """Run the rounds, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--requests", type=int, default=96, help="requests of a measurement (default: %(default)s)"
    )
    arguments = parser.parse_args()
    with collecting() as collector, own_database() as (settings, _):
        os.environ.update({**ENVIRONMENT, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
        with _replica(settings) as replica:
            opened = recorders()
            used = {name: opened[variant.traces] for name, variant in VARIANTS.items()}
            rounds = asyncio.run(_measure_all(replica, used, arguments.rounds, arguments.requests))
            alone = _calls_alone(used)
            publications = [_publication_s(replica) for _ in range(CALL_ROUNDS)]
        print(f"{len(collector.spans):,} spans arrived.", file=sys.stderr)
    _show(rounds, alone)
    publication_s = statistics.median(publications)
    print(
        f"\nOne publication of the metrics takes {publication_s * 1_000:.1f} ms of processor time every "
        f"{PERIOD_S:g} s, {publication_s / PERIOD_S:.2%} of a core."
    )
    return 0


@contextmanager
def _replica(settings: Settings) -> Iterator[Embedder]:
    given = {"CLUSTER_HOME": str(settings.home), "CLUSTER_VECTOR_CACHE_BYTES": "0"}
    os.environ.update({**given, "CLUSTER_LOG_LEVEL": "ERROR", "CLUSTER_PRECISION": "float32"})
    replica = Embedder()
    replica._metrics.stop()
    yield replica
    replica._service.close()


def _calls_alone(used: dict[str, OpenTelemetryRecorder | None]) -> dict[str, float]:
    """Return, for each variant, the microseconds of processor time that the calls of one request to
    ``cluster.tracing`` take. The time of the thread that sends the spans is included.
    """
    found = defaultdict(list)
    for _ in range(CALL_ROUNDS):
        for name, recorder in used.items():
            spans._recorder = recorder
            began = time.process_time()
            for _ in range(CALLS):
                with continued_trace("POST", SERVER, None) as request:
                    with span("embeddings") as made:
                        if made.recorded:
                            made.set(embeddings(MODEL, dim=384, inputs=1, tokens=20))
                    if request.recorded:
                        request.set({METHOD: "POST", PATH: "/v1/embeddings", STATUS: 200, ROUTE: "/v1"})
            flush_spans()
            found[name].append((time.process_time() - began) / CALLS * 1e6)
    return {name: statistics.median(costs) for name, costs in found.items()}


async def _measure_all(
    replica: Embedder, used: dict[str, OpenTelemetryRecorder | None], rounds: int, requests: int
) -> list[dict[str, float]]:
    app, texts, found = build_api(replica._service), Texts(0), []
    await _answer(app, _bodies(texts, requests))  # not counted, because the first requests allocate memory
    for number in range(rounds):
        seen = {}
        for name in rotated(number):
            spans._recorder = used[name]
            bodies = _bodies(texts, requests)
            began = time.process_time()
            await _answer(app, bodies)
            await asyncio.to_thread(flush_spans)
            used_s = time.process_time() - began
            seen[name] = used_s / requests * 1_000
            if VARIANTS[name].metrics:
                seen[name] *= 1 + _publication_s(replica) / PERIOD_S
        found.append(seen)
    return found


def _publication_s(replica: Embedder) -> float:
    """Publish the metrics once, as a replica does every ``PERIOD_S``, and return the processor time."""
    began = time.process_time()
    replica._metrics.publish()
    return time.process_time() - began


def _bodies(texts: Texts, count: int) -> list[bytes]:
    return [
        json.dumps({"model": MODEL, "input": texts.sentence(), **OUR_FIELDS}).encode() for _ in range(count)
    ]


async def _answer(app: FastAPI, bodies: list[bytes]) -> None:
    waiting = iter(bodies)

    async def send_all() -> None:
        for body in waiting:
            await _post(app, body)

    await asyncio.gather(*(send_all() for _ in range(CLIENTS)))


async def _post(app: FastAPI, body: bytes) -> None:
    """Send a request as an ASGI server does."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/embeddings",
        "raw_path": b"/v1/embeddings",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
        "state": {},
    }
    received, left = iter([{"type": "http.request", "body": body, "more_body": False}]), asyncio.Event()
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        for message in received:
            return message
        await left.wait()  # the client must stay connected until its answer is complete
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(str(message["status"])))

    await app(scope, receive, send)  # type: ignore[arg-type]  # plain dictionaries
    left.set()
    if statuses != [200]:
        raise SystemExit(f"the application answered with {statuses}")


def _show(rounds: list[dict[str, float]], alone: dict[str, float]) -> None:
    ratios = defaultdict(list)
    for seen in rounds:
        for name, cost in seen.items():
            ratios[name].append(cost / seen[OFF])
    print(
        f"\n| {len(rounds)} rounds, medians | processor ms a request | of off | quartiles | calls alone, µs |"
    )
    print("| --- | ---: | ---: | --- | ---: |")
    for name in VARIANTS:
        low, middle, high = statistics.quantiles(ratios[name], n=4)
        cost = statistics.median(seen[name] for seen in rounds)
        print(f"| {name} | {cost:.3f} | {middle:.3f} | {low:.3f} to {high:.3f} | {alone[name]:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
