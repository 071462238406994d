"""Our engine without a server: threads that call it as the clients of ``benchmarks.endpoint`` call a server.

    CLUSTER_PRECISION=bfloat16 python -m benchmarks.peers.direct

Reads orders from standard input, line by line, and answers in JSON lines.
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
    """Load, embed one text, then obey."""
    engine = open_engine(Registry(Settings()).default)
    engine.embed(["How long is the notice period?"])

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_obey(engine, **json.loads(line))), flush=True)


def _obey(engine: Engine, clients: int, requests: list[list[str]], seconds: float) -> dict[str, Any]:
    """So many threads take the requests one after the other; none is begun when the time is over."""
    waiting, done = deque(requests), []

    def call_on() -> None:
        while waiting and time.perf_counter() < started + seconds:
            request, begun = waiting.popleft(), time.perf_counter()
            engine.embed(request)
            done.append((time.perf_counter() - begun, len(request)))

    processor_s, started = time.process_time(), time.perf_counter()
    with ThreadPoolExecutor(clients) as callers:
        for _ in range(clients):
            callers.submit(call_on)
    passed, processor_s = time.perf_counter() - started, time.process_time() - processor_s
    latencies, texts = zip(*done, strict=True)
    return {"latencies_s": latencies, "texts": sum(texts), "seconds": passed, "processor_s": processor_s}


if __name__ == "__main__":
    main()
