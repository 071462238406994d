"""What a replica has to serve with: the models it serves, the database it searches, the blob store it fills.

Made once a replica (``embedder``), used by every route.

    service = Service(settings)
    made = await service.model("all-MiniLM-L6-v2").embed_texts(["a text"], context)
    file = await service.in_transaction(lambda connection: get_file(connection, organisation, id))
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, ParamSpec, TypeVar

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from cluster.blobs import open_blob_store
from cluster.database import open_pool, revive, translated
from cluster.documents.chunk_indexes import ChunkIndexes
from cluster.documents.stores import VectorStore, find_store
from cluster.engines import Registry, open_engine, open_reranker
from cluster.errors import Conflict, Resource, Retryable, Shortage, Throttled, Unavailable
from cluster.jobs.shortages import announced
from cluster.organisations.organisations import ensure_organisation
from cluster.organisations.usage import UsageEvent, record_usage
from cluster.settings import Settings
from serve_app.edge.errors import ModelNotFound
from serve_app.embedding.openai_tokens import open_openai_tokens
from serve_app.embedding.served_model import ServedModel
from serve_app.embedding.usage import UsageRecorder

log = structlog.get_logger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
Work = TypeVar("Work")

#: Blobs written or read at once. They and the database have threads of their own: what waits for a lost database must hold up neither
#: blobs nor the tokenising of texts, for which the event loop's own threads are left.
BLOB_THREADS = 8
#: When to ask again after a commit that nobody confirmed.
RETRY_AFTER_S = 1.0

#: So long a shortage that this replica saw counts as one that still is.
NOTED_S = 15.0
SHORT_QUESTION_S = 1.0


class Unconfirmed(Unavailable):
    """A commit was sent, and the database went away before it answered."""


class Service:
    """The parts every route works with."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pool: ConnectionPool | None = None
        self._indexes: ChunkIndexes | None = None
        #: When this replica last found a resource used up.
        self._short: dict[Resource, float] = {}
        self._lock = threading.Lock()
        self.usage = UsageRecorder(self._record_usage)
        registry = Registry(settings)
        #: By name, the default one first.
        self.models = {
            entry.name: ServedModel(entry.name, open_engine(entry), settings, self.usage)
            for entry in registry.entries.values()
        }
        #: The model of stores that are made here, and of requests that name none.
        self.default = self.models[registry.default.name]
        self._by_fingerprint = {model.engine.fingerprint.id: model for model in self.models.values()}
        #: None: the embedding model ranks.
        self.reranker = open_reranker(settings)
        self.decode = open_openai_tokens(settings)
        self.blobs = open_blob_store(settings)
        self._blob_threads = ThreadPoolExecutor(BLOB_THREADS, "blobs")
        self._database_threads = ThreadPoolExecutor(settings.database_pool_size, "database")

    def model(self, name: str) -> ServedModel:
        """The model of that name.

        Raises:
            ModelNotFound: naming those that are served.
        """
        if name not in self.models:
            served = " and ".join(f"`{one}`" for one in self.models)
            raise ModelNotFound(
                f"The model `{name}` does not exist here; {served} {'does' if len(self.models) == 1 else 'do'}."
            )
        return self.models[name]

    def model_in(self, fingerprint: str) -> ServedModel:
        """The model whose fingerprint has that id.

        Raises:
            Conflict: none has, as during a rolling update to another model.
        """
        model = self._by_fingerprint.get(fingerprint)
        if model is None:
            raise Conflict(
                f"vectors of {fingerprint} are wanted, and this replica computes those of {', '.join(self._by_fingerprint)}; "
                f"nothing was computed. Serve the model {fingerprint.rpartition('@')[0]} (CLUSTER_MODELS)"
            )
        return model

    async def model_of_store(self, organisation: str, id_or_name: str) -> ServedModel:
        """The model of a vector store, for a search; the search itself still compares the fingerprints.

        Raises:
            NotFound: the organisation has no such store.
            Conflict: its model is not served here.
            Unavailable: the database does not answer.
        """
        if len(self.models) == 1:
            return self.default  # nothing to choose, so no query
        store = await self.read(lambda connection: find_store(connection, organisation, id_or_name))
        return self.model_in(store.fingerprint.id)

    def max_chunk_tokens(self, store: VectorStore) -> int:
        """Most tokens of a chunk in this store; special tokens are not counted, unless its model is not served here."""
        model = self._by_fingerprint.get(store.fingerprint.id)
        return store.fingerprint.max_tokens if model is None else model.max_content_tokens

    async def in_database(self, work: Callable[[ConnectionPool, ChunkIndexes], T]) -> T:
        """Run the work in a thread, with the pool and the index.

        Raises:
            Unavailable: the database does not answer.
        """
        return await self._in_thread(self._with_pool, work)

    async def read(self, work: Callable[[Connection[Any]], T]) -> T:
        """Run work that only reads in a thread, with a connection; it may be called twice.

        Raises:
            Unavailable: the database does not answer.
        """

        def ask(pool: ConnectionPool, _: ChunkIndexes) -> T:
            with translated(), pool.connection() as connection:
                return work(connection)

        return await self.in_database(ask)

    async def in_transaction(self, work: Callable[[Connection[Any]], T]) -> T:
        """Run the work in a thread and in one transaction: all it writes is kept, or nothing.

        A try that failed before its commit is made again once, so the work must be fit to be called twice. After a commit
        that was not confirmed nobody knows what became of it: that is told, never tried again.

        Raises:
            Unavailable: the database does not answer, or did not confirm.
        """
        return await self._in_thread(self._transact, work)

    async def _in_thread(self, do: Callable[[Work], T], work: Work) -> T:
        context = contextvars.copy_context()  # the log's lines in the thread name the request, too
        return await asyncio.get_running_loop().run_in_executor(self._database_threads, context.run, do, work)

    async def on_blobs(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on the blob store in a thread. It has ended when this returns, also where the caller left in between."""
        future = asyncio.get_running_loop().run_in_executor(self._blob_threads, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except Shortage as exc:
            self._short[exc.resource] = time.monotonic()
            raise
        except asyncio.CancelledError:
            await asyncio.wait(
                [future]
            )  # a thread cannot be stopped, and what it writes to is about to be taken away
            if not future.cancelled():
                future.exception()
            raise

    async def shortages(self) -> set[Resource]:
        """What is short now: as workers tell it, and as this replica has seen it within the last seconds.

        Raises:
            Unavailable: the database does not answer.
        """
        return self._noted() | await self.read(announced)

    def known_shortages(self) -> set[Resource]:
        """The same for a thread; only this replica's own where the database does not answer, or was not asked for anything yet."""
        try:
            if self._pool is not None:
                with translated(), self._pool.connection(timeout=SHORT_QUESTION_S) as connection:
                    return self._noted() | announced(connection)
        except Retryable as exc:
            log.warning("shortages_not_known", reason=str(exc))
        return self._noted()

    def _noted(self) -> set[Resource]:
        return {resource for resource, at in self._short.copy().items() if time.monotonic() - at < NOTED_S}

    async def database_answers(self) -> bool:
        """True when a query goes through."""

        def ask(pool: ConnectionPool, _: ChunkIndexes) -> None:
            with translated(), pool.connection() as connection:
                connection.execute("SELECT 1")

        try:
            await self.in_database(ask)
        except Retryable as exc:
            log.warning("database_not_ready", reason=str(exc))
            return False
        return True

    def close(self) -> None:
        """Let the connections and the threads go, after what was used is written."""
        self.usage.close()
        self._blob_threads.shutdown()
        self._database_threads.shutdown()
        if self._pool is not None:
            self._pool.close()

    def _opened(self) -> tuple[ConnectionPool, ChunkIndexes]:
        with self._lock:
            if self._pool is None:
                self._pool = self._open_database()
            if self._indexes is None:
                self._indexes = ChunkIndexes(self.settings, self._pool)
        return self._pool, self._indexes

    def _open_database(self) -> ConnectionPool:
        pool = open_pool(self.settings, reviving=True)
        with ExitStack() as undo:
            undo.callback(pool.close)
            with translated(), pool.connection() as connection:
                ensure_organisation(connection, self.settings.organisation)
            undo.pop_all()
        return pool

    def _with_pool(self, work: Callable[[ConnectionPool, ChunkIndexes], T]) -> T:
        pool, indexes = self._opened()
        try:
            return work(pool, indexes)
        except Shortage as exc:
            self._short[exc.resource] = time.monotonic()
            raise
        except Retryable as exc:
            # Reading again is safe, and a bundled server that was killed is back in a fraction of a second.
            self._revive(pool, exc)
            return work(pool, indexes)

    def _transact(self, work: Callable[[Connection[Any]], T]) -> T:
        pool, _ = self._opened()
        try:
            return _once(pool, work)
        except (Throttled, Unconfirmed):
            raise
        except Shortage as exc:
            self._short[exc.resource] = time.monotonic()
            raise
        except Retryable as exc:
            self._revive(pool, exc)  # nothing was kept, so it may be done again
            return _once(pool, work)

    def _record_usage(self, events: Sequence[UsageEvent]) -> None:
        self._transact(lambda connection: record_usage(connection, events))

    def _revive(self, pool: ConnectionPool, exc: Retryable) -> None:
        if isinstance(exc.__cause__, PoolTimeout) and self.settings.database_url is not None:
            raise exc  # it was waited for already, and starting it is not ours
        revive(self.settings, pool)


def _once(pool: ConnectionPool, work: Callable[[Connection[Any]], T]) -> T:
    done = False
    try:
        with translated(), pool.connection() as connection, connection.transaction():
            result = work(connection)
            done = True
    except Retryable as exc:
        if not done:
            raise
        raise Unconfirmed(
            f"whether this was done is not known, since the database did not confirm it; look before you send it again: {exc}",
            retry_after_s=RETRY_AFTER_S,
        ) from exc
    return result
