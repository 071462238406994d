"""Check that an engine still computes: it embeds one word, which fails on a lost GPU or a stuck kernel.

The word queues like any batch. A stuck engine holds one word, and further checks add none. An engine that is
billed is never called. The replica's health check uses this.

    await Heartbeat(engine).check()
"""

import asyncio
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.errors import Unavailable

#: Longer than a word waits for the batches in flight of a large model on a CPU.
TIMEOUT_S = 20.0


class Heartbeat:
    """Checks one engine."""

    def __init__(self, engine: Engine, *, timeout_s: float = TIMEOUT_S) -> None:
        self._engine = engine
        self._word = engine.tokeniser.ids(["healthy"])
        self._timeout_s = timeout_s
        self._beat: Future[NDArray[np.float32]] | None = None

    async def check(self) -> None:
        """Return once the word is embedded; at once if the engine is billed.

        Raises:
            Unavailable: it takes too long.
            Exception: the engine's own error.
        """
        if self._engine.billed:
            return
        if self._beat is None or self._beat.done():
            self._beat = self._engine.submit(self._word)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._beat)), self._timeout_s)
        except TimeoutError as exc:
            raise Unavailable(f"the model has not embedded a word within {self._timeout_s:g} s") from exc
