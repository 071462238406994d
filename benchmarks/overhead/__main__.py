"""Measure what metrics and traces cost the endpoint at saturation, in throughput and in processor time.

    python -m benchmarks.overhead --rounds 20 --seconds 4

One server runs all the time, and 16 clients send one sentence a request without pause. In every round each
variant is measured for some seconds, in an order that rotates. The ratios compare a variant with "off" in the
same round, because the machine may do other work; the table shows their medians. Processor time is that of
the server alone. No cache answers. The collector of spans is a server in the process of the benchmark.

On a machine with other work, ``python -m benchmarks.overhead.processor_time`` gives steadier numbers.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict

import httpx
import psutil

from benchmarks.overhead.variants import CLIENTS, OFF, VARIANTS, Variant, rotated
from benchmarks.peers.servers import ENVIRONMENT, MODEL, OUR_FIELDS, START_TIMEOUT_S, CommandedProcess, client
from benchmarks.peers.texts import Texts
from cluster.database import bundled
from cluster.settings import Settings
from tests.cluster.tracing.collector import Collector, collecting
from tests.conftest import free_ports

#: Number of requests that are prepared for each second of a measurement. The server answers fewer.
REQUESTS_PER_S = 1_000
#: Texts a second, and milliseconds of the server's processor time for each text.
Measurement = tuple[float, float]


def main() -> int:
    """Run the rounds, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="time of each measurement (default: %(default)s)"
    )
    arguments = parser.parse_args()
    rounds: list[dict[str, Measurement]] = []
    with collecting() as collector, _server(collector) as (server, url), client() as load:
        texts = Texts(0)
        # Not counted, because the first requests allocate memory.
        _measure(server, load, url, texts, VARIANTS[OFF], arguments.seconds)
        for number in range(arguments.rounds):
            rounds.append(
                {
                    name: _measure(server, load, url, texts, VARIANTS[name], arguments.seconds)
                    for name in rotated(number)
                }
            )
            print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
        print(f"{len(collector.spans):,} spans arrived.", file=sys.stderr)
    _show(rounds)
    return 0


@contextmanager
def _server(collector: Collector) -> Iterator[tuple[CommandedProcess, str]]:
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        variables = {
            **ENVIRONMENT,
            "CLUSTER_HOME": home,
            "CLUSTER_PRECISION": "float32",
            "CLUSTER_VECTOR_CACHE_BYTES": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_MAX_QUEUE_SIZE": "20000",
        }
        process = CommandedProcess("benchmarks.overhead.server", variables, "--port", str(port))
        try:
            with closing(process):
                url = f"http://127.0.0.1:{port}/v1/embeddings"
                _await_ready(f"http://127.0.0.1:{port}/readyz")
                yield process, url
        finally:
            bundled.stop(Settings(home=home))  # type: ignore[arg-type]  # pydantic makes a path of it


def _await_ready(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            if httpx.get(url, timeout=10).is_success:
                return
        except httpx.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit("the server did not start")
        time.sleep(0.2)


def _measure(
    server: CommandedProcess,
    load: CommandedProcess,
    url: str,
    texts: Texts,
    variant: Variant,
    seconds: float,
) -> Measurement:
    server.ask(asdict(variant))
    requests = [
        {"body": json.dumps({"model": MODEL, "input": texts.sentence(), **OUR_FIELDS}), "vectors": 1}
        for _ in range(round(REQUESTS_PER_S * seconds))
    ]
    process = psutil.Process(server.pid)
    before = process.cpu_times()
    busy = {"clients": CLIENTS, "requests": requests, "headers": {}, "seconds": seconds}
    answer = load.ask({"url": url, "busy": busy})
    if answer["busy"]["errors"]:
        raise SystemExit(f"the server refused a request: {answer['busy']['errors'][0]}")
    after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    count = answer["busy"]["vectors"]
    return count / answer["seconds"], used_s / count * 1_000


def _show(rounds: list[dict[str, Measurement]]) -> None:
    rates, costs = defaultdict(list), defaultdict(list)
    for seen in rounds:
        for name, (rate, cost) in seen.items():
            rates[name].append(rate / seen[OFF][0])
            costs[name].append(cost / seen[OFF][1])
    print(f"\n| {len(rounds)} rounds, medians | texts/s | of off | processor ms a text | of off |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in VARIANTS:
        rate = statistics.median(seen[name][0] for seen in rounds)
        cost = statistics.median(seen[name][1] for seen in rounds)
        print(
            f"| {name} | {rate:,.0f} | {statistics.median(rates[name]):.3f} | {cost:.3f} "
            f"| {statistics.median(costs[name]):.3f} |"
        )


if __name__ == "__main__":
    sys.exit(main())
