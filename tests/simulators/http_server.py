"""Code that the simulators of providers share: an HTTP server on a TCP port of its own, slow answers, resets.

with running(server):
    ...
"""

import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

#: Pieces of a slow answer, and seconds between them.
SLOW_PIECES, SLOW_PAUSE_S = 10, 0.02


class SimulatorServer(ThreadingHTTPServer):
    """An HTTP server with a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing if a client disconnects."""


class SimulatorHandler(BaseHTTPRequestHandler):
    """Answers with JSON, at once or slowly, or with a reset connection."""

    protocol_version = "HTTP/1.1"
    #: Without this, each small write waits up to 40 ms for an acknowledgement.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Write no log."""

    def send_json(self, status: int, data: bytes, headers: Mapping[str, str], *, slow: bool = False) -> None:
        """Send JSON; ``slow`` sends it in pieces with pauses between them."""
        self.send_response(status)
        for name, value in {
            **headers,
            "content-type": "application/json",
            "content-length": str(len(data)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        size = max(1, len(data) // SLOW_PIECES) if slow else max(1, len(data))
        for start in range(0, len(data), size):
            self.wfile.write(data[start : start + size])
            if slow:
                self.wfile.flush()
                time.sleep(SLOW_PAUSE_S)

    def reset(self) -> None:
        """Reset the connection without an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


S = TypeVar("S", bound=SimulatorServer)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Run the server on a thread inside the block, and close it afterwards."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
