"""Runs a job in a command's own process: begins the job, sends its heartbeats, and records how it ended.

    with CommandJob(pool, "default", JobRequest(kind=INGEST, input={"location": "docs/"}, total=20),
    lease_s=30) as job:
        job.progress(1)
        job.result = {...}

A thread sends several heartbeats in each lease. If the process is killed, ``rescue`` in another process ends
the job. If the job is cancelled over HTTP, it ends as if a person had pressed Ctrl-C.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from socket import gethostname
from types import TracebackType
from typing import Any, Self

import structlog
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import for_all_organisations, translated
from cluster.errors import BudgetExceeded, LeaseLost, Retryable
from cluster.jobs import attempts, queue_tables
from cluster.jobs.jobs import BUDGET_EXCEEDED, CANCELLED, INTERNAL_ERROR, Job
from cluster.jobs.progress import record_progress
from cluster.jobs.queue import JobRequest
from cluster.jobs.rescue import rescue_commands
from cluster.tracing import CONSUMER, TraceContext, continued_trace
from cluster.tracing.conventions import JOB, KIND, ORGANISATION

log = structlog.get_logger(__name__)

#: Minimum seconds between two records of progress. Each record is a database write, and people do not need
#: more frequent records.
PROGRESS_INTERVAL_S = 1.0
HEARTBEATS_PER_LEASE = 6
#: Maximum seconds between two heartbeats. Each heartbeat also checks if the job's cancellation was requested.
LONGEST_INTERVAL_S = 2.0
#: The signal that interrupts the main thread if the job is cancelled. It is not SIGINT, because a shell
#: script starts commands in the background (``command &``) with SIGINT ignored.
CANCEL_SIGNAL = signal.SIGUSR1


class CommandJob:
    """Runs a job inside a ``with`` block. The job succeeds if the block ends normally, is cancelled if
    ``KeyboardInterrupt`` leaves the block, and fails if another exception leaves it.

    Use the block in the main thread, because a cancellation raises ``KeyboardInterrupt`` in that thread. In
    another thread, ``with`` raises ``ValueError``.
    """

    def __init__(
        self, pool: ConnectionPool, organisation: str, request: JobRequest, *, lease_s: float
    ) -> None:
        self._pool, self._lease_s = pool, lease_s
        worker = f"{gethostname()}-{os.getpid()}"
        with for_all_organisations(), translated(), pool.connection() as connection:
            rescue_commands(connection, lease_s=lease_s)
        with translated(), pool.connection() as connection:
            self._job = attempts.begin_command(connection, organisation, request, worker=worker)
        self.id = self._job.id
        #: The result of the job, as JSON values. The block sets it.
        self.result: dict[str, Any] | None = None
        self._done = 0
        self._recorded_at = 0.0
        self._ended = threading.Event()
        #: Fields that the command adds to the log lines about the job, with ``cluster.logs.about``.
        self.log_fields = {"job": self.id, "organisation": organisation, "kind": request.kind.name}
        self._trace = continued_trace(
            f"job {request.kind.name}", CONSUMER, TraceContext.of_work(self._job.traceparent)
        )
        self._trace.set({JOB: self.id, KIND: request.kind.name, ORGANISATION: organisation})
        self._heart = threading.Thread(target=self._send_heartbeats, name="job heartbeat", daemon=True)

    def progress(self, done: int) -> None:
        """Report how much of the job is done.

        Safe to call often: progress is recorded at most once a second. If the database does not answer, the
        job continues.
        """
        self._done = done
        if time.monotonic() - self._recorded_at < PROGRESS_INTERVAL_S:
            return
        self._recorded_at = time.monotonic()
        try:
            self._record_progress()
        except (LeaseLost, Retryable) as exc:
            log.warning("progress_not_recorded", job=self.id, reason=str(exc))

    def _record_progress(self) -> None:
        with translated(), self._pool.connection() as connection:
            record_progress(connection, self._job, done=self._done, total=self._job.total)

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(min(self._lease_s / HEARTBEATS_PER_LEASE, LONGEST_INTERVAL_S)):
            try:
                cancelled = self._send_heartbeat()
            except LeaseLost as exc:
                log.warning("lease_lost", job=self.id, reason=str(exc))
                cancelled = True
            except Retryable as exc:
                log.warning("heartbeat_not_sent", job=self.id, reason=str(exc))
                continue
            if cancelled and not self._ended.is_set():
                signal.pthread_kill(threading.main_thread().ident or 0, CANCEL_SIGNAL)
                return

    def _send_heartbeat(self) -> bool:
        """Send a heartbeat. Return True if the job's cancellation was requested.

        If the job was marked as lost, begin another attempt.

        Raises:
            LeaseLost: the job has ended for another reason, or has a newer attempt.
        """
        entry = self._job.entry
        assert entry is not None
        with translated(), self._pool.connection() as connection:
            cancelled = queue_tables.heartbeat(connection, entry)
            if cancelled is None:
                self._job = attempts.begin_command_again(connection, self._job)
        return bool(cancelled)

    def __enter__(self) -> Self:
        self._handler = signal.signal(CANCEL_SIGNAL, signal.default_int_handler)
        self._heart.start()
        self._trace.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._trace.__exit__(kind, error, trace)
        with contextlib.suppress(KeyboardInterrupt):  # a cancellation is too late: the job has ended
            self._ended.set()
            self._heart.join()
        # The default handler would end the process if the heartbeats' thread sent the signal only now.
        before = signal.SIG_IGN if self._handler == signal.SIG_DFL else self._handler
        signal.signal(CANCEL_SIGNAL, before)
        end = self._end(error)
        try:
            with contextlib.suppress(LeaseLost):
                self._record_progress()
            with translated(), self._pool.connection() as connection:
                self._record_end(connection, end)
        except LeaseLost as exc:
            log.warning("lease_lost", job=self.id, reason=str(exc))
        except Retryable as exc:
            if error is None:
                raise
            log.warning("end_of_job_not_recorded", job=self.id, reason=str(exc))

    def _record_end(self, connection: Connection[Any], end: Callable[[Connection[Any], Job], Job]) -> None:
        try:
            with connection.transaction():
                end(connection, self._job)
        except LeaseLost:
            self._job = attempts.begin_command_again(connection, self._job)
            end(connection, self._job)
        assert self._job.entry is not None
        queue_tables.close_command_entry(connection, self._job.entry)

    def _end(self, error: BaseException | None) -> Callable[[Connection[Any], Job], Job]:
        if error is None:
            return partial(attempts.finish, result=self.result)
        if isinstance(error, KeyboardInterrupt):
            why = str(error) or "its command was interrupted (Ctrl-C)"
            reason = f"{why}; what it wrote stays, run the command again"
            return partial(attempts.end_cancelled, reason=reason, code=CANCELLED, result=self.result)
        if isinstance(error, BudgetExceeded):
            return partial(attempts.fail, error=str(error), code=BUDGET_EXCEEDED, result=self.result)
        sentence = f"{type(error).__name__}: {error}"
        return partial(attempts.fail, error=sentence, code=INTERNAL_ERROR, result=self.result)
