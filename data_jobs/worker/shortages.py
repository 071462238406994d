"""Shortages of a worker: calls that find a resource used up are made again until there is room, and the cluster is told meanwhile.

    shortages = Shortages(settings, stopping)
    job = await shortages.patiently(lambda: in_transaction(work, ...))

A full disk is no absence of the database and no fault of a job: the worker keeps its jobs and their leases, and goes on where it was
once there is room. What it waits for is announced (``cluster.jobs.shortages``), because no row can say it.
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
from cluster.errors import ClusterError, Resource, Shortage, Unavailable
from cluster.jobs.shortages import announce
from cluster.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: Between tries, doubling. A heartbeat waits no longer either, so it comes well within a lease once there is room.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 2.0
#: What a full or read-only disk of this node says.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


class Shortages:
    """One worker's, on one event loop.

    Args:
        settings: where the database is.
        stopping: once it is set, no call waits for room any more.
    """

    def __init__(self, settings: Settings, stopping: asyncio.Event) -> None:
        self._settings, self._stopping = settings, stopping
        #: How many calls wait for each resource.
        self.waiting: Counter[Resource] = Counter()
        self._announcer = ThreadPoolExecutor(1, thread_name_prefix="shortages")
        self._told: frozenset[Resource] = frozenset()
        self._connection: psycopg.Connection[Any] | None = None

    async def patiently(
        self, call: Callable[[], Awaitable[T]], on_wait: Callable[[Resource], None] = lambda _: None
    ) -> T:
        """What the call gives, made again while it ends in a shortage.

        Args:
            call: safe to repeat.
            on_wait: called before each wait.

        Raises:
            Shortage: the worker stops.
        """
        for number in count():
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
        """Something waits for what is short, for as long as the block lasts."""
        if exc.resource not in self._told:
            log.warning("short", resource=exc.resource, reason=str(exc))
        self.waiting[exc.resource] += 1
        self._tell()
        try:
            yield
        finally:
            self.waiting[exc.resource] -= 1
            asyncio.get_running_loop().call_later(
                LONGEST_WAIT_S, self._tell
            )  # a call that is tried again may wait again at once

    def close(self) -> None:
        """Announce nothing more."""
        self._announcer.submit(self._announce, frozenset())
        self._announcer.shutdown(wait=False)

    async def _pause(self, number: int) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(
                self._stopping.wait(), min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(number, 9))
            )

    def _tell(self) -> None:
        short = frozenset(resource for resource, calls in self.waiting.items() if calls)
        if short != self._told:
            self._told = short
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._announcer.submit(self._announce, short)

    def _announce(self, short: frozenset[Resource]) -> None:
        """In the one thread that has the connection."""
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
    """Procrastinate's way to the database, which waits out shortages: heartbeats, turns and their ends come once there is room.

    Without it a worker ends with the first heartbeat that a full disk refuses, and its jobs with it.

    Args:
        shortages: the worker's.
        on_lost: called when the database does not answer: a worker of Procrastinate's has no heartbeat from then on, and would still
            wait for its jobs.
        arguments: the parent's.
    """

    def __init__(self, shortages: Shortages, on_lost: Callable[[], None], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._shortages, self._on_lost = shortages, on_lost

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        """As the parent's."""
        await self._patiently(super().execute_query_async, query, arguments)

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        """As the parent's."""
        return await self._patiently(super().execute_query_one_async, query, arguments)

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        """As the parent's."""
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
    """The shortage that an error of a stage is; None where it is none."""
    if isinstance(exc, Shortage):
        return exc
    if isinstance(exc, OSError) and exc.errno in FULL:
        return Shortage(f"{Resource.OWN_DISK.sentence} ({exc})", resource=Resource.OWN_DISK)
    return None
