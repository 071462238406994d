"""One try at a job, as the code that does the job sees it: its stages with their tries and limits, its progress, its transactions.

Made by ``consumer`` for each job it takes.

    async def index_file(run: JobAttempt) -> None:
        pages = await run.stage("parse", parse)
        await run.stage("write", write, tries=run.settings.index_attempts)
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.errors import (
    Conflict,
    LeaseLost,
    Permanent,
    Resource,
    Retryable,
    Shortage,
    Throttled,
    Unavailable,
)
from cluster.jobs import progress
from cluster.jobs.jobs import SHORT_OF, THROTTLED, Job, PriorityClass
from cluster.jobs.kinds import kind_named
from cluster.logs import about
from cluster.settings import Settings
from data_jobs.worker.shortages import Shortages, as_shortage

log = structlog.get_logger(__name__)

T = TypeVar("T")
#: Does a job: called with the attempt, and ends the job in its own last transaction.
JobFunction = Callable[["JobAttempt"], Awaitable[None]]

#: Waits between tries: a random part of this, which doubles (full jitter: M. Brooker, AWS Architecture Blog, 2015).
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
#: Progress is for people: more often than this nobody reads it.
PROGRESS_INTERVAL_S = 0.5


@contextmanager
def transaction(pool: ConnectionPool, *, lease_s: float) -> Iterator[Connection[Any]]:
    """One transaction, undone by the server when nothing is said in it for as long as a lease.

    A worker that is stopped in the middle of a transaction would hold its rows from those who give its jobs to others.
    """
    with translated(), pool.connection() as connection, connection.transaction():
        connection.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [str(int(lease_s * 1000))]
        )
        yield connection


class DatabaseLost(Exception):
    """The ledger cannot be reached: whoever works lets go of everything he holds; it is given back when the lease is over."""


async def in_transaction(
    work: Callable[[Connection[Any]], T], *, pool: ConnectionPool, threads: Executor, lease_s: float
) -> T:
    """Run the work in a thread, in one transaction (see ``transaction``).

    Raises:
        Shortage: the database answers, but cannot do it now.
        DatabaseLost: instead of any other ``Unavailable``.
    """

    def whole() -> T:
        with transaction(pool, lease_s=lease_s) as connection:
            return work(connection)

    try:
        return await asyncio.get_running_loop().run_in_executor(threads, whole)
    except Shortage:
        raise
    except Unavailable as exc:
        raise DatabaseLost(str(exc)) from exc


class TryLater(Exception):
    """The job can go on no sooner than at a time so far off that it gives up its slot until then."""

    def __init__(self, run_at: datetime, because: str, code: str) -> None:
        super().__init__(because)
        self.run_at = run_at
        self.code = code


class NotWanted(Exception):
    """What the job is about is gone, or another job does it now; the message is the reason of the job's end."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class StageFailed(Exception):
    """A stage has used up its tries, or its error is one that another try cannot mend."""

    def __init__(self, stage: str, error: str, code: str) -> None:
        super().__init__(f"{stage}: {error}")
        self.code = code


class JobAttempt:
    """See the module's docstring. On one event loop; what blocks runs in the threads.

    Args:
        job: as it was claimed.
        settings: the worker's.
        pool: connections to the ledger.
        threads: what blocks runs there.
        shortages: the worker's.
    """

    def __init__(
        self, job: Job, settings: Settings, pool: ConnectionPool, threads: Executor, shortages: Shortages
    ) -> None:
        self.job = job
        self.settings = settings
        #: Time limit of each stage of this job.
        self.stage_timeout_s = kind_named(job.kind).stage_timeout_s or settings.stage_timeout_s
        self.pool = pool
        self._threads = threads
        self._told_at = 0.0
        self._limit: asyncio.Timeout | None = None
        self._shortages = shortages
        #: Why nothing is done at the moment, and its code.
        self._waits: tuple[str, str] | None = None
        #: Percent of the whole job at which the stage that runs begins and ends; None where the job does not count percent.
        self._share: tuple[int, int] | None = None

    @property
    def urgent(self) -> bool:
        """A person waits for it."""
        return self.job.priority_class == PriorityClass.HIGH

    async def stage(
        self,
        name: str,
        work: Callable[[], Awaitable[T]],
        *,
        tries: int | None = None,
        share: tuple[int, int] | None = None,
    ) -> T:
        """Do the work, again while it fails for reasons that may pass; each try is ended when it takes too long (see ``goes_on``).

        Work that finds a resource used up, such as a disk, waits for room: that costs neither a try nor the stage's time.

        Args:
            name: what the job is doing, for people.
            work: safe to repeat.
            tries: at most so many; the settings' ``stage_attempts`` where left out.
            share: percent of the whole job that are done when the stage begins, and when it ends.

        Raises:
            StageFailed: it failed for good.
            TryLater: somebody asked to be left alone for a while.
        """
        tries, self._share = tries or self.settings.stage_attempts, share
        percent = share and share[1]
        for number in range(1, tries + 1):
            await self.in_transaction(lambda connection: progress.begin_stage(connection, self.job, name))
            try:
                with about(stage=name):
                    self._waits = None
                    async with asyncio.timeout(self.stage_timeout_s) as self._limit:
                        made = await self._with_room(work)
            except (DatabaseLost, LeaseLost, NotWanted, TryLater, StageFailed):
                raise
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  the edge of a stage: recorded, and tried again or told
                await self._failed(name, exc, number, tries)
            else:
                await self.in_transaction(
                    lambda connection: progress.end_stage(connection, self.job, name, percent=percent)
                )
                return made
        raise AssertionError("the last try returns or raises")

    def goes_on(self) -> None:
        """A part of the stage is done, or what it waited for is there: its time begins anew, as often as it has parts."""
        self._waits = None
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self.stage_timeout_s)

    async def answer(self, call: Callable[[], Awaitable[T]]) -> T:
        """The answer to a call, made again while whoever is asked has too much to do: that costs no try, only the stage's time.

        Raises:
            Throttled: he asks for a pause that is too long to keep the slot meanwhile.
        """
        for number in count(1):
            try:
                return await call()
            except Throttled as exc:
                wait_s = _wait_s(exc, number)
                if wait_s > LONGEST_WAIT_S:
                    raise
                self._waits = str(exc), THROTTLED
                log.info("throttled", wait_s=round(wait_s, 2), reason=str(exc))
                await self._pause(wait_s, "provider")
        raise AssertionError("the loop returns or raises")

    async def _with_room(self, work: Callable[[], Awaitable[T]]) -> T:
        for number in count(1):
            try:
                return await work()
            except (Shortage, OSError) as exc:
                short = as_shortage(exc)
                if short is None or not short.resource.shared:
                    raise
                self.goes_on()
                wait_s = min(LONGEST_WAIT_S, self.stage_timeout_s / 2, FIRST_WAIT_S * 2 ** min(number, 9))
                with self._shortages.one_waits(short):
                    await self._pause(wait_s, short.resource, again=number > 1)
        raise AssertionError("the loop returns or raises")

    async def _pause(self, wait_s: float, waits_for: str, *, again: bool = False) -> None:
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        pause = partial(progress.pause, job=self.job, until=until, waits_for=waits_for, again=again)
        await self.in_transaction(lambda connection: pause(connection))
        await asyncio.sleep(wait_s)

    async def _failed(self, name: str, exc: BaseException, number: int, tries: int) -> None:
        """Wait for the next try.

        Raises:
            CancelledError: it is the job that was cancelled, not what it waited for.
            StageFailed: there is none.
            TryLater: not now.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from exc
        error, code = self._told(exc)
        await self.in_transaction(
            lambda connection: progress.end_stage(connection, self.job, name, error=error)
        )
        if isinstance(exc, Permanent) or number == tries:
            raise StageFailed(name, error, code) from exc
        wait_s = _wait_s(exc, number)
        log.warning("stage_tried_again", stage=name, attempt=number, wait_s=round(wait_s, 2), reason=error)
        if wait_s > LONGEST_WAIT_S:
            raise TryLater(datetime.now(UTC) + timedelta(seconds=wait_s), error, code) from exc
        await self._pause(wait_s, "provider" if code == THROTTLED else "retry")

    def _told(self, exc: BaseException) -> tuple[str, str]:
        if isinstance(exc, TimeoutError):
            error = f"took longer than {self.stage_timeout_s:g} s (CLUSTER_STAGE_TIMEOUT_S)"
            return (
                (error, "timeout") if self._waits is None else (f"{error}: {self._waits[0]}", self._waits[1])
            )
        if isinstance(exc, asyncio.CancelledError):
            return "the model server cancelled the call", "unavailable"
        if isinstance(exc, Permanent):
            return str(exc), "conflict" if isinstance(exc, Conflict) else "refused"
        if isinstance(exc, Shortage):
            return str(exc), SHORT_OF
        if isinstance(exc, Retryable):
            return str(exc), THROTTLED if isinstance(exc, Throttled) else "unavailable"
        log.error("stage_broke", exc_info=exc)
        return f"{type(exc).__name__}: {exc}", "internal_error"

    async def progress(
        self,
        done: int,
        total: int | None = None,
        *,
        unit: str | None = None,
        waits_for: str | None = None,
        now: bool = False,
    ) -> None:
        """So much of the stage is done. Cheap: told at most twice a second, unless it must be ``now``."""
        if now or time.monotonic() - self._told_at >= PROGRESS_INTERVAL_S:
            self._told_at = time.monotonic()
            record = partial(
                progress.record_progress, job=self.job, done=done, total=total, unit=unit, waits_for=waits_for
            )
            await self.in_transaction(partial(record, percent=self._percent(done, total)))

    def _percent(self, done: int, total: int | None) -> int | None:
        if self._share is None:
            return None
        begins, ends = self._share
        return begins + (ends - begins) * min(done, total) // total if total else begins

    async def in_transaction(self, work: Callable[[Connection[Any]], T]) -> T:
        """Run the work in a thread, in one transaction; again for as long as the database has no room for it.

        Raises:
            DatabaseLost: instead of ``Unavailable``.
        """

        def once() -> Awaitable[T]:
            return in_transaction(work, pool=self.pool, threads=self._threads, lease_s=self.settings.lease_s)

        try:
            return await self._shortages.patiently(once, self._waits_for_room)
        except Shortage as exc:
            raise DatabaseLost(str(exc)) from exc

    def _waits_for_room(self, resource: Resource) -> None:
        """Where the call itself may be at fault, the stage's time goes on."""
        if resource.shared:
            self.goes_on()
        self._waits = resource.sentence, SHORT_OF

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run what blocks. When this is cancelled, the thread goes on to its end, and nobody hears of it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _wait_s(exc: BaseException, number: int) -> float:
    """Seconds until the next try after the one of that number failed so."""
    asked_s = exc.retry_after_s or 0.0 if isinstance(exc, Retryable) else 0.0
    return max(asked_s, random.uniform(0, min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(number, 9))))  # noqa: S311  not a secret
