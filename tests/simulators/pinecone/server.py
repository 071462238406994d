"""The HTTP server of the simulator, on a TCP port of its own.

with simulator(dim=8, faults=IndexFaults(chances={IndexFault.BUSY: 0.2})) as server:
    index = Index(host=server.url, api_key="any")
    server.traffic.busiest("upsert")
    server.complaints
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from tests.simulators.http_server import SimulatorHandler, SimulatorServer, running
from tests.simulators.pinecone.contract import VERSIONS
from tests.simulators.pinecone.faults import WRITES, IndexFault, IndexFaults
from tests.simulators.pinecone.refusal import Refusal
from tests.simulators.pinecone.service import MAX_BYTES, Body, PineconeService
from tests.simulators.pinecone.traffic import RateCaps, Traffic

#: What ``Retry-After`` asks for, in seconds. Pinecone sends whole seconds.
RETRY_AFTER_S = 1
#: Maximum seconds without an answer; clients give up before.
LONGEST_S = 120.0


class PineconeServer(SimulatorServer):
    """Serves one index. ``faults`` and ``before`` may be replaced at any time."""

    def __init__(
        self,
        service: PineconeService,
        *,
        faults: IndexFaults | None = None,
        caps: RateCaps | None = None,
        port: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.service = service
        self.traffic = Traffic(caps=caps or RateCaps())
        self.faults = faults or IndexFaults()
        #: Seconds that a request takes.
        self.latency_s = 0.0
        #: Called with the operation, its body and the client's port before the operation is carried out.
        self.before: Callable[[str, Body, int], None] | None = None
        #: Accepted keys; None means any.
        self.keys: set[str] | None = None
        self._released = threading.Event()

    @property
    def url(self) -> str:
        """Host of the index, for clients."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def complaints(self) -> list[str]:
        """What requests and answers broke of Pinecone's description."""
        return self.service.complaints

    def release(self) -> None:
        """Close the connections that have no answer."""
        self._released.set()

    def wait_released(self) -> None:
        """Return when ``release`` is called."""
        self._released.wait(LONGEST_S)


class _Handler(SimulatorHandler):
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: PineconeServer

    def do_GET(self) -> None:
        self._serve("GET", b"")

    def do_POST(self) -> None:
        self._serve("POST", self.rfile.read(int(self.headers.get("Content-Length", "0"))))

    def _serve(self, method: str, raw: bytes) -> None:
        url = urlsplit(self.path)
        try:
            operation, named = self.server.service.operation(method, url.path)
            body = {**(orjson.loads(raw) if raw else parameters(url.query)), **named}
        except Refusal as refusal:
            self._send(refusal.status, refusal.body, refusal.headers)
            return
        within = self.server.traffic.arrive(
            operation,
            str(body.get("namespace") or body.get("name") or ""),
            rows=len(body.get("vectors") or body.get("ids") or ()),
            bytes=len(raw),
        )
        fault = self.server.faults.next(operation)
        if fault == IndexFault.RESET:
            self.reset()
            return
        time.sleep(self.server.latency_s)
        try:
            if not within:
                raise Refusal(429, f"Request failed. You've reached the limit of {operation} requests")
            self._admit(raw, fault)
            if self.server.before is not None:
                self.server.before(operation, body, self.client_address[1])
            answer, headers = self.server.service.carry_out(operation, body)
            self._finish(fault, operation, answer, headers)
        except Refusal as refusal:
            self._send(refusal.status, refusal.body, refusal.headers)

    def _admit(self, raw: bytes, fault: IndexFault | None) -> None:
        """Refuse the requests that Pinecone's edge would refuse, and those that the fault refuses."""
        if not (key := self.headers.get("Api-Key", "")) or key not in (self.server.keys or {key}):
            raise Refusal(401, "Invalid API Key")
        if (version := self.headers.get("X-Pinecone-Api-Version")) not in VERSIONS:
            raise Refusal(400, f"this simulator does not know version {version} of the API")
        if fault == IndexFault.BUSY:
            raise Refusal(429, "Too many requests")
        if fault == IndexFault.BUSY_WITH_RETRY_AFTER:
            raise Refusal(429, "Too many requests", retry_after=str(RETRY_AFTER_S))
        if fault == IndexFault.UNAVAILABLE:
            raise Refusal(503, "The service is unavailable")
        if len(raw) > MAX_BYTES:
            raise Refusal(413, f"the request has {len(raw)} bytes; the limit is {MAX_BYTES}")

    def _finish(
        self, fault: IndexFault | None, operation: str, answer: dict[str, Any], headers: dict[str, str]
    ) -> None:
        """Answer a request that was carried out, unless the fault prevents the answer."""
        if fault == IndexFault.APPLIED_500 and operation in WRITES:
            raise Refusal(500, "Internal error after the write")
        if fault == IndexFault.NO_ANSWER:
            self.server.wait_released()
            self.reset()
        elif fault == IndexFault.APPLIED_RESET:
            self.reset()
        else:
            self._send(200, answer, headers, slow=fault == IndexFault.SLOW)

    def _send(
        self, status: int, body: dict[str, Any], headers: dict[str, str], *, slow: bool = False
    ) -> None:
        self.send_json(status, orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY), headers, slow=slow)


def parameters(query: str) -> dict[str, Any]:
    """The parameters of a URL. ``ids`` is a list."""
    return {
        name: values if name == "ids" else values[-1]
        for name, values in parse_qs(query, keep_blank_values=True).items()
    }


@contextmanager
def simulator(
    *, dim: int = 384, metric: str = "cosine", faults: IndexFaults | None = None, caps: RateCaps | None = None
) -> Iterator[PineconeServer]:
    """Run a simulator of one index inside the block."""
    made = PineconeServer(PineconeService(dim=dim, metric=metric), faults=faults, caps=caps)
    with running(made) as server:
        try:
            yield server
        finally:
            server.release()
