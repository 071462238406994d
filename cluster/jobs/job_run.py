"""The ledger's row of a job that a command does itself, from its first line of code to its last.

with JobRun(pool, "default", "ingest", {"location": "docs/"}, total=20, lease_s=30) as run:
    run.progress(1)
    run.result = {...}

A thread says that the process lives, several times within the lease: a job whose process was killed is ended by whoever next looks
for such jobs (``rescue``). Cancelled over HTTP, the job ends as if somebody had pressed Ctrl-C.
"""

import contextlib
import signal
import threading
import time
from types import TracebackType
from typing import Any, Self

import structlog
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.errors import Retryable
from cluster.jobs.jobs import CANCELLED, JobState, finish_job, keep_job, record_progress, start_job
from cluster.jobs.queue import record_event
from cluster.jobs.rescue import rescue_commands

log = structlog.get_logger(__name__)

#: Progress is for people: more often than this nobody reads it, and the database has better to do.
PROGRESS_INTERVAL_S = 1.0
KEEPS_PER_LEASE = 6
#: How soon a job hears at the latest that it is to end.
LONGEST_KEEP_S = 2.0


class JobRun:
    """A job that runs inside the block; it has succeeded when the block ends, failed when an exception leaves it.

    Use it in the main thread: that is where ``KeyboardInterrupt`` is raised when somebody cancels the job.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        organisation: str,
        kind: str,
        input: dict[str, Any],
        *,
        lease_s: float,
        total: int | None = None,
    ) -> None:
        self._pool, self._organisation, self._lease_s = pool, organisation, lease_s
        with translated(), pool.connection() as connection:
            rescue_commands(connection, lease_s=lease_s)  # there may be no workers to do it
            self.id = start_job(connection, organisation, kind, input=input, total=total, lease_s=lease_s).id
        #: What the job has to say at its end; JSON values.
        self.result: dict[str, Any] | None = None
        self._done = 0
        self._recorded_at = 0.0
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="job lease", daemon=True)

    def progress(self, done: int) -> None:
        """So much is done. Cheap: recorded at most once a second, and an absent database is no reason to stop."""
        self._done = done
        if time.monotonic() - self._recorded_at < PROGRESS_INTERVAL_S:
            return
        self._recorded_at = time.monotonic()
        try:
            self._record()
        except Retryable as exc:
            log.warning("progress_not_recorded", job=self.id, reason=str(exc))

    def _record(self) -> None:
        with translated(), self._pool.connection() as connection:
            record_progress(connection, self._organisation, self.id, self._done)

    def _keep(self) -> None:
        """Until the job ends: it lives."""
        while not self._ended.wait(min(self._lease_s / KEEPS_PER_LEASE, LONGEST_KEEP_S)):
            try:
                with translated(), self._pool.connection() as connection:
                    unwanted = keep_job(connection, self._organisation, self.id, lease_s=self._lease_s)
            except Retryable as exc:
                log.warning("lease_not_kept", job=self.id, reason=str(exc))
                continue
            if unwanted and not self._ended.is_set():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                return

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # cancelled at the last moment: it is over anyway
            self._ended.set()
            self._keeper.join()
        state = (
            JobState.SUCCEEDED
            if error is None
            else JobState.CANCELLED
            if isinstance(error, KeyboardInterrupt)
            else JobState.FAILED
        )
        said, code = _said(error)
        try:
            self._record()
            with translated(), self._pool.connection() as connection:
                ended = finish_job(
                    connection,
                    self._organisation,
                    self.id,
                    state,
                    result=self.result,
                    error=said,
                    error_code=code,
                )
                if ended is not None:
                    told = {"error": ended.error, "error_code": ended.error_code, "result": self.result}
                    record_event(connection, ended, state.value, told)
        except Retryable as exc:
            if error is None:
                raise
            log.warning("end_of_job_not_recorded", job=self.id, state=state, reason=str(exc))


def _said(error: BaseException | None) -> tuple[str | None, str | None]:
    """The sentence of the job's end and its code."""
    if error is None:
        return None, None
    if isinstance(error, KeyboardInterrupt):
        why = str(error) or "its command was interrupted (Ctrl-C)"
        return f"{why}; what it wrote stays, run the command again", CANCELLED
    return f"{type(error).__name__}: {error}", None
