"""Provide the functions that the code of a job uses in one attempt: stages with retries and time limits,
progress, transactions.

``job_runner`` makes one ``JobAttempt`` for each job that it runs.

    async def index_file(attempt: JobAttempt) -> None:
        pages = await attempt.stage("parse", parse)
        await attempt.stage("write", write, tries=attempt.settings.index_attempts)
"""

import asyncio
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
    BudgetExceeded,
    Conflict,
    LeaseLost,
    Permanent,
    ProviderUnavailable,
    Resource,
    Retryable,
    Shortage,
    Throttled,
    Unavailable,
)
from cluster.jobs import progress
from cluster.jobs.jobs import BUDGET_EXCEEDED, PROVIDER_UNAVAILABLE, SHORT_OF, THROTTLED, Job, PriorityClass
from cluster.jobs.kinds import kind_named
from cluster.logs import about
from cluster.retrying import Backoff, is_waited_out
from cluster.settings import Settings
from cluster.tracing import span
from data_jobs.worker.shortages import Shortages, as_shortage
from data_jobs.worker.stage_errors import StageFailed, TryLater

log = structlog.get_logger(__name__)

T = TypeVar("T")
#: A function that runs a job. The function receives the attempt, and ends the job in the last transaction.
JobFunction = Callable[["JobAttempt"], Awaitable[None]]

#: Wait between two attempts at a stage or a call. A job that has to wait longer than ``longest_s`` gives up
#: its slot.
BACKOFF = Backoff(first_s=1.0, longest_s=15.0, jitter=True)
#: Wait between two attempts at work that failed because a resource was used up.
ROOM_BACKOFF = Backoff(first_s=1.0, longest_s=15.0)
#: What a job waits for, by the code of its last error: a key of ``cluster.jobs.view.WAITS_FOR``. For every
#: other code, the key is ``retry``.
WAITS_FOR = {THROTTLED: "provider", PROVIDER_UNAVAILABLE: PROVIDER_UNAVAILABLE}
#: Minimum seconds between two records of progress, because only people read the progress.
PROGRESS_INTERVAL_S = 0.5


@contextmanager
def transaction(pool: ConnectionPool, *, lease_s: float) -> Iterator[Connection[Any]]:
    """Open a transaction that the server rolls back if no statement arrives for the length of a lease.

    Otherwise a worker that is suspended inside a transaction would keep rows locked, and other workers could
    not rescue the jobs of that worker.
    """
    with translated(), pool.connection() as connection, connection.transaction():
        connection.execute(
            "SELECT set_config('idle_in_transaction_session_timeout', %s, true)", [str(int(lease_s * 1000))]
        )
        yield connection


class DatabaseLost(Exception):
    """Raised if the database does not answer.

    The worker stops all of its jobs, and gives the jobs back when the database answers again.
    """


async def in_transaction(
    work: Callable[[Connection[Any]], T], *, pool: ConnectionPool, threads: Executor, lease_s: float
) -> T:
    """Run the work in a thread, in one transaction (see ``transaction``).

    Raises:
        Shortage: the database answers, but lacks a resource.
        DatabaseLost: the work ended in any other ``Unavailable``.
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


class NotWanted(Exception):
    """Raised if the subject of the job no longer exists, or a later job does the work of this job.

    The message becomes the error of the job.
    """

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


class JobAttempt:
    """Runs the stages of one attempt at a job, on one event loop. Blocking work runs in ``threads``.

    Args:
        job: the claimed job.
        settings: the settings of the worker.
        pool: connections to the database.
        threads: the executor for blocking work.
        shortages: the shortages of the worker.
    """

    def __init__(
        self, job: Job, settings: Settings, pool: ConnectionPool, threads: Executor, shortages: Shortages
    ) -> None:
        self.job = job
        self.settings = settings
        #: Time limit in seconds of each stage of this job.
        self.stage_timeout_s = kind_named(job.kind).stage_timeout_s or settings.stage_timeout_s
        self.pool = pool
        self._threads = threads
        self._recorded_at = 0.0
        self._limit: asyncio.Timeout | None = None
        self._shortages = shortages
        #: The reason why the stage makes no progress at the moment, and the code of that reason.
        self._waits: tuple[str, str] | None = None
        #: Percent of the whole job that is done when the current stage begins, and when it ends; None if the
        #: job does not report percent.
        self._share: tuple[int, int] | None = None

    @property
    def urgent(self) -> bool:
        """True for a job of the class ``HIGH``, because a person waits for the job."""
        return self.job.priority_class == PriorityClass.HIGH

    async def stage(
        self,
        name: str,
        work: Callable[[], Awaitable[T]],
        *,
        tries: int | None = None,
        share: tuple[int, int] | None = None,
    ) -> T:
        """Do the work and return its result. Repeat the work while it fails for temporary reasons.

        Each attempt has a time limit, which ``goes_on`` restarts.

        If the work fails because a resource, such as a disk, is used up, the stage waits for room. This wait
        uses up neither an attempt nor the time limit.

        Args:
            name: name of the stage, shown to people.
            work: the work of the stage; it must be safe to repeat.
            tries: maximum number of attempts; None means the setting ``stage_attempts``.
            share: percent of the whole job that is done when the stage begins, and when it ends.

        Raises:
            StageFailed: the stage used up its attempts, or a retry cannot help.
            TryLater: a service asked for a pause longer than ``BACKOFF.longest_s``, or a provider asked for
                any pause in the last attempt.
        """
        tries, self._share, percent = tries or self.settings.stage_attempts, share, share and share[1]
        for number in range(1, tries + 1):
            await self.in_transaction(lambda connection: progress.begin_stage(connection, self.job, name))
            try:
                with about(stage=name), span(f"stage {name}"):
                    self._waits = None
                    async with asyncio.timeout(self.stage_timeout_s) as self._limit:
                        made = await self._with_room(work)
            except (DatabaseLost, LeaseLost, NotWanted, TryLater, StageFailed):
                raise
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001  every error is recorded, then the stage is repeated or fails
                await self._failed(name, exc, number, tries)
            else:
                await self.in_transaction(
                    lambda connection: progress.end_stage(connection, self.job, name, percent=percent)
                )
                return made
        raise AssertionError("the last attempt returns or raises")

    def goes_on(self) -> None:
        """Restart the time limit of the stage, because a part of the stage is done or a wait has ended."""
        self._waits = None
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time() + self.stage_timeout_s)

    async def answer(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call, repeat it while the service is overloaded or a provider does not answer, and return
        the answer.

        The waits use up no attempt. Only waits for an overloaded service count as part of the stage's time.

        Raises:
            Throttled, ProviderUnavailable: the wait is longer than ``BACKOFF.longest_s``. This is too long to
                keep the slot.
        """
        for number in count(1):
            try:
                return await call()
            except (Throttled, ProviderUnavailable) as exc:
                wait_s = BACKOFF.wait_s(number, exc)
                if wait_s > BACKOFF.longest_s:
                    raise
                if isinstance(exc, ProviderUnavailable):
                    self.goes_on()
                self._waits = self.describe(exc)
                log.info(self._waits[1], wait_s=round(wait_s, 2), reason=str(exc))
                await self.pause(wait_s, WAITS_FOR.get(self._waits[1], "retry"))
        raise AssertionError("the loop returns or raises")

    async def _with_room(self, work: Callable[[], Awaitable[T]]) -> T:
        for number in count(1):
            try:
                return await work()
            except (Shortage, OSError) as exc:
                short = as_shortage(exc)
                if short is None or not is_waited_out(short):
                    raise
                self.goes_on()
                wait_s = min(self.stage_timeout_s / 2, ROOM_BACKOFF.wait_s(number))
                with self._shortages.one_waits(short):
                    await self.pause(wait_s, short.resource, again=number > 1)
        raise AssertionError("the loop returns or raises")

    async def pause(self, wait_s: float, waits_for: str, *, again: bool = False) -> None:
        """Record in the job what it waits for, and wait (see ``cluster.jobs.progress.pause``)."""
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        pause = partial(progress.pause, job=self.job, until=until, waits_for=waits_for, again=again)
        await self.in_transaction(lambda connection: pause(connection))
        await asyncio.sleep(wait_s)

    async def _failed(self, name: str, exc: BaseException, number: int, tries: int) -> None:
        """Record the error of the attempt at the stage, and wait until the next attempt.

        Raises:
            CancelledError: the job was cancelled, not only a call inside the job.
            StageFailed: no attempt remains, or a retry cannot help.
            TryLater: the wait is too long for the slot, or a provider asked for a wait in the last attempt.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from exc
        error, code = self.describe(exc)
        await self.in_transaction(
            lambda connection: progress.end_stage(connection, self.job, name, error=error)
        )
        wait_s = BACKOFF.wait_s(number, exc)
        # If a provider says when to try again, the stage waits. The number of these waits has no limit.
        waits = isinstance(exc, (Throttled, ProviderUnavailable)) and exc.retry_after_s is not None
        if isinstance(exc, Permanent) or (number == tries and not waits):
            raise StageFailed(name, error, code) from exc
        log.warning("stage_retried", stage=name, attempt=number, wait_s=round(wait_s, 2), reason=error)
        if wait_s > BACKOFF.longest_s or number == tries:
            until = datetime.now(UTC) + timedelta(seconds=wait_s)
            raise TryLater(until, error, code, counts=not waits) from exc
        await self.pause(wait_s, WAITS_FOR.get(code, "retry"))

    def describe(self, exc: BaseException) -> tuple[str, str]:
        """Return the error as a sentence for people, and its code for programs."""
        if isinstance(exc, TimeoutError):
            error = f"took longer than {self.stage_timeout_s:g} s (CLUSTER_STAGE_TIMEOUT_S)"
            return (
                (error, "timeout") if self._waits is None else (f"{error}: {self._waits[0]}", self._waits[1])
            )
        if isinstance(exc, asyncio.CancelledError):
            return "the model server cancelled the call", "unavailable"
        if isinstance(exc, Permanent):
            code = BUDGET_EXCEEDED if isinstance(exc, BudgetExceeded) else "refused"
            return str(exc), "conflict" if isinstance(exc, Conflict) else code
        if isinstance(exc, Shortage):
            return str(exc), SHORT_OF
        if isinstance(exc, ProviderUnavailable):
            return str(exc), PROVIDER_UNAVAILABLE
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
        """Record how much of the stage is done.

        Frequent calls are cheap, because at most two calls a second are recorded, plus the calls with
        ``now``.
        """
        if now or time.monotonic() - self._recorded_at >= PROGRESS_INTERVAL_S:
            self._recorded_at = time.monotonic()
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
        """Run the work in a thread, in one transaction, and repeat it while the database has no room.

        Raises:
            DatabaseLost: the work ended in ``Unavailable``, or in a shortage while the worker is stopping.
        """

        def once() -> Awaitable[T]:
            return in_transaction(work, pool=self.pool, threads=self._threads, lease_s=self.settings.lease_s)

        try:
            return await self._shortages.patiently(once, self._waits_for_room)
        except Shortage as exc:
            raise DatabaseLost(str(exc)) from exc

    def _waits_for_room(self, resource: Resource) -> None:
        """Restart the stage's time limit, unless the call may have caused the shortage. Keep the reason."""
        if resource.shared:
            self.goes_on()
        self._waits = resource.sentence, SHORT_OF

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread, and return the result.

        If the caller is cancelled, the thread still completes the work, but the result is discarded.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
