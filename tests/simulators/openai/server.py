"""The HTTP server of the simulator: embeddings, files and batches, over TCP, on a port of its own."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.simulators.http_server import SimulatorHandler, SimulatorServer, running
from tests.simulators.openai.answers import embeddings
from tests.simulators.openai.batches import BatchService
from tests.simulators.openai.faults import Fault, Faults
from tests.simulators.openai.provider import Provider, Refused

RETRY_AFTER_S = 1
RETRY_AFTER_MS = 50
#: Seconds that a request takes.
LATENCY_S = 0.0


REFUSED = (
    Fault.BUSY,
    Fault.BUSY_WITH_RETRY_AFTER,
    Fault.BUSY_WITH_MILLISECONDS,
    Fault.UNAVAILABLE,
    Fault.FORBIDDEN,
    Fault.NO_MONEY,
)


class Server(SimulatorServer):
    """Serves one provider. ``faults`` may be replaced at any time.

    Args:
        provider: models, keys and limits.
        faults: the faults of the next requests.
        batch_api: the files and batches; None: the server has no files and batches.
    """

    def __init__(
        self,
        provider: Provider,
        faults: Faults,
        *,
        port: int = 0,
        latency_s: float = 0.0,
        batch_api: BatchService | None = None,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.provider = provider
        self.faults = faults
        self.latency_s = latency_s
        self.batch_api = batch_api
        #: Called with the request's name before each request is applied and, if the request is about files
        #: or batches, again before its answer.
        self.observe: Callable[[str], None] = lambda _: None

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(SimulatorHandler):
    server: Server

    def do_GET(self) -> None:
        self._manage(b"")

    def do_DELETE(self) -> None:
        self._manage(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/v1/embeddings":
            self._embed(body)
        else:
            self._manage(body)

    @property
    def _key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def _manage(self, body: bytes) -> None:
        """Answer a request about files or batches."""
        fault = self.server.faults.next()
        if fault == Fault.RESET:
            self.reset()
            return
        name = f"{self.command} {self.path}"
        try:
            self.server.observe(name)
            if self.server.batch_api is None:
                raise Refused(404, f"Invalid URL ({name})", type="invalid_request_error", code=None)
            self.server.provider.require_key(self._key)
            refuse(fault)
            answer = self.server.batch_api.answer(
                self.command, self.path, self.headers.get("content-type", ""), body
            )
        except Refused as exc:
            self._send(exc.status, exc.body, exc.headers)
            return
        self.server.observe(name)
        if fault == Fault.LOST:
            self.reset()
        elif isinstance(answer, bytes):
            self.send_json(200, answer, {}, slow=fault == Fault.SLOW)
        else:
            self._send(200, answer, {}, slow=fault == Fault.SLOW)

    def _embed(self, body: bytes) -> None:
        fault = self.server.faults.next()
        if fault == Fault.RESET:
            self.reset()
            return
        try:
            self.server.observe(f"{self.command} {self.path}")
            asked = json.loads(body)
            texts, dim, tokens = self.server.provider.accept(self._key, asked, fails=fault in REFUSED)
            refuse(fault)
        except Refused as exc:
            self._send(exc.status, exc.body, exc.headers)
            return
        time.sleep(self.server.latency_s)
        if fault == Fault.LOST:
            self.reset()
            return
        floats = fault == Fault.FLOATS or asked.get("encoding_format") != "base64"
        answer = embeddings(texts, dim, tokens, fault, asked["model"], floats=floats)
        self.server.provider.answered(self._key, tokens)
        self._send(200, answer, self.server.provider.left(self._key), slow=fault == Fault.SLOW)

    def _send(self, status: int, body: Any, headers: dict[str, str], *, slow: bool = False) -> None:
        self.send_json(status, json.dumps(body).encode(), headers, slow=slow)


def refuse(fault: Fault | None) -> None:
    """Refuse the request, if the fault is one with which the server refuses requests."""
    busy = {"type": "requests", "code": "rate_limit_exceeded"}
    if fault == Fault.BUSY:
        raise Refused(429, "Rate limit reached", **busy)
    if fault == Fault.BUSY_WITH_RETRY_AFTER:
        raise Refused(429, "Rate limit reached", **busy, retry_after=str(RETRY_AFTER_S))
    if fault == Fault.BUSY_WITH_MILLISECONDS:
        raise Refused(429, "Rate limit reached", **busy, retry_after_ms=str(RETRY_AFTER_MS))
    if fault == Fault.UNAVAILABLE:
        raise Refused(503, "The server is overloaded", type="server_error", code=None)
    if fault == Fault.FORBIDDEN:
        kind = "permission_error"
        raise Refused(403, "You have insufficient permissions for this operation.", type=kind, code=None)
    if fault == Fault.NO_MONEY:
        kind = "insufficient_quota"
        raise Refused(429, "You exceeded your current quota", type=kind, code=kind)


@contextmanager
def simulator(
    provider: Provider | None = None,
    faults: Faults | None = None,
    *,
    latency_s: float = LATENCY_S,
    batches: bool = False,
) -> Iterator[Server]:
    """Run a simulator inside the block; ``batches``: True to have files and the Batch API."""
    provider = provider or Provider()
    service = BatchService(provider) if batches else None
    server = Server(provider, faults or Faults(), latency_s=latency_s, batch_api=service)
    with running(server) as server:
        yield server
