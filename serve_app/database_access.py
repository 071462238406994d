"""The database of a replica: its pool, and threads in which blocking database work runs.

``Service`` is a ``DatabaseAccess``, so that routes write ``service.read(...)``.

    file = await service.read(lambda connection: get_file(connection, organisation, id))
    await service.in_transaction(lambda connection: delete_file(connection, organisation, id))
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from cluster.database import for_all_organisations, open_pool, revive, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.errors import ProviderUnavailable, Resource, Retryable, Shortage, Throttled, Unavailable
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = TypeVar("Work")

#: Seconds in the header ``Retry-After`` if the database did not confirm a commit.
RETRY_AFTER_S = 1.0
#: Seconds for which a shortage counts as current after this replica last met it.
SHORTAGE_LASTS_S = 15.0
#: Maximum seconds that the metrics wait for a database connection.
SHORTAGE_QUERY_TIMEOUT_S = 1.0


class Unconfirmed(Unavailable):
    """Raised if a commit was sent, but the connection was lost before the database confirmed the commit."""


class DatabaseAccess:
    """Runs work with connections to the database, which is opened when the first work needs it.

    Args:
        settings: the settings of this process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pool: ConnectionPool | None = None
        self._indexes: ChunkIndexes | None = None
        #: Time (``time.monotonic``) at which this replica last met a shortage, for each resource.
        self._short: dict[Resource, float] = {}
        self._lock = threading.Lock()
        self._database_threads = ThreadPoolExecutor(settings.database_pool_size, "database")

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

    def recent_shortages(self) -> set[Resource]:
        """Return the shortages that this replica met recently."""
        return {
            resource
            for resource, at in self._short.copy().items()
            if time.monotonic() - at < SHORTAGE_LASTS_S
        }

    def _met(self, shortage: Shortage) -> None:
        self._short[shortage.resource] = time.monotonic()

    def close_database(self) -> None:
        """Wait for the work that has begun, then close the connections."""
        self._database_threads.shutdown()
        if self._pool is not None:
            self._pool.close()

    async def _in_thread(self, do: Callable[[Work], T], work: Work) -> T:
        context = contextvars.copy_context()  # copied, so that log lines from the thread name the request
        return await asyncio.get_running_loop().run_in_executor(self._database_threads, context.run, do, work)

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
            self._met(exc)
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
            self._met(exc)
            raise
        except Retryable as exc:
            self._revive(pool, exc)  # no write was kept, so a second attempt is safe
            return _once(pool, work)

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
