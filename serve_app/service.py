"""What a replica has to serve with: the models it serves, and the database it searches.

Made once a replica (``embedder``), used by every route.

    service = Service(settings)
    made = await service.model("all-MiniLM-L6-v2").embed_texts(["a text"], terms)
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
from psycopg_pool import ConnectionPool

from cluster.database import open_pool, revive, translated
from cluster.engines import Engine, open_engine, open_reranker
from cluster.errors import Retryable
from cluster.settings import Settings
from cluster.vector_index import VectorIndex, open_vector_index
from serve_app.batching import Batcher
from serve_app.errors import ModelNotFound
from serve_app.openai_tokens import open_openai_tokens
from serve_app.served_model import ServedModel

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Service:
    """The parts every route works with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        folders: dict[str, Path | None] = {settings.model: settings.model_path, **settings.models}
        #: By name, the settings' own model first.
        self.models = {name: ServedModel(name, _engine(settings, name, folder), settings) for name, folder in folders.items()}
        #: None: the embedding model ranks.
        self.reranker = open_reranker(settings)
        self.decode = open_openai_tokens(settings)
        self._pool: ConnectionPool | None = None
        self._lock = threading.Lock()

    def model(self, name: str) -> ServedModel:
        """The model of that name.

        Raises:
            ModelNotFound: naming those that are served.
        """
        if name not in self.models:
            served = " and ".join(f"`{one}`" for one in self.models)
            raise ModelNotFound(f"The model `{name}` does not exist here; {served} {'does' if len(self.models) == 1 else 'do'}.")
        return self.models[name]

    @property
    def main(self) -> ServedModel:
        """The settings' own model: the one vector stores are made with."""
        return self.models[self.settings.model]

    @property
    def engine(self) -> Engine:
        """The main model's."""
        return self.main.engine

    @property
    def batcher(self) -> Batcher:
        """The main model's."""
        return self.main.batcher

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


def _engine(settings: Settings, name: str, folder: Path | None) -> Engine:
    if name == settings.model:
        return open_engine(settings)
    return open_engine(settings.model_copy(update={"model": name, "model_path": folder, "model_sha256": None}))
