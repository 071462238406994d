"""Repeat a call that fails because a resource, such as a disk, is used up, until the resource has room.

    shortages = Shortages(settings, stopping)
    job = await shortages.patiently(lambda: in_transaction(work, ...))

A full disk does not mean that the database is lost or that a job has failed. The worker keeps its jobs and
their leases, and continues when there is room. While the worker waits, it announces the shortage with an
advisory lock (``cluster.database.shortages``), because a full database accepts no new row.
"""

import asyncio
import contextlib
import errno
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

import psycopg
import structlog
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException

from cluster.database import CONNECTION, database_url, translated
from cluster.database.errors import translate
from cluster.database.shortages import announce
from cluster.errors import ClusterError, Resource, Shortage, Unavailable
from cluster.retrying import Backoff
from cluster.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Wait between two calls. Calls that send a heartbeat wait at most 2 s, too, so when there is room again, the
#: heartbeat is sent before the lease ends.
BACKOFF = Backoff(first_s=0.2, longest_s=2.0)
#: Error numbers of a full or read-only disk of this node.
DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Shortages:
    """Waits for resources that are used up, and announces the shortages, for one worker on one event loop.

    Args:
        settings: settings with the address of the database.
        stopping: an event; after it is set, calls no longer wait for room.
    """

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self._settings, self._stopping = settings, stopping
        #: Number of calls that wait for each resource.
        self.waiting: Counter[Resource] = Counter()
        self._announcer = ThreadPoolExecutor(1, thread_name_prefix="shortages")
        self._announced: frozenset[Resource] = frozenset()
        self._connection: psycopg.Connection[Any] | None = None

    async def patiently(
        self, call: Callable[[], Awaitable[T]], on_wait: Callable[[Resource], None] = lambda _: None
    ) -> T:
        """Make the call, repeat it while it ends in a shortage, and return the result.

        Args:
            call: the call to make; it must be safe to repeat.
            on_wait: called with the resource before each wait.

        Raises:
            Shortage: the call ended in a shortage while the worker is stopping.
        """
        for number in count(1):
            try:
                return await call()
            except Shortage as exc:
                if self._stopping.is_set():
                    raise
                on_wait(exc.resource)
                with self.one_waits(exc):
                    await self._pause(number)
        raise AssertionError("the loop returns or raises")

    @contextlib.contextmanager
    def one_waits(self, exc: Shortage) -> Iterator[None]:
        """While the block runs, count one more call that waits for the resource of the shortage."""
        if exc.resource not in self._announced:
            log.warning("short", resource=exc.resource, reason=str(exc))
        self.waiting[exc.resource] += 1
        self._announce_later()
        try:
            yield
        finally:
            self.waiting[exc.resource] -= 1
            # The repeated call may have to wait again immediately, so announce the end of the shortage a
            # little later.
            asyncio.get_running_loop().call_later(BACKOFF.longest_s, self._announce_later)

    def close(self) -> None:
        """Announce that there is no shortage any more, and stop announcing."""
        self._announcer.submit(self._announce, frozenset())
        self._announcer.shutdown(wait=False)

    async def _pause(self, number: int) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), BACKOFF.wait_s(number))

    def _announce_later(self) -> None:
        short = frozenset(resource for resource, calls in self.waiting.items() if calls)
        if short != self._announced:
            self._announced = short
            with contextlib.suppress(RuntimeError):  # the executor is shut down already
                self._announcer.submit(self._announce, short)

    def _announce(self, short: frozenset[Resource]) -> None:
        """Announce these shortages. This method runs in the only thread that uses the connection."""
        try:
            with translated():
                if self._connection is None and short:
                    how: dict[str, Any] = {**CONNECTION, "autocommit": True}
                    self._connection = psycopg.connect(database_url(self._settings), **how)
                if self._connection is not None:
                    announce(self._connection, short)
                    if not short:
                        self._connection.close()
                        self._connection = None
        except ClusterError as exc:
            log.warning("shortage_not_announced", short=sorted(short), reason=str(exc))
            self._connection = None


class PatientConnector(PsycopgConnector):
    """Connects Procrastinate to the database, and repeats calls until a shortage ends.

    Without these repeats, a Procrastinate worker ends at the first heartbeat that a full disk refuses, and
    loses all of its jobs.

    Args:
        shortages: the shortages of the worker.
        on_lost: called when the database does not answer. From then on, the Procrastinate worker sends no
            heartbeats, but would still wait until its jobs end.
        arguments: arguments of the base class.
    """

    def __init__(self, shortages: Shortages, on_lost: Callable[[], None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._shortages, self._on_lost = shortages, on_lost

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        """Execute the query, and repeat it while there is a shortage."""
        await self._patiently(super().execute_query_async, query, arguments)

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        """Execute the query, and repeat it while there is a shortage."""
        return await self._patiently(super().execute_query_one_async, query, arguments)

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        """Execute the query, and repeat it while there is a shortage."""
        return await self._patiently(super().execute_query_all_async, query, arguments)

    async def _patiently(
        self, execute: Callable[..., Awaitable[T]], query: Any, arguments: dict[str, Any]
    ) -> T:
        async def once() -> T:
            try:
                return await execute(query, **arguments)
            except ConnectorException as exc:
                ours = translate(exc.__cause__) if isinstance(exc.__cause__, psycopg.Error) else None
                if isinstance(ours, Shortage):
                    raise ours from exc
                if isinstance(ours, Unavailable):
                    self._on_lost()
                raise

        return await self._shortages.patiently(once)


def as_shortage(exc: BaseException) -> Shortage | None:
    """Return the shortage that the error reports; None if the error does not report a shortage."""
    if isinstance(exc, Shortage):
        return exc
    if isinstance(exc, OSError) and exc.errno in DISK_ERRORS:
        return Shortage(f"{Resource.OWN_DISK.sentence} ({exc})", resource=Resource.OWN_DISK)
    return None
