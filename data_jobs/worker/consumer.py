"""Take jobs from the queue, run several jobs at the same time, and recover when the database is lost.

Each priority class has reserved slots. Shared slots take the highest class first. So each class has slots
that no other class can use, and low classes never starve. One more slot sends webhooks. Each group of slots
is a Procrastinate worker on the same event loop.

    consumer = Consumer(settings, kinds=open_kinds(resources), name="worker-1")
    await consumer.run()            # returns after consumer.stop(), or when the worker has to be replaced

The design is crash-only: a consumer that loses the database releases everything and starts again. When the
database is back, the consumer gives back the jobs that it held. A job then loses no attempt, and writes of
the old attempts are refused. Other workers give back the jobs of dead workers (``cluster.jobs.rescue``). A
database that answers but has no room (full disk) is not lost: see ``data_jobs.worker.shortages``. A worker
that has run enough jobs or uses too much memory ends: see ``data_jobs.worker.recycling``.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from procrastinate import App, JobContext
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker

from cluster.database import CONNECTION, database_url, for_all_organisations, open_pool
from cluster.database.row_access import ContextThreads
from cluster.database.scoped_connection import take_role_of_all
from cluster.errors import ClusterError
from cluster.jobs import attempts
from cluster.jobs.jobs import Job, PriorityClass
from cluster.jobs.queue_tables import OWN_LOW_QUEUE, TAKE_TURN, priority_class_of
from cluster.jobs.rescue import rescue
from cluster.jobs.schedules.due import submit_due
from cluster.logs import about
from cluster.retrying import Backoff
from cluster.settings import Settings
from cluster.submissions import accept_due
from data_jobs.worker.job_attempt import DatabaseLost, JobFunction
from data_jobs.worker.job_runner import JobRunner
from data_jobs.worker.later_turns import LaterTurns
from data_jobs.worker.recycling import Recycling, lose
from data_jobs.worker.shortages import PatientConnector, Shortages, as_shortage
from data_jobs.worker.webhook_turns import notify

log = structlog.get_logger(__name__)

#: Number of heartbeats of a worker in each lease.
HEARTBEATS_PER_LEASE = 6
#: Number of rescue rounds and of checks for due schedules in each lease.
RESCUES_PER_LEASE = 6
#: Age of a heartbeat in seconds after which the row of the worker is deleted. This age is much longer than a
#: lease, because a worker that could not write for a while may come back.
FORGOTTEN_S = 86_400.0
#: Seconds between two checks for new jobs. New jobs are also announced, but announcements can be lost.
POLL_S = 2.0
#: Seconds between two checks for cancel requests. Cancel requests are also announced.
ABORT_POLL_S = 1.0
#: Seconds that the jobs of a stopping worker have to end. After that, the worker gives the jobs back.
STOP_TIMEOUT_S = 10.0
#: A worker that has to be replaced takes jobs from this queue, which is always empty.
NO_QUEUE = "none"
#: Wait between two attempts to reach the database.
BACKOFF = Backoff(first_s=0.5, longest_s=10.0)
CONNECTIONS = 4
#: Seconds that Procrastinate waits for a connection. When the database is lost, Procrastinate waits three
#: times in a row.
CONNECTION_TIMEOUT_S = 5.0


class Consumer:
    """Takes jobs from the queue and runs them (see the module's docstring).

    Args:
        settings: settings with the slots, the lease and the database.
        kinds: the function for each name of a kind of job. Other workers run the jobs of other kinds.
        name: name of the worker in logs and in the history of jobs.
    """

    def __init__(self, settings: Settings, *, kinds: Mapping[str, JobFunction], name: str) -> None:
        self._settings = settings
        #: The argument ``kinds``. More kinds may be added before ``run``.
        self.kinds = dict(kinds)
        self._name = name
        self._slots: dict[tuple[str, ...], int] = {
            (PriorityClass.HIGH,): settings.worker_slots_high,
            (PriorityClass.MEDIUM,): settings.worker_slots_medium,
            (PriorityClass.LOW,): settings.worker_slots_low,
            (PriorityClass.SCHEDULED,): settings.worker_slots_scheduled,
            (*PriorityClass, OWN_LOW_QUEUE): settings.worker_slots_shared,
            (OWN_LOW_QUEUE,): 1,
        }
        slots = sum(self._slots.values())
        #: Two threads for each slot: one thread does the work, and the other thread records the progress.
        self.threads = ContextThreads(2 * slots + 4, thread_name_prefix="job")
        self._workers: list[Worker] = []
        self._stopping = asyncio.Event()
        self._lost = asyncio.Event()
        #: True while this process runs a suspect: a job whose earlier worker died, maybe because of the job.
        #: No two suspects run at the same time, so a job that kills workers costs the other jobs on a worker
        #: at most one attempt.
        self._suspected = False
        self._later = LaterTurns(self.kinds)
        #: Says when the worker has to be replaced.
        self.recycling = Recycling(settings)
        #: Number of turns that the worker has taken and not ended.
        self._turns = 0
        self._stop_timeout_s = STOP_TIMEOUT_S
        #: Jobs that run now, by id.
        self.running: dict[str, Job] = {}
        #: Waits for resources that are used up.
        self.shortages = Shortages(settings, self._stopping)
        self._runner = JobRunner(settings, kinds=self.kinds, threads=self.threads, shortages=self.shortages)
        #: Jobs that ran when the database was lost. When the database is back, these jobs are given back.
        self._held: list[Job] = []
        #: Ids of ended Procrastinate workers that are not yet unregistered.
        self._registered: list[int] = []

    async def run(self) -> None:
        """Take jobs of all organisations and run them until the worker stops or has to be replaced."""
        with for_all_organisations():
            await self._run()

    async def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started, short = asyncio.get_running_loop().time(), None
            try:
                await self._work()
            except Exception as exc:  # noqa: BLE001  a lost database causes many kinds of errors; after any error, connect again
                log.warning("consumer_begins_anew", reason=f"{type(exc).__name__}: {exc}")
                short = as_shortage(exc)
            if asyncio.get_running_loop().time() - started > BACKOFF.longest_s:
                failures = 0
            failures += 1
            with (
                contextlib.suppress(TimeoutError),
                self.shortages.one_waits(short) if short else contextlib.nullcontext(),
            ):
                await asyncio.wait_for(self._stopping.wait(), BACKOFF.wait_s(failures))
        self.shortages.close()
        self.threads.shutdown(wait=False, cancel_futures=True)

    def stop(self) -> None:
        """Take no more jobs, and give back the running jobs that do not end soon."""
        self._stopping.set()

    async def _work(self) -> None:
        """Connect to the database, and work until the database is lost or ``stop`` is called."""
        self._lost.clear()
        loop = asyncio.get_running_loop()
        url = await loop.run_in_executor(None, database_url, self._settings)
        pool = await loop.run_in_executor(None, open_pool, self._settings)
        self._runner.pool = pool
        app = self._app(url)
        try:
            async with app.open_async():
                await self._give_back_held(app)
                await self._until_lost(app)
        finally:
            self.running.clear()
            await loop.run_in_executor(None, pool.close)

    async def _until_lost(self, app: App) -> None:
        lease_s = self._settings.lease_s
        self._workers = [
            Worker(
                app,
                queues=[str(queue) for queue in queues],
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
            for queues, slots in self._slots.items()
        ]
        at_work = [asyncio.create_task(worker.run(), name="worker") for worker in self._workers]  # type: ignore[no-untyped-call]
        upkeep = asyncio.create_task(self._keep_up())
        drained = asyncio.create_task(self._drain_when_due())
        lost = asyncio.create_task(self._lost.wait())
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            # A Procrastinate worker that loses the database ends. Then the other workers must end, too.
            await asyncio.wait(
                [*at_work, upkeep, drained, lost, stopped], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (upkeep, drained, lost, stopped):
                task.cancel()
            if not self._stopping.is_set():
                self._revive()
            self._registered += [worker.worker_id for worker in self._workers if worker.worker_id is not None]
            await self._end_workers(at_work)
            await asyncio.gather(*at_work, upkeep, drained, lost, stopped, return_exceptions=True)
            # If jobs are held, unregister their workers only after the jobs are given back. Otherwise other
            # consumers would rescue the jobs.
            if not self._held:
                with contextlib.suppress(Exception):
                    await self._unregister(app)

    async def _drain_when_due(self) -> None:
        """When the worker has to be replaced, take no more jobs, wait for the running jobs, and stop.

        Procrastinate's workers continue to run during the wait, because only these workers send heartbeats.
        """
        await self.recycling.wait()
        log.info("worker_recycles", reason=self.recycling.reason, jobs=len(self.running))
        for worker in self._workers:
            worker.queues = [NO_QUEUE]
        if error := await self.recycling.drain(lambda: self._turns > 0):
            for job in list(self.running.values()):
                await self._runner.end(job, partial(lose, error=error))
            self._stop_timeout_s = 0.0
        self.stop()

    async def _give_back_held(self, app: App) -> None:
        """Give back the held jobs without using up an attempt, and unregister the ended workers."""
        for job in self._held.copy():
            await self._runner.end(job, partial(attempts.give_back, because="the database was away"))
            self._held.remove(job)
        await self._unregister(app)

    async def _unregister(self, app: App) -> None:
        while self._registered:
            await app.job_manager.unregister_worker(self._registered[-1])
            self._registered.pop()

    def _revive(self) -> None:
        """Start the bundled database again in a thread, without waiting for the start.

        If the database is back soon, the jobs can be given back before their lease ends.
        """

        def start() -> None:
            with contextlib.suppress(ClusterError):
                database_url(self._settings)

        asyncio.get_running_loop().run_in_executor(None, start)

    async def _end_workers(self, at_work: list[asyncio.Task[None]]) -> None:
        """End Procrastinate's workers.

        Running jobs get ``STOP_TIMEOUT_S`` to end, or 0 s if ``lose`` has ended them or the database is lost.
        """
        deadline = asyncio.get_running_loop().time() + 2 * STOP_TIMEOUT_S
        left = set(at_work)
        while left and asyncio.get_running_loop().time() < deadline:
            for worker in self._workers:
                worker.shutdown_graceful_timeout = self._stop_timeout_s if self._stopping.is_set() else 0.0
                worker.stop()  # type: ignore[no-untyped-call]  # repeated, because a worker that is just beginning ignores the call
            _, left = await asyncio.wait(left, timeout=0.5)
        for task in left:
            task.cancel()

    def _app(self, url: str) -> App:
        # With the options of the cluster's pool, the loss of the host of the database is noticed within half
        # a minute, not after 15 minutes.
        named = {**CONNECTION, "application_name": self._name}
        how: dict[str, Any] = {"kwargs": named, "configure": take_role_of_all}
        how |= {"min_size": 1, "max_size": CONNECTIONS, "timeout": CONNECTION_TIMEOUT_S}
        app = App(connector=PatientConnector(self.shortages, self._lost.set, conninfo=url, **how))
        app.task(name=TAKE_TURN, pass_context=True)(self._take_turn)
        return app

    async def _keep_up(self) -> None:
        """Rescue the jobs of dead workers, and submit jobs for due schedules and due webhook deliveries. Then
        repeat these steps until the database is lost.
        """
        while True:
            try:
                await self._runner.in_transaction(
                    lambda connection: rescue(connection, lease_s=self._settings.lease_s, patient=True)
                )
                await self._runner.in_transaction(partial(submit_due, accept=accept_due(self._settings)))
                await self._runner.in_transaction(notify)
            except DatabaseLost:
                return
            await asyncio.sleep(self._settings.lease_s / RESCUES_PER_LEASE)

    async def _take_turn(self, context: JobContext, organisation: str, turn: int) -> None:
        self._turns += 1
        try:
            await self._run_turn(context, organisation, turn)
        finally:
            self._turns -= 1

    async def _run_turn(self, context: JobContext, organisation: str, turn: int) -> None:
        """Claim the next job of the organisation for this turn, and run the job."""
        assert context.job.id is not None
        taken = attempts.Turn(
            entry=context.job.id,
            organisation=organisation,
            priority_class=priority_class_of(context.job.queue),
            turn=turn,
        )
        suspects = not self._suspected
        self._suspected = True
        try:
            claiming = asyncio.ensure_future(
                self._runner.in_transaction(partial(self._claim, taken, suspects))
            )
            try:
                job, suspect, returned = await asyncio.shield(claiming)
            except asyncio.CancelledError:
                job, _, _ = await claiming
                if job is not None:
                    await self._runner.end(job, attempts.give_back)
                raise
            if suspects and not suspect:
                self._suspected = suspects = False
            if job is None:
                if not returned:
                    await self._runner.in_transaction(partial(self._later.add, taken=taken))
                return
            self.running[job.id] = job
            self.recycling.job_began()
            try:
                with about(job=job.id, organisation=organisation, kind=job.kind):
                    await self._runner.run(
                        job, stopped=lambda: context.abort_reason() != AbortReason.USER_REQUEST
                    )
            except DatabaseLost:
                self._held.append(job)
                raise
            finally:
                self.running.pop(job.id, None)
                self.recycling.job_ended()
        except DatabaseLost as exc:
            log.warning("database_lost", reason=str(exc))
            self._lost.set()
            raise
        finally:
            if suspects:
                self._suspected = False

    def _claim(self, taken: attempts.Turn, suspects: bool, connection: Any) -> tuple[Job | None, bool, bool]:
        """Claim the next job. Return three values: the job, or None; True if a worker died in an earlier
        attempt at the job; and True if a new turn replaced this turn (``attempts.return_to_line``).
        """
        if attempts.return_to_line(connection, taken):
            return None, False, True
        job = attempts.claim(connection, taken, worker=self._name, kinds=list(self.kinds), suspects=suspects)
        return job, job is not None and attempts.is_suspect(connection, job), False
