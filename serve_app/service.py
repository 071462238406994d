"""The service of a replica holds the models, the database connections and the blob store for the routes.

Each replica creates one service (see ``deployment``), and all routes of the replica share it.

    service = Service(settings)
    made = await service.models.named("all-MiniLM-L6-v2").embed_texts(["a text"], context)
    file = await service.in_transaction(lambda connection: get_file(connection, organisation, id))
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from cluster.blobs import open_blob_store
from cluster.budgets.reservations import HeldReservation, release_held
from cluster.database import connect, for_all_organisations, open_pool, revive, translated
from cluster.database.shortages import announced
from cluster.documents.chunks.chunk_indexes import ChunkIndexes, require_index
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import ProviderUnavailable, Resource, Retryable, Shortage, Throttled, Unavailable
from cluster.jobs.schedules.schedules import schedule_lag
from cluster.keys.known_keys import KnownKeys
from cluster.oidc.tokens import IssuerTokens
from cluster.organisations.organisations import ensure_organisation
from cluster.outbound import AsyncOutboundClient
from cluster.rate_limits import ProviderLoad, breaker_states, provider_load
from cluster.rate_limits.leased_rates import LeasedRates
from cluster.retrieval import ResultCache
from cluster.settings import Settings, is_loopback
from cluster.usage.events import UsageEvent, record_usage
from serve_app.embedding.admission import Admission
from serve_app.embedding.budget_gate import BudgetGate
from serve_app.embedding.openai_tokens import open_openai_tokens
from serve_app.embedding.rate_gate import RateGate
from serve_app.embedding.remote_model import CallReplica
from serve_app.embedding.served_models import ServedModels
from serve_app.usage.usage_recorder import UsageRecorder

log = structlog.get_logger(__name__)

T = TypeVar("T")
P = ParamSpec("P")
Work = TypeVar("Work")

#: Number of threads that write or read blobs. Blobs, the database and tokenising use different threads,
#: because calls that wait for a lost database must not delay blobs or tokenising.
BLOB_THREADS = 8
#: Seconds in the header ``Retry-After`` if the database did not confirm a commit.
RETRY_AFTER_S = 1.0

#: Seconds for which a shortage counts as current after this replica last met it.
SHORTAGE_LASTS_S = 15.0
#: Maximum seconds that the metrics wait for a database connection.
SHORTAGE_QUERY_TIMEOUT_S = 1.0


class Unconfirmed(Unavailable):
    """Raised if a commit was sent, but the connection was lost before the database confirmed the commit."""


class Service:
    """Holds the models, the database connections and the other parts that all routes use.

    Args:
        settings: the settings of this process.
        remote: for each model with its own deployment, by name, a function that calls a replica of it.
        keyless: False if other machines can connect, so that every request needs a key.
    """

    def __init__(
        self,
        settings: Settings,
        remote: Mapping[str, CallReplica] | None = None,
        *,
        keyless: bool = True,
    ) -> None:
        self.settings = settings
        self._pool: ConnectionPool | None = None
        self._indexes: ChunkIndexes | None = None
        #: Time (``time.monotonic``) at which this replica last met a shortage, for each resource.
        self._short: dict[Resource, float] = {}
        self._lock = threading.Lock()
        #: Finds the caller of each request by the API key of the request.
        self.keys = KnownKeys(
            settings, open_database=self._opened, keyless=keyless and is_loopback(settings.api_host)
        )
        #: Finds the caller of each request with a token; None if there is no issuer of tokens.
        self.tokens = None if settings.oidc_issuer is None else IssuerTokens(settings, self.keys.rates_of)
        #: Records the usage of requests.
        self.usage = UsageRecorder(
            self._record_usage, settings.home / "usage", max_bytes=settings.usage_bytes
        )
        #: Keeps the rates of organisations and keys.
        self.rates = RateGate(LeasedRates(lambda: connect(settings)))
        #: Refuses work that a budget does not cover.
        self.budgets = BudgetGate(self.in_transaction, self.keys.has_stops, self.usage.settle)
        #: Admits requests and the work of models, before either costs anything.
        self.admission = Admission([self.rates, self.budgets])
        self.models = ServedModels(
            settings, self.usage, remote, weights=self.keys.weights, admission=self.admission
        )
        #: Results of searches; used on the event loop only.
        self.search_cache = ResultCache(settings.search_cache_bytes)
        self.decode = open_openai_tokens(settings)
        self.blobs = open_blob_store(settings)
        self._blob_threads = ThreadPoolExecutor(BLOB_THREADS, "blobs")
        self._database_threads = ThreadPoolExecutor(settings.database_pool_size, "database")

    @cached_property
    def outbound(self) -> AsyncOutboundClient:
        """The client that sends requests to URLs that callers name."""
        return AsyncOutboundClient(self.settings)

    def max_chunk_tokens(self, store: VectorStore) -> int:
        """Return the maximum number of tokens of a chunk. The number includes special tokens if this process
        does not serve the store's model.
        """
        model = self.models.find(store.fingerprint.id)
        return store.fingerprint.max_tokens if model is None else model.max_content_tokens

    def require_configured(self, store: VectorStore) -> None:
        """Check that this process can write to the store: the model and the index of the store must be
        configured.

        Raises:
            Conflict: the model or the index is not configured. The message says what to set.
        """
        self.models.of_store(store.fingerprint)
        require_index(self.settings, store)

    async def in_database(self, work: Callable[[ConnectionPool, ChunkIndexes], T]) -> T:
        """Run the work in a thread, with the pool and the chunk indexes. The work may be called twice.

        Raises:
            Unavailable: the database does not answer.
        """
        return await self._in_thread(self._with_pool, work)

    async def read(self, work: Callable[[Connection[Any]], T]) -> T:
        """Run work that only reads the database, in a thread and with a connection.

        The work may be called twice.

        Raises:
            Unavailable: the database does not answer.
        """

        def ask(pool: ConnectionPool, _: ChunkIndexes) -> T:
            with translated(), pool.connection() as connection:
                return work(connection)

        return await self.in_database(ask)

    async def in_transaction(self, work: Callable[[Connection[Any]], T]) -> T:
        """Run the work in a thread, in one transaction: either all its writes are kept or none.

        If the database fails before the commit, the transaction is attempted once more, so the work may be
        called twice. An unconfirmed commit may have been kept or lost, so it is not attempted again.

        Raises:
            Unavailable: the database does not answer.
            Unconfirmed: the database did not confirm the commit.
        """
        return await self._in_thread(self._transact, work)

    async def _in_thread(self, do: Callable[[Work], T], work: Work) -> T:
        context = contextvars.copy_context()  # copied, so that log lines from the thread name the request
        return await asyncio.get_running_loop().run_in_executor(self._database_threads, context.run, do, work)

    async def on_blobs(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on the blob store in a thread. Return only after the work has ended, even if the caller is
        cancelled.
        """
        future = asyncio.get_running_loop().run_in_executor(self._blob_threads, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except Shortage as exc:
            self._short[exc.resource] = time.monotonic()
            raise
        except asyncio.CancelledError:
            # Wait until the thread ends, because the thread cannot be stopped, and the caller will remove the
            # file that the thread writes.
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    async def shortages(self) -> set[Resource]:
        """Return the current shortages that workers announce or that this replica met recently.

        Raises:
            Unavailable: the database does not answer.
        """
        return self._recent_shortages() | await self.read(announced)

    async def unavailable_providers(self) -> dict[str, str]:
        """Return a sentence for each remote provider whose circuit breaker is open, by the provider's name.

        Raises:
            Unavailable: the database does not answer.
        """
        return {state.name: state.sentence for state in await self.read(breaker_states) if state.open}

    def known_shortages(self) -> set[Resource]:
        """Return the current shortages; if the database does not answer, only the shortages that this replica
        met. The thread of the metrics calls this.
        """
        return self._recent_shortages() | (self.read_now(announced) or set())

    def known_provider_load(self) -> ProviderLoad | None:
        """Return the load of remote providers; None if the database does not answer or is not open yet. The
        thread of the metrics calls this.
        """
        return self.read_now(provider_load)

    def known_schedule_lag(self) -> float | None:
        """Return the seconds by which the most overdue schedule is late; None if the database does not answer
        or is not open yet.
        """
        return self.read_now(schedule_lag)

    def read_now(self, work: Callable[[Connection[Any]], T]) -> T | None:
        """Return what the work reads; None if the database does not answer or is not open yet."""
        try:
            if self._pool is not None:
                opened = self._pool.connection(timeout=SHORTAGE_QUERY_TIMEOUT_S)
                with for_all_organisations(), translated(), opened as connection:
                    return work(connection)
        except Retryable as exc:
            log.warning("metrics_not_known", reason=str(exc))
        return None

    def _recent_shortages(self) -> set[Resource]:
        return {
            resource
            for resource, at in self._short.copy().items()
            if time.monotonic() - at < SHORTAGE_LASTS_S
        }

    async def database_answers(self) -> bool:
        """Return True if the database answers a query."""

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
        """Write the uses of keys and the usage, then close the connections and end the threads."""
        self.keys.close()
        self.rates.close()
        self.usage.close()
        self.models.close()
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
        except (ProviderUnavailable, Throttled):
            raise  # not repeated here: the adapter has already repeated the call, and the database answers
        except Shortage as exc:
            self._short[exc.resource] = time.monotonic()
            raise
        except Retryable as exc:
            # Running the work twice is safe. ``_revive`` restarts a bundled database server that was killed,
            # which takes a fraction of a second.
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
            self._revive(pool, exc)  # no write was kept, so a second attempt is safe
            return _once(pool, work)

    def _record_usage(self, events: Sequence[UsageEvent], held: Sequence[HeldReservation] = ()) -> None:
        def write(connection: Connection[Any]) -> None:
            record_usage(connection, events)
            release_held(connection, held)

        with for_all_organisations():  # a thread of the replica writes the usage of all its requests
            self._transact(write)
        if held:
            self.budgets.returned(held)

    def _revive(self, pool: ConnectionPool, exc: Retryable) -> None:
        if isinstance(exc.__cause__, PoolTimeout) and self.settings.database_url is not None:
            raise exc  # because the pool has waited already, and no replica can start an external database
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
            "the database did not confirm this request, so it may or may not be done; check before you send "
            f"it again: {exc}",
            retry_after_s=RETRY_AFTER_S,
        ) from exc
    return result
