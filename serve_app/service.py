"""What a replica has to serve with: the engine behind its batcher, and the database it searches.

Made once a replica (``embedder``), used by every route.

    service = Service(settings)
    embedded = await service.embed(["a text"])
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.database import open_pool, revive, translated
from cluster.engines import Embeddings, open_engine
from cluster.errors import Retryable
from cluster.settings import Settings
from cluster.vector_index import VectorIndex, open_vector_index
from serve_app.batcher import Batcher
from serve_app.fair_queue import Lane

log = structlog.get_logger(__name__)

#: More tokens than this in one request is bulk: nobody waits for it at a keyboard.
INTERACTIVE_TOKENS = 2_048

T = TypeVar("T")


class Service:
    """The parts every route works with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = open_engine(settings)
        self.batcher = Batcher(
            self.engine,
            batch_tokens=settings.batch_tokens,
            max_waiting_tokens=settings.max_waiting_tokens,
            cache_bytes=settings.cache_bytes,
            weights=settings.organisation_weights,
        )
        self.engine.embed(["warm", "up " * 100])  # the first pass lays out memory, and proves that the model runs
        self._pool: ConnectionPool | None = None
        self._lock = threading.Lock()

    async def embed(self, texts: Sequence[str], *, lane: Lane | None = None) -> Embeddings:
        """Vectors of the texts through the batcher; what is longer than the model reads is cut and counted."""
        return await self.embed_ids(await asyncio.to_thread(self.engine.tokeniser.ids, texts), lane=lane)

    async def embed_ids(self, ids: Sequence[NDArray[np.int32]], *, lane: Lane | None = None) -> Embeddings:
        """The same for inputs already tokenised."""
        most = self.engine.tokeniser.max_content_tokens
        lengths = np.array([len(one) for one in ids], dtype=np.int32)
        kept = np.minimum(lengths, most)
        chosen: Lane = lane or ("interactive" if kept.sum() <= INTERACTIVE_TOKENS else "bulk")
        return Embeddings(
            vectors=await self.batcher.embed([one[:most] for one in ids], lane=chosen),
            token_counts=kept + self.engine.tokeniser.special_tokens,
            truncated=lengths - kept,
        )

    async def in_database(self, work: Callable[[ConnectionPool, VectorIndex], T]) -> T:
        """Run the work in a thread, with the pool and the index.

        Raises:
            Unavailable: the database does not answer.
        """
        return await asyncio.to_thread(self._with_pool, work)

    async def database_answers(self) -> bool:
        """True when a query goes through."""

        def ask(pool: ConnectionPool, _: VectorIndex) -> None:
            with translated(), pool.connection() as connection:
                connection.execute("SELECT 1")

        try:
            await self.in_database(ask)
        except Retryable as exc:
            log.warning("database_not_ready", reason=str(exc))
            return False
        return True

    def close(self) -> None:
        """Let the connections go."""
        if self._pool is not None:
            self._pool.close()

    def _with_pool(self, work: Callable[[ConnectionPool, VectorIndex], T]) -> T:
        with self._lock:
            if self._pool is None:
                self._pool = open_pool(self.settings)
        pool = self._pool
        index = open_vector_index(self.settings, pool)
        try:
            return work(pool, index)
        except Retryable:
            # Reading again is safe, and a bundled server that was killed is back in a fraction of a second.
            revive(self.settings, pool)
            return work(pool, index)


def attributes_of(service: Service) -> dict[str, Any]:
    """What the model's page says beyond OpenAI's fields."""
    fingerprint = service.engine.fingerprint
    return {"dimensions": fingerprint.dim, "max_input_tokens": fingerprint.max_tokens, "fingerprint": fingerprint.id}
