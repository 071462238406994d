"""The ledger's row of a job, from its first line of code to its last.

with JobRun(pool, "default", "ingest", {"location": "docs/"}, total=20) as run:
    run.progress(1)
    run.result = {...}
"""

import time
from types import TracebackType
from typing import Any, Self

import structlog
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.errors import Retryable
from cluster.ledger.jobs import JobState, finish_job, record_progress, start_job

log = structlog.get_logger(__name__)

#: Progress is for people: more often than this nobody reads it, and the database has better to do.
PROGRESS_INTERVAL_S = 1.0


class JobRun:
    """A job that runs inside the block; it has succeeded when the block ends, failed when an exception leaves it."""

    def __init__(self, pool: ConnectionPool, organisation: str, kind: str, input: dict[str, Any], *, total: int | None = None) -> None:
        self._pool, self._organisation = pool, organisation
        with translated(), pool.connection() as connection:
            self.id = start_job(connection, organisation, kind, input=input, total=total).id
        #: What the job has to say at its end; JSON values.
        self.result: dict[str, Any] | None = None
        self._done = 0
        self._recorded_at = 0.0

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        state = JobState.SUCCEEDED if error is None else JobState.CANCELLED if isinstance(error, KeyboardInterrupt) else JobState.FAILED
        said = None if error is None else f"{type(error).__name__}: {error}"
        try:
            self._record()
            with translated(), self._pool.connection() as connection:
                finish_job(connection, self._organisation, self.id, state, result=self.result, error=said)
        except Retryable as exc:
            if error is None:
                raise
            log.warning("end_of_job_not_recorded", job=self.id, state=state, reason=str(exc))
