"""The HTTP server of the simulator: ``POST /v1/embeddings``, over TCP, on a port of its own."""

import base64
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.simulators.http_server import SimulatorHandler, SimulatorServer, running
from tests.simulators.openai.faults import Fault, Faults
from tests.simulators.openai.provider import Provider, Refused, vector_of

RETRY_AFTER_S = 1
RETRY_AFTER_MS = 50
#: Seconds that a request takes.
LATENCY_S = 0.0


REFUSED = (
    Fault.BUSY,
    Fault.BUSY_WITH_RETRY_AFTER,
    Fault.BUSY_WITH_MILLISECONDS,
    Fault.UNAVAILABLE,
    Fault.NO_MONEY,
)


class Server(SimulatorServer):
    """Serves one provider. ``faults`` may be replaced at any time."""

    def __init__(self, provider: Provider, faults: Faults, *, port: int = 0, latency_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.provider = provider
        self.faults = faults
        self.latency_s = latency_s

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(SimulatorHandler):
    server: Server

    def do_POST(self) -> None:
        fault = self.server.faults.next()
        if fault == Fault.RESET:
            self.reset()
            return
        body = self.rfile.read(int(self.headers["content-length"]))
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            if self.path != "/v1/embeddings":
                raise Refused(404, f"Invalid URL (POST {self.path})", type="invalid_request_error", code=None)
            asked = json.loads(body)
            texts, dim, tokens = self.server.provider.accept(key, asked, fails=fault in REFUSED)
            _refuse(fault)
        except Refused as exc:
            self._send(exc.status, exc.body, exc.headers)
            return
        time.sleep(self.server.latency_s)
        if fault == Fault.LOST:
            self.reset()
            return
        floats = fault == Fault.FLOATS or asked.get("encoding_format") != "base64"
        answer = _answer(texts, dim, tokens, fault, asked["model"], floats=floats)
        self.server.provider.answered(key, tokens)
        self._send(200, answer, self.server.provider.left(key), slow=fault == Fault.SLOW)

    def _send(self, status: int, body: Any, headers: dict[str, str], *, slow: bool = False) -> None:
        self.send_json(status, json.dumps(body).encode(), headers, slow=slow)


def _refuse(fault: Fault | None) -> None:
    busy = {"type": "requests", "code": "rate_limit_exceeded"}
    if fault == Fault.BUSY:
        raise Refused(429, "Rate limit reached", **busy)
    if fault == Fault.BUSY_WITH_RETRY_AFTER:
        raise Refused(429, "Rate limit reached", **busy, retry_after=str(RETRY_AFTER_S))
    if fault == Fault.BUSY_WITH_MILLISECONDS:
        raise Refused(429, "Rate limit reached", **busy, retry_after_ms=str(RETRY_AFTER_MS))
    if fault == Fault.UNAVAILABLE:
        raise Refused(503, "The server is overloaded", type="server_error", code=None)
    if fault == Fault.NO_MONEY:
        kind = "insufficient_quota"
        raise Refused(429, "You exceeded your current quota", type=kind, code=kind)


def _answer(
    texts: list[str], dim: int, tokens: int, fault: Fault | None, model: str, *, floats: bool
) -> dict[str, Any]:
    vectors = [vector_of(text, dim) for text in texts]
    if fault == Fault.NAN:
        vectors[-1][0] = np.nan
    if fault == Fault.LONG:
        vectors = [3 * vector for vector in vectors]
    if fault == Fault.WRONG_DIMENSION:
        vectors = [vector[:-1] for vector in vectors]
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, floats=floats)}
        for index, vector in enumerate(vectors)
    ]
    if fault == Fault.SHUFFLED:
        data.reverse()
    if fault == Fault.MISSING:
        del data[-1]
    if fault == Fault.TWICE:
        data[-1]["index"] = 0
    usage = {} if fault == Fault.NO_USAGE else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return {"object": "list", "data": data, "model": model, **usage}


def _encoded(vector: NDArray[np.float32], *, floats: bool) -> str | list[float]:
    return vector.tolist() if floats else base64.b64encode(vector.astype("<f4").tobytes()).decode()


@contextmanager
def simulator(
    provider: Provider | None = None, faults: Faults | None = None, *, latency_s: float = LATENCY_S
) -> Iterator[Server]:
    """Run a simulator inside the block."""
    with running(Server(provider or Provider(), faults or Faults(), latency_s=latency_s)) as server:
        yield server
