"""Wait for the database when it is away, rather than lose what was worked out."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from cluster.database import revive
from cluster.errors import Retryable
from cluster.settings import Settings
from data_jobs.stages import per_process

log = structlog.get_logger(__name__)

#: Waits between tries: two minutes in all, long enough for a restart or a failover.
WAITS_S = (0.5, 1, 2, 4, 8, 15, 30, 30, 30)

T = TypeVar("T")


def with_patience(settings: Settings, work: Callable[[], T]) -> T:
    """Do the work, again after each wait while it ends in a retryable error; the bundled database is started if it died.

    Raises:
        Retryable: the last try's, after ``WAITS_S`` have passed.
    """
    for wait_s in WAITS_S:
        try:
            return work()
        except Retryable as exc:
            log.warning("database_away", wait_s=wait_s, reason=str(exc))
            time.sleep(wait_s)
            _try_to_revive(settings)
    return work()


def _try_to_revive(settings: Settings) -> None:
    try:
        revive(settings, per_process.pool(settings))
    except Retryable as exc:
        log.warning("database_still_away", reason=str(exc))
