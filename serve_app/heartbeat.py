"""Whether the engine still computes: it embeds a word now and then, and a lost GPU or a stuck kernel shows.

A thread of its own does it, so that an engine that hangs holds one thread for ever and not one more with each check. Called
by the replica's health check.

    await Heartbeat(engine).check()
"""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

from cluster.engines import Embeddings, Engine
from cluster.errors import Unavailable

#: Above what a word waits for behind the batches in flight of a large model on a CPU.
PATIENCE_S = 20.0


class Heartbeat:
    """One engine's."""

    def __init__(self, engine: Engine, *, patience_s: float = PATIENCE_S) -> None:
        self._engine = engine
        self._patience_s = patience_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heartbeat")
        self._beat: Future[Embeddings] | None = None

    async def check(self) -> None:
        """Return when a word was embedded.

        Raises:
            Unavailable: it takes too long, or the check before this one still waits.
            Exception: whatever the engine raised.
        """
        if self._beat is None or self._beat.done():
            self._beat = self._thread.submit(self._engine.embed, ["healthy"])
        try:
            await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._beat)), self._patience_s)
        except TimeoutError as exc:
            raise Unavailable(f"the model has not embedded a word in {self._patience_s:g} s") from exc
