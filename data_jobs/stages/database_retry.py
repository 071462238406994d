"""Retry a database operation while the database is unavailable or its disk is full."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from psycopg_pool import ConnectionPool

from cluster.database import revive
from cluster.errors import Retryable
from cluster.retrying import is_waited_out
from cluster.settings import Settings
from data_jobs.stages import process_resources

log = structlog.get_logger(__name__)

#: Waits between attempts in seconds: two minutes in total, long enough for a restart or a failover.
WAITS_S = (0.5, 1, 2, 4, 8, 15, 30, 30, 30)
#: Wait between attempts while the disk is full, in seconds.
SHORTAGE_WAIT_S = 5.0

T = TypeVar("T")


def with_database_retry(
    settings: Settings, work: Callable[[], T], *, pool: ConnectionPool | None = None
) -> T:
    """Do the work, and return its result. If the work ends in a retryable error, wait and do the work again.

    If the bundled database has ended, start the database again. If the disk is full, wait without a time
    limit until the disk has room.

    Args:
        pool: the caller's connections to the database; None: the connections of the process.

    Raises:
        Retryable: the error of the last attempt, after all of ``WAITS_S``.
    """
    waits = iter(WAITS_S)
    while True:
        try:
            return work()
        except Retryable as exc:
            short = is_waited_out(exc)
            wait_s = SHORTAGE_WAIT_S if short else next(waits, None)
            if wait_s is None:
                raise
            log.warning("database_short" if short else "database_away", wait_s=wait_s, reason=str(exc))
            time.sleep(wait_s)
            if not short:
                _revive(settings, pool)


def _revive(settings: Settings, pool: ConnectionPool | None) -> None:
    try:
        revive(settings, pool or process_resources.pool(settings))
    except Retryable as exc:
        log.warning("database_still_away", reason=str(exc))
