"""Clients that send embedding requests without pause. Every answer is read and checked; failures are kept.

with Load(cluster.api, clients=24) as load:
    ...
load.failures == []

Several addresses are those of several nodes: the clients are divided between them.
"""

import asyncio
import threading
import time
from types import TracebackType
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from tests.waiting import LONGEST_WAIT_S

MODEL = "all-MiniLM-L6-v2"
#: Stands in every request beside texts that are new each time. Its vector must always be the same.
KNOWN = "The same words have the same vector, whichever replica computes it."
#: About 100 tokens: each request takes some time, so that some are in flight at every moment.
FILLER = "words that make the model work for its living, " * 8
TEXTS = 6


class Load:
    """``clients`` clients that each send one request after the other inside the block.

    Args:
        retries: number of times that a client repeats a request whose connection broke. The ``openai``
            clients do so twice.
    """

    def __init__(
        self, *apis: str, clients: int, model: str = MODEL, key: str | None = None, retries: int = 0
    ) -> None:
        self._urls = [f"{api}/v1/embeddings" for api in apis]
        self._clients = clients
        self._model = model
        self._retries = retries
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._known: NDArray[np.float32] | None = None
        self.answered = 0
        #: Number of connections that broke and whose request was sent again.
        self.broken = 0
        #: Seconds of the slowest request that was answered.
        self.slowest_s = 0.0
        self.failures: list[str] = []

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=self._clients, max_keepalive_connections=self._clients)
        async with httpx.AsyncClient(timeout=LONGEST_WAIT_S, limits=limits, headers=self._headers) as client:
            await asyncio.gather(*(self._ask(client, number) for number in range(self._clients)))

    async def _ask(self, client: httpx.AsyncClient, number: int) -> None:
        count, url = 0, self._urls[number % len(self._urls)]
        while not self._stop.is_set():
            count += 1
            texts = [KNOWN, *(f"{number} {count} {text} {FILLER}" for text in range(1, TEXTS))]
            started = time.monotonic()
            try:
                answer = await self._post(client, url, {"model": self._model, "input": texts})
                failure = self._failure_of(answer)
            except httpx.HTTPError as exc:
                failure = repr(exc)
            if failure:
                self.failures.append(failure)
                await asyncio.sleep(0.2)
            else:
                self.answered += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)

    async def _post(self, client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> httpx.Response:
        for _ in range(self._retries):
            try:
                return await client.post(url, json=body)
            except httpx.TransportError:
                self.broken += 1
                await asyncio.sleep(0.5)
        return await client.post(url, json=body)

    def _failure_of(self, answer: httpx.Response) -> str | None:
        if answer.status_code != httpx.codes.OK:
            return f"{answer.status_code} {answer.text[:200]}"
        data: list[dict[str, Any]] = answer.json()["data"]
        known = np.array(data[0]["embedding"], dtype=np.float32)
        if self._known is None:
            self._known = known
        correct = len(data) == TEXTS and float(known @ self._known) > 0.9999
        return None if correct else f"{len(data)} vectors, and the known one at cosine {known @ self._known}"
