"""Check that an engine still computes. The check embeds one word, and fails if a GPU is lost or a kernel
hangs.

The word waits in the engine's queue like any batch. If the engine hangs, further checks wait for the same
word and add no further word. An engine whose calls cost money is never called. The health check of the
replica uses this module.

    await Heartbeat(engine).check()
"""

import asyncio
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.errors import Unavailable

#: Maximum seconds until the word is embedded. The word waits for the batches in flight, which take less time
#: than this, even with a large model on a CPU.
TIMEOUT_S = 20.0


class Heartbeat:
    """Checks that one engine still computes, by embedding a word."""

    def __init__(self, engine: Engine, *, timeout_s: float = TIMEOUT_S) -> None:
        self._engine = engine
        self._word = engine.tokeniser.ids(["healthy"])
        self._timeout_s = timeout_s
        self._beat: Future[NDArray[np.float32]] | None = None

    async def check(self) -> None:
        """Wait until a word is embedded. If calls to the engine cost money, return at once.

        Raises:
            Unavailable: the word was not embedded in time.
            Exception: the error of the engine.
        """
        if self._engine.billed:
            return
        if self._beat is None or self._beat.done():
            self._beat = self._engine.submit(self._word)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._beat)), self._timeout_s)
        except TimeoutError as exc:
            raise Unavailable(f"the model has not embedded a word within {self._timeout_s:g} s") from exc
