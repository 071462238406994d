"""The load of ``benchmarks.endpoint``: one process that sends what standard input says, line by line, and answers in JSON lines.

    python -m benchmarks.peers.client

HTTP/1.1 on asyncio's streams with uvloop and bodies made beforehand, because client and server share the cores: a
request costs about a tenth of a millisecond here, and what it really cost is part of every answer.
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

#: Stands once in an answer for each vector, in any server's spelling of OpenAI's shape.
VECTOR = b'"embedding":'
OK = 200


class Connection:
    """One connection, kept open, with one request on it at a time."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        lines = {"host": parts.netloc, "content-type": "application/json", **headers}
        self._head = f"POST {parts.path} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in lines.items()
        )

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        self._writer.write(f"{self._head}content-length: {len(body)}\r\n\r\n".encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        return int(head[9:12]), await self._reader.readexactly(int(length))


class Seen:
    """What the clients of one kind saw."""

    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.errors: list[str] = []
        self.vectors = 0

    async def ask(self, connection: Connection, request: dict[str, Any]) -> None:
        """Send one request and keep how long it took."""
        started = time.perf_counter()
        status, answer = await connection.post(request["body"].encode())
        self.latencies_s.append(time.perf_counter() - started)
        vectors = answer.count(VECTOR)
        self.vectors += vectors
        if status != OK or vectors != request["vectors"]:
            self.errors.append(
                f"{status}, {vectors} of {request['vectors']} vectors: {answer[:200].decode(errors='replace')}"
            )

    def report(self) -> dict[str, Any]:
        """As JSON."""
        return {"latencies_s": self.latencies_s, "errors": self.errors, "vectors": self.vectors}


async def obey(order: dict[str, Any]) -> dict[str, Any]:
    """Run what keeps the server busy and what asks by the clock, side by side; the second ends when the first has.

    Args:
        order: ``url``; ``busy`` with ``clients``, ``requests``, ``headers`` and ``seconds`` after which no request is begun; ``paced``
            with ``requests``, ``headers`` and ``every_s``. A request is its ``body`` and the number of ``vectors`` it asks for.
    """
    processor_s, started = time.process_time(), time.perf_counter()
    busy, paced = Seen(), Seen()
    work = asyncio.create_task(_busy(order["url"], busy, **order["busy"])) if "busy" in order else None
    if "paced" in order:
        await _paced(order["url"], paced, work, **order["paced"])
    seconds = await work if work else time.perf_counter() - started
    return {
        "busy": busy.report(),
        "paced": paced.report(),
        "seconds": seconds,
        "processor_s": time.process_time() - processor_s,
    }


async def _busy(
    url: str, seen: Seen, *, clients: int, requests: list[Any], headers: dict[str, str], seconds: float
) -> float:
    waiting, until = iter(requests), time.perf_counter() + seconds
    connections = [Connection(url, headers) for _ in range(clients)]
    await asyncio.gather(*(connection.open() for connection in connections))
    started = time.perf_counter()
    await asyncio.gather(
        *(_one_after_the_other(connection, waiting, seen, until) for connection in connections)
    )
    return time.perf_counter() - started


async def _one_after_the_other(
    connection: Connection, waiting: Iterator[Any], seen: Seen, until: float
) -> None:
    with closing(connection):
        while time.perf_counter() < until and (request := next(waiting, None)):
            await seen.ask(connection, request)


async def _paced(
    url: str,
    seen: Seen,
    busy: asyncio.Task[float] | None,
    *,
    requests: list[Any],
    headers: dict[str, str],
    every_s: float,
) -> None:
    connection, started = Connection(url, headers), time.perf_counter()
    await connection.open()
    with closing(connection):
        for number, request in enumerate(requests):
            await asyncio.sleep(started + (number + 0.5) * every_s - time.perf_counter())
            if busy is not None and busy.done():
                break
            await seen.ask(connection, request)


if __name__ == "__main__":
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(uvloop.run(obey(json.loads(line)))), flush=True)
