"""The endpoint of ``benchmarks.overhead`` in uvicorn, whose metrics and traces a command switches on and off.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 python -m benchmarks.overhead.server --port 9000

Reads commands as JSON lines from standard input, such as ``{"metrics": true, "traces": "default"}``, and
answers each. It runs the class of a replica without Ray Serve around it, so it has the metrics of production.
"""

import argparse
import json
import sys
import threading

import uvicorn

from benchmarks.overhead.variants import recorders
from cluster.logs import configure
from cluster.settings import Settings
from cluster.tracing import spans
from serve_app.api import build_api
from serve_app.deployment import Embedder


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    replica = Embedder()
    configure(Settings(), process="endpoint")
    opened = recorders()
    config = uvicorn.Config(
        build_api(replica._service),
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        spans._recorder = opened[command["traces"]]
        replica._metrics.stop()
        if command["metrics"]:
            replica._metrics._stop = threading.Event()
            replica._metrics.start()
        print(json.dumps(command), flush=True)
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
