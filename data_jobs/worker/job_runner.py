"""Run a claimed job with the function for its kind, and record how the job ends.

``consumer`` uses this module.

    runner = JobRunner(settings, kinds=kinds, threads=threads, shortages=shortages)
    runner.pool = pool
    await runner.run(job, stopped=lambda: False)
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import structlog
from psycopg_pool import ConnectionPool

from cluster.database import for_all_organisations, for_organisation
from cluster.errors import LeaseLost, Retryable, Shortage
from cluster.jobs import attempts
from cluster.jobs.jobs import INTERNAL_ERROR, SYSTEM, Job
from cluster.settings import Settings
from cluster.tracing import CONSUMER, Span, TraceContext, continued_trace
from cluster.tracing.conventions import ATTEMPT, JOB, KIND, ORGANISATION
from data_jobs.worker.job_attempt import (
    DatabaseLost,
    JobAttempt,
    JobFunction,
    NotWanted,
    in_transaction,
)
from data_jobs.worker.shortages import Shortages
from data_jobs.worker.stage_errors import StageFailed, TryLater

log = structlog.get_logger(__name__)

DEADLOCK_ATTEMPTS = 3


def _access_of(job: Job) -> AbstractContextManager[None]:
    """Return the row access of the job: the rows of its organisation. Jobs of the cluster itself, such as
    upkeep, reach the rows of all organisations; no request can submit such a job.
    """
    return for_all_organisations() if job.organisation == SYSTEM else for_organisation(job.organisation)


class JobRunner:
    """Runs claimed jobs and records how they end.

    Args:
        settings: time limits and the lease.
        kinds: for each name of a kind of job, the function that runs the jobs of this kind.
        threads: the executor for blocking work.
        shortages: the shortages of the worker.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        kinds: Mapping[str, JobFunction],
        threads: ThreadPoolExecutor,
        shortages: Shortages,
    ) -> None:
        self._settings, self._kinds = settings, kinds
        self._threads, self._shortages = threads, shortages
        #: Connections to the database. The consumer sets this attribute each time it connects.
        self.pool: ConnectionPool | None = None

    async def run(self, job: Job, *, stopped: Callable[[], bool]) -> None:
        """Run the job and record its end.

        Args:
            stopped: called if this call is cancelled. It returns True if the worker stops, and False if the
                job was cancelled.

        Raises:
            CancelledError: this call was cancelled; the end of the job is recorded first.
            DatabaseLost: the database does not answer; the end of the job is not recorded.
        """
        with continued_trace(f"job {job.kind}", CONSUMER, TraceContext.of_work(job.traceparent)) as trace:
            if trace.recorded:
                trace.set({JOB: job.id, KIND: job.kind, ATTEMPT: job.attempt, ORGANISATION: job.organisation})
            await self._run(job, stopped, trace)

    async def _run(self, job: Job, stopped: Callable[[], bool], trace: Span) -> None:
        assert self.pool is not None
        attempt = JobAttempt(job, self._settings, self.pool, self._threads, self._shortages)
        try:
            with _access_of(job):
                await self._kinds[job.kind](attempt)
        except asyncio.CancelledError:
            end = attempts.give_back if stopped() else attempts.end_cancelled
            await asyncio.shield(asyncio.ensure_future(self.end(job, end)))
            raise
        except NotWanted as exc:
            log.info("job_not_wanted", reason=str(exc))
            await self.end(job, partial(attempts.end_cancelled, reason=str(exc), code=exc.code))
        except LeaseLost as exc:
            log.warning("lease_lost", reason=str(exc))
            trace.fail("lease_lost")
        except TryLater as exc:
            trace.fail(exc.code)
            if exc.counts and job.attempt >= job.last_attempt:
                await self.end(job, partial(attempts.fail, error=str(exc), code=exc.code))
            else:
                later = partial(
                    attempts.retry_later, run_at=exc.run_at, error=str(exc), code=exc.code, counts=exc.counts
                )
                await self.end(job, later)
        except StageFailed as exc:
            log.warning("job_failed", reason=str(exc))
            trace.fail(exc.code)
            await self.end(job, partial(attempts.fail, error=str(exc), code=exc.code))
        except DatabaseLost:
            raise
        except Exception as exc:  # after any other error, the job is a dead letter; the log has the traceback
            log.exception("job_broke")
            trace.fail(type(exc).__name__)
            error = f"{type(exc).__name__}: {exc}"
            await self.end(job, partial(attempts.fail, error=error, code=INTERNAL_ERROR))

    async def end(self, job: Job, end: Callable[[Any, Job], Job]) -> None:
        """End the job. If this is no longer the current attempt of the job, only log a warning."""
        try:
            await self.in_transaction(lambda connection: end(connection, job))
        except LeaseLost as exc:
            log.warning("lease_lost", reason=str(exc))

    async def in_transaction(self, work: Callable[[Any], Any]) -> Any:
        """Do the same as ``JobAttempt.in_transaction``. Also repeat the work after a deadlock, because no
        stage repeats the work here.

        Raises:
            DatabaseLost: the work ended in ``Unavailable``, in a shortage while the worker is stopping, or in
                a deadlock in every attempt.
        """
        assert self.pool is not None
        once = partial(
            in_transaction, work, pool=self.pool, threads=self._threads, lease_s=self._settings.lease_s
        )
        for _ in range(DEADLOCK_ATTEMPTS):
            try:
                return await self._shortages.patiently(once)
            except Shortage as exc:
                raise DatabaseLost(str(exc)) from exc
            except Retryable as exc:  # such as a deadlock; repeat, because the transaction was rolled back
                log.warning("transaction_retried", reason=str(exc))
        raise DatabaseLost("transactions failed again and again")
