"""Our engine without a server: threads that call it as the clients of ``benchmarks.endpoint`` call a server.

    CLUSTER_PRECISION=bfloat16 python -m benchmarks.peers.direct

Reads orders from standard input, line by line, and answers in JSON lines.
"""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cluster.engines import open_engine
from cluster.settings import Settings


def main() -> None:
    """Load, embed one text, then obey."""
    engine = open_engine(Settings())
    engine.embed(["How long is the notice period?"])

    def timed(texts: Sequence[str]) -> float:
        started = time.perf_counter()
        engine.embed(texts)
        return time.perf_counter() - started

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_obey(json.loads(line), timed)), flush=True)


def _obey(order: dict[str, Any], timed: Any) -> dict[str, Any]:
    with ThreadPoolExecutor(order["clients"]) as callers:
        processor_s, started = time.process_time(), time.perf_counter()
        latencies = list(callers.map(timed, order["requests"]))
        return {"latencies_s": latencies, "seconds": time.perf_counter() - started, "processor_s": time.process_time() - processor_s}


if __name__ == "__main__":
    main()
