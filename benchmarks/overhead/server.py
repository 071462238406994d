"""The endpoint of ``benchmarks.overhead`` in uvicorn, whose metrics and traces a command switches on and off.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 python -m benchmarks.overhead.server --port 9000

Reads commands as JSON lines from standard input, such as ``{"metrics": true, "traces": "default"}``, and
answers each. It runs the class of a replica without Ray Serve around it, so it has the metrics of production.
"""

import argparse
import json
import os
import sys
import threading

import uvicorn

from cluster.logs import configure
from cluster.settings import Settings
from cluster.tracing import spans
from cluster.tracing.exporting import SAMPLER, OpenTelemetryRecorder, open_recorder
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
    recorders = {"off": None, "default": open_recorder("endpoint"), "all": _recorder_of_all()}
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
        spans._recorder = recorders[command["traces"]]
        replica._metrics.stop()
        if command["metrics"]:
            replica._metrics._stop = threading.Event()
            replica._metrics.start()
        print(json.dumps(command), flush=True)
    server.should_exit = True
    thread.join()


def _recorder_of_all() -> OpenTelemetryRecorder | None:
    os.environ[SAMPLER] = "parentbased_always_on"
    return open_recorder("endpoint")


if __name__ == "__main__":
    main()
