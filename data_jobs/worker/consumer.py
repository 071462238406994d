"""Takes jobs from the queue and does them, several at once, until it is told to stop; survives the database's absences.

Slots are reserved for each class, and some are shared, where the highest class goes first: nobody waits for a slot that
another class fills, and bulk never starves. Each group of slots is a worker of Procrastinate's on the same event loop.

    consumer = Consumer(settings, kinds=open_kinds(resources), name="worker-1")
    await consumer.run()            # returns after consumer.stop()

Crash-only: who loses the database lets go of everything and begins anew. When the database is back, it gives back what it held, which
costs those jobs no try; what the old tries still write is refused. What dead workers held is given back by others
(``cluster.jobs.rescue``). A database that answers and has no room, such as a full disk, is not lost: see ``data_jobs.worker.shortages``.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from procrastinate import App, JobContext
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker
from psycopg_pool import ConnectionPool

from cluster.database import CONNECTION, database_url, open_pool
from cluster.errors import ClusterError, LeaseLost, Retryable, Shortage
from cluster.jobs import attempts
from cluster.jobs.jobs import Job, PriorityClass
from cluster.jobs.queue import add_turns
from cluster.jobs.queue_tables import TAKE_TURN
from cluster.jobs.rescue import rescue
from cluster.jobs.schedules import submit_due
from cluster.logs import about
from cluster.settings import Settings
from data_jobs.worker.job_attempt import (
    DatabaseLost,
    JobAttempt,
    JobFunction,
    NotWanted,
    StageFailed,
    TryLater,
    in_transaction,
)
from data_jobs.worker.shortages import PatientConnector, Shortages, as_shortage

log = structlog.get_logger(__name__)

#: A worker says so often within its lease that it lives.
HEARTBEATS_PER_LEASE = 6
#: How often dead workers are looked for, within a lease.
RESCUES_PER_LEASE = 6
#: Rows of workers that said nothing for so long are deleted. Long after their lease: one that only could not write comes back.
FORGOTTEN_S = 86_400.0
#: New jobs are announced; this is for announcements that were lost.
POLL_S = 2.0
#: Cancelling is announced too.
ABORT_POLL_S = 1.0
#: What a worker that stops leaves its jobs to end; then they are given back.
STOP_TIMEOUT_S = 10.0
#: A job of an unknown kind is for a worker of another release, which looks again after this.
STRANGER_WAIT_S = 10.0
#: Jobs that have outlived a worker are done one at a time: so long waits one that finds another such job at work.
SUSPECT_WAIT_S = 1.0
#: Between looks for a database that is away: doubling.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 10.0
CONNECTIONS = 4
#: What the queue waits for a connection to the database. Who lost it says farewell to it three times in a row.
CONNECTION_TIMEOUT_S = 5.0
DEADLOCK_TRIES = 3


class Consumer:
    """See the module's docstring.

    Args:
        settings: slots, lease, database.
        kinds: what to do for each kind of job; others are left to workers that know them.
        name: in logs and in the history of jobs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        kinds: Mapping[str, JobFunction],
        name: str,
    ) -> None:
        self._settings = settings
        #: May be added to before ``run``.
        self.kinds = dict(kinds)
        self._name = name
        self._slots = {
            (PriorityClass.HIGH,): settings.worker_slots_high,
            (PriorityClass.MEDIUM,): settings.worker_slots_medium,
            (PriorityClass.LOW,): settings.worker_slots_low,
            (PriorityClass.SCHEDULED,): settings.worker_slots_scheduled,
            tuple(PriorityClass): settings.worker_slots_shared,
        }
        slots = sum(self._slots.values())
        #: Two a slot: one works, one writes how far it is.
        self.threads = ThreadPoolExecutor(2 * slots + 4, thread_name_prefix="job")
        self._pool: ConnectionPool | None = None
        self._workers: list[Worker] = []
        self._stopping = asyncio.Event()
        self._lost = asyncio.Event()
        #: Whether a job is at work here whose worker died under it before. It may have killed it: the worker takes no other such
        #: job beside it, so that a job that kills its workers takes the tries of others with it once, and never again.
        self._suspected = False
        #: Jobs that run now.
        self.running: dict[str, Job] = {}
        #: What this worker waits for.
        self.shortages = Shortages(settings, self._stopping)
        #: Jobs that ran when the database was lost, and the workers that held them.
        self._held: list[Job] = []
        self._signed_on: list[int] = []

    async def run(self) -> None:
        """Work until ``stop``."""
        wait_s = FIRST_WAIT_S
        while not self._stopping.is_set():
            started, short = asyncio.get_running_loop().time(), None
            try:
                await self._work()
            except Exception as exc:  # noqa: BLE001  whatever the database's absence ends in: it is looked for again
                log.warning("consumer_begins_anew", reason=f"{type(exc).__name__}: {exc}")
                short = as_shortage(exc)
            if asyncio.get_running_loop().time() - started > LONGEST_WAIT_S:
                wait_s = FIRST_WAIT_S
            with (
                contextlib.suppress(TimeoutError),
                self.shortages.one_waits(short) if short else contextlib.nullcontext(),
            ):
                await asyncio.wait_for(self._stopping.wait(), wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        self.shortages.close()
        self.threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Take no more jobs; those that do not end soon are given back."""
        self._stopping.set()

    async def _work(self) -> None:
        """From one database connection to its loss, or to ``stop``."""
        self._lost.clear()
        loop = asyncio.get_running_loop()
        url = await loop.run_in_executor(None, database_url, self._settings)
        self._pool = await loop.run_in_executor(None, open_pool, self._settings)
        app = self._app(url)
        try:
            async with app.open_async():
                await self._give_back_held(app)
                await self._until_lost(app)
        finally:
            self.running.clear()
            await loop.run_in_executor(None, self._pool.close)

    async def _until_lost(self, app: App) -> None:
        lease_s = self._settings.lease_s
        self._workers = [
            Worker(
                app,
                queues=[priority_class.value for priority_class in classes],
                name=self._name,
                concurrency=slots,
                fetch_job_polling_interval=POLL_S,
                abort_job_polling_interval=ABORT_POLL_S,
                shutdown_graceful_timeout=STOP_TIMEOUT_S,
                delete_jobs="always",
                install_signal_handlers=False,
                update_heartbeat_interval=lease_s / HEARTBEATS_PER_LEASE,
                stalled_worker_timeout=FORGOTTEN_S,
            )
            for classes, slots in self._slots.items()
        ]
        at_work = [asyncio.create_task(worker.run(), name="worker") for worker in self._workers]  # type: ignore[no-untyped-call]
        upkeep = asyncio.create_task(self._keep_up())
        lost = asyncio.create_task(self._lost.wait())
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            # A worker ends by itself when it loses the database; then all are ended.
            await asyncio.wait([*at_work, upkeep, lost, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (upkeep, lost, stopped):
                task.cancel()
            if not self._stopping.is_set():
                self._revive()
            self._signed_on += [worker.worker_id for worker in self._workers if worker.worker_id is not None]
            await self._end_workers(at_work)
            await asyncio.gather(*at_work, upkeep, lost, stopped, return_exceptions=True)
            if not self._held:  # else these workers are signed off after their jobs were given back: without them others would do that
                with contextlib.suppress(Exception):
                    await self._sign_off(app)

    async def _give_back_held(self, app: App) -> None:
        """What was held when the database was lost is begun anew by anybody, which costs it no try."""
        for job in self._held.copy():
            await self._end(job, partial(attempts.give_back, because="the database was away"))
            self._held.remove(job)
        await self._sign_off(app)

    async def _sign_off(self, app: App) -> None:
        while self._signed_on:
            await app.job_manager.unregister_worker(self._signed_on[-1])
            self._signed_on.pop()

    def _revive(self) -> None:
        """Have the bundled database started meanwhile: where it is soon back, the jobs can be given back before the lease is over."""

        def start() -> None:
            with contextlib.suppress(ClusterError):
                database_url(self._settings)

        asyncio.get_running_loop().run_in_executor(None, start)

    async def _end_workers(self, at_work: list[asyncio.Task[None]]) -> None:
        """Their jobs get some time to end when we are told to stop, and none when the database is lost."""
        deadline = asyncio.get_running_loop().time() + 2 * STOP_TIMEOUT_S
        left = set(at_work)
        while left and asyncio.get_running_loop().time() < deadline:
            for worker in self._workers:
                worker.shutdown_graceful_timeout = STOP_TIMEOUT_S if self._stopping.is_set() else 0.0
                worker.stop()  # type: ignore[no-untyped-call]  # again and again: a worker that only begins forgets it
            _, left = await asyncio.wait(left, timeout=0.5)
        for task in left:
            task.cancel()

    def _app(self, url: str) -> App:
        # As our own pool's: a database whose host vanished is noticed within half a minute, not after a quarter of an hour.
        named = {**CONNECTION, "application_name": self._name}
        how: dict[str, Any] = {
            "min_size": 1,
            "max_size": CONNECTIONS,
            "timeout": CONNECTION_TIMEOUT_S,
            "kwargs": named,
        }
        app = App(connector=PatientConnector(self.shortages, self._lost.set, conninfo=url, **how))
        app.task(name=TAKE_TURN, pass_context=True)(self._take_turn)
        return app

    async def _keep_up(self) -> None:
        """Rescue the jobs of dead workers and submit the jobs of due schedules, again and again."""
        while True:
            try:
                await self._in_transaction(
                    lambda connection: rescue(connection, lease_s=self._settings.lease_s, patient=True)
                )
                await self._in_transaction(submit_due)
            except DatabaseLost:
                return
            await asyncio.sleep(self._settings.lease_s / RESCUES_PER_LEASE)

    async def _take_turn(self, context: JobContext, organisation: str, turn: int) -> None:
        """Do the organisation's next job."""
        assert context.job.id is not None
        taken = attempts.Turn(
            entry=context.job.id,
            organisation=organisation,
            priority_class=PriorityClass(context.job.queue),
            turn=turn,
        )
        suspects = not self._suspected
        self._suspected = True
        try:
            claiming = asyncio.ensure_future(self._in_transaction(partial(self._claim, taken, suspects)))
            try:
                job, suspect, stands = await asyncio.shield(claiming)
            except asyncio.CancelledError:
                job, _, _ = await claiming
                if job is not None:
                    await self._end(job, attempts.give_back)
                raise
            if suspects and not suspect:
                self._suspected = suspects = False
            if job is None:
                if not stands:
                    await self._in_transaction(partial(self._leave_to_others, taken))
                return
            self.running[job.id] = job
            try:
                with about(job=job.id, organisation=organisation, kind=job.kind):
                    await self._do(context, job)
            except DatabaseLost:
                self._held.append(job)
                raise
            finally:
                self.running.pop(job.id, None)
        except DatabaseLost as exc:
            log.warning("database_lost", reason=str(exc))
            self._lost.set()
            raise
        finally:
            if suspects:
                self._suspected = False

    def _claim(self, taken: attempts.Turn, suspects: bool, connection: Any) -> tuple[Job | None, bool, bool]:
        """The job, whether it is a suspect, and whether the turn stands in line again instead."""
        if attempts.return_to_line(connection, taken):
            return None, False, True
        job = attempts.claim(connection, taken, worker=self._name, kinds=list(self.kinds), suspects=suspects)
        return job, job is not None and attempts.is_suspect(connection, job), False

    def _leave_to_others(self, taken: attempts.Turn, connection: Any) -> None:
        kinds = list(self.kinds)
        if attempts.has_suspects(connection, taken, kinds=kinds):
            wait_s = SUSPECT_WAIT_S
        elif attempts.has_unknown_kinds(connection, taken, kinds=kinds):
            wait_s = STRANGER_WAIT_S
        else:
            return
        add_turns(
            connection,
            taken.organisation,
            taken.priority_class,
            run_at=datetime.now(UTC) + timedelta(seconds=wait_s),
        )

    async def _do(self, context: JobContext, job: Job) -> None:
        """The job, to one of its ends."""
        assert self._pool is not None
        run = JobAttempt(job, self._settings, self._pool, self.threads, self.shortages)
        try:
            await self.kinds[job.kind](run)
        except asyncio.CancelledError:
            # Asked for by somebody, or by a worker that stops.
            stopped = context.abort_reason() != AbortReason.USER_REQUEST
            await asyncio.shield(
                asyncio.ensure_future(
                    self._end(job, attempts.give_back if stopped else attempts.end_cancelled)
                )
            )
            raise
        except NotWanted as exc:
            log.info("job_not_wanted", reason=str(exc))
            await self._end(job, partial(attempts.end_cancelled, reason=str(exc), code=exc.code))
        except LeaseLost as exc:
            log.warning("lease_lost", reason=str(exc))
        except TryLater as exc:
            if job.attempt >= job.last_attempt:
                await self._end(job, partial(attempts.fail, error=str(exc), code=exc.code))
            else:
                await self._end(
                    job, partial(attempts.retry_later, run_at=exc.run_at, error=str(exc), code=exc.code)
                )
        except StageFailed as exc:
            log.warning("job_failed", reason=str(exc))
            await self._end(job, partial(attempts.fail, error=str(exc), code=exc.code))
        except DatabaseLost:
            raise
        except Exception as exc:  # the process edge of a job: a dead letter, with its trace in the log
            log.exception("job_broke")
            error = f"{type(exc).__name__}: {exc}"
            await self._end(job, partial(attempts.fail, error=error, code="internal_error"))

    async def _end(self, job: Job, end: Callable[[Any, Job], Job]) -> None:
        try:
            await self._in_transaction(lambda connection: end(connection, job))
        except LeaseLost as exc:
            log.warning("lease_lost", reason=str(exc))

    async def _in_transaction(self, work: Callable[[Any], Any]) -> Any:
        """As ``JobAttempt.in_transaction``; the consumer has no stage that would try again after a deadlock, so this does."""
        assert self._pool is not None
        once = partial(
            in_transaction, work, pool=self._pool, threads=self.threads, lease_s=self._settings.lease_s
        )
        for _ in range(DEADLOCK_TRIES):
            try:
                return await self.shortages.patiently(once)
            except Shortage as exc:
                raise DatabaseLost(str(exc)) from exc
            except Retryable as exc:  # a deadlock, say: nothing of it was done
                log.warning("transaction_tried_again", reason=str(exc))
        raise DatabaseLost("its transactions do not go through")
