"""The client of ``benchmarks.endpoint``, which reads commands and writes answers as JSON lines.

    python -m benchmarks.peers.client

Client and server share the cores, so it uses HTTP/1.1 on asyncio's streams with uvloop, and bodies made
beforehand. A request costs about a tenth of a millisecond here; every answer has the measured cost.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import uvloop

#: Occurs once per vector in a response, however a server spells OpenAI's shape.
VECTOR = b'"embedding":'
OK = 200


class HttpConnection:
    """A connection that is kept open and carries one request at a time."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        lines = {"host": parts.netloc, "content-type": "application/json", **headers}
        self._head = f"POST {parts.path} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in lines.items()
        )

    async def open(self) -> None:
        """Open the connection."""
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Send a request; returns the status and the body of the response."""
        self._writer.write(f"{self._head}content-length: {len(body)}\r\n\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await self._reader.readexactly(int(length))


class ClientResults:
    """Latencies, errors and vectors of the clients of one kind."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.errors: list[str] = []
        self.vectors = 0

    async def ask(self, connection: HttpConnection, request: dict[str, Any]) -> None:
        """Send one request, and record its latency."""
        started = time.perf_counter()
        status, answer = await connection.post(request["body"].encode())
        self.latencies_s.append(time.perf_counter() - started)
        vectors = answer.count(VECTOR)
        self.vectors += vectors
        if status != OK or vectors != request["vectors"]:
            self.errors.append(
                f"{status}, {vectors} of {request['vectors']} vectors: "
                f"{answer[:200].decode(errors='replace')}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON values."""
        return {"latencies_s": self.latencies_s, "errors": self.errors, "vectors": self.vectors}


async def run_command(command: dict[str, Any]) -> dict[str, Any]:
    """Send the requests of ``busy`` and ``paced`` side by side; the paced ones end with the busy ones.

    Args:
        command: ``url``; ``busy`` with ``clients``, ``requests``, ``headers``, and ``seconds`` after which no
            request begins; ``paced`` with ``requests``, ``headers`` and the interval ``every_s``. A request
            is its ``body`` and the number of ``vectors`` that it asks for.
    """
    processor_s, started = time.process_time(), time.perf_counter()
    busy, paced = ClientResults(), ClientResults()
    work = asyncio.create_task(_busy(command["url"], busy, **command["busy"])) if "busy" in command else None
    if "paced" in command:
        await _paced(command["url"], paced, work, **command["paced"])
    seconds = await work if work else time.perf_counter() - started
    return {
        "busy": busy.to_dict(),
        "paced": paced.to_dict(),
        "seconds": seconds,
        "processor_s": time.process_time() - processor_s,
    }


async def _busy(
    url: str,
    results: ClientResults,
    *,
    clients: int,
    requests: list[Any],
    headers: dict[str, str],
    seconds: float,
) -> float:
    waiting, until = iter(requests), time.perf_counter() + seconds
    connections = [HttpConnection(url, headers) for _ in range(clients)]
    await asyncio.gather(*(connection.open() for connection in connections))
    started = time.perf_counter()
    await asyncio.gather(
        *(_one_after_the_other(connection, waiting, results, until) for connection in connections)
    )
    return time.perf_counter() - started


async def _one_after_the_other(
    connection: HttpConnection, waiting: Iterator[Any], results: ClientResults, until: float
) -> None:
    with closing(connection):
        while time.perf_counter() < until and (request := next(waiting, None)):
            await results.ask(connection, request)


async def _paced(
    url: str,
    results: ClientResults,
    busy: asyncio.Task[float] | None,
    *,
    requests: list[Any],
    headers: dict[str, str],
    every_s: float,
) -> None:
    connection, started = HttpConnection(url, headers), time.perf_counter()
    await connection.open()
    with closing(connection):
        for number, request in enumerate(requests):
            await asyncio.sleep(started + (number + 0.5) * every_s - time.perf_counter())
            if busy is not None and busy.done():
                break
            await results.ask(connection, request)


if __name__ == "__main__":
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(uvloop.run(run_command(json.loads(line)))), flush=True)
