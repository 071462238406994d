"""Whether an engine still computes: it is given a word to embed, and a lost GPU or a stuck kernel shows.

The word waits its turn like any batch. An engine that hangs holds one word for ever, not one more with each check. Called by
the replica's health check.

    await Heartbeat(engine).check()
"""

import asyncio
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.errors import Unavailable

#: Above what a word waits for behind the batches in flight of a large model on a CPU.
PATIENCE_S = 20.0


class Heartbeat:
    """One engine's."""

    def __init__(self, engine: Engine, *, patience_s: float = PATIENCE_S) -> None:
        self._engine = engine
        self._word = engine.tokeniser.ids(["healthy"])
        self._patience_s = patience_s
        self._beat: Future[NDArray[np.float32]] | None = None

    async def check(self) -> None:
        """Return when the word was embedded.

        Raises:
            Unavailable: that takes too long.
            Exception: whatever the engine raised.
        """
        if self._engine.billed:
            return
        if self._beat is None or self._beat.done():
            self._beat = self._engine.submit(self._word)
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._beat)), self._patience_s)
        except TimeoutError as exc:
            raise Unavailable(f"the model has not embedded a word in {self._patience_s:g} s") from exc
