"""Renew the reservations of a bulk ingest while its command runs, and return those that are left at the end.

    with renewed_reservations(pool, "acme", job.id):
        ...                                # the stages reserve and release (``data_jobs.stages.budget``)

If the command is killed, the reservations expire.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from psycopg_pool import ConnectionPool

from cluster.budgets.reservations import LEASE_S, RENEW_S, release_all, renew
from cluster.database import translated
from cluster.errors import Retryable

log = structlog.get_logger(__name__)


@contextmanager
def renewed_reservations(pool: ConnectionPool, organisation: str, job: str) -> Iterator[None]:
    """Renew the reservations of the job during the block, in a thread."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(RENEW_S):
            try:
                with translated(), pool.connection() as connection:
                    renew(connection, organisation, job, lease_s=LEASE_S)
            except Retryable as exc:  # the next renewal may come in time
                log.warning("reservations_not_renewed", reason=str(exc))

    thread = threading.Thread(target=run, name="budget renewal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            with translated(), pool.connection() as connection:
                release_all(connection, organisation, job)
        except Retryable as exc:  # the reservations expire
            log.warning("reservations_not_returned", reason=str(exc))
