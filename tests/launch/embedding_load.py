"""Clients that send embedding requests without pause. Every answer is read and checked; failures are kept.

with Load(cluster.api, clients=24) as load:
    ...
load.failures == []
"""

import asyncio
import threading
from types import TracebackType
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

MODEL = "all-MiniLM-L6-v2"
#: Stands in every request beside texts that are new each time. Its vector must always be the same.
KNOWN = "The same words have the same vector, whichever replica computes it."
#: About 100 tokens: each request takes some time, so that some are in flight at every moment.
FILLER = "words that make the model work for its living, " * 8
TEXTS = 6


class Load:
    """``clients`` clients that each send one request after the other inside the block, and retry none."""

    def __init__(self, api: str, *, clients: int) -> None:
        self._url = f"{api}/v1/embeddings"
        self._clients = clients
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._known: NDArray[np.float32] | None = None
        self.answered = 0
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
        async with httpx.AsyncClient(timeout=120, limits=limits) as client:
            await asyncio.gather(*(self._ask(client, number) for number in range(self._clients)))

    async def _ask(self, client: httpx.AsyncClient, number: int) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            texts = [KNOWN, *(f"{number} {count} {text} {FILLER}" for text in range(1, TEXTS))]
            try:
                answer = await client.post(self._url, json={"model": MODEL, "input": texts})
                failure = self._failure_of(answer)
            except httpx.HTTPError as exc:
                failure = repr(exc)
            if failure:
                self.failures.append(failure)
                await asyncio.sleep(0.2)
            else:
                self.answered += 1

    def _failure_of(self, answer: httpx.Response) -> str | None:
        if answer.status_code != httpx.codes.OK:
            return f"{answer.status_code} {answer.text[:200]}"
        data: list[dict[str, Any]] = answer.json()["data"]
        known = np.array(data[0]["embedding"], dtype=np.float32)
        if self._known is None:
            self._known = known
        correct = len(data) == TEXTS and float(known @ self._known) > 0.9999
        return None if correct else f"{len(data)} vectors, and the known one at cosine {known @ self._known}"
