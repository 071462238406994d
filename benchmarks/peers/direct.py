"""Our engine without a server, called by threads instead of the clients of ``benchmarks.endpoint``.

    CLUSTER_PRECISION=bfloat16 python -m benchmarks.peers.direct

Reads commands as JSON lines from standard input, and answers with JSON lines.
"""

import json
import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cluster.engines import Engine, Registry, open_engine
from cluster.settings import Settings


def main() -> None:
    """Load the engine, embed one text, then run the commands."""
    engine = open_engine(Registry(Settings()).default)
    engine.embed(["How long is the notice period?"])

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_run_command(engine, **json.loads(line))), flush=True)


def _run_command(engine: Engine, clients: int, requests: list[list[str]], seconds: float) -> dict[str, Any]:
    """Embed the requests in this many threads; none begins after ``seconds``."""
    remaining, done = deque(requests), []

    def call_repeatedly() -> None:
        while remaining and time.perf_counter() < started + seconds:
            request, begun = remaining.popleft(), time.perf_counter()
            engine.embed(request)
            done.append((time.perf_counter() - begun, len(request)))

    processor_s, started = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(clients) as callers:
        for _ in range(clients):
            callers.submit(call_repeatedly)
    passed, processor_s = time.perf_counter() - started, time.process_time() - processor_s
    latencies, texts = zip(*done, strict=True)
    return {"latencies_s": latencies, "texts": sum(texts), "seconds": passed, "processor_s": processor_s}


if __name__ == "__main__":
    main()
