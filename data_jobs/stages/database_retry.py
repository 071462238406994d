"""Wait for the database when it is away or has no room, rather than lose what was worked out."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from cluster.database import revive
from cluster.errors import Retryable, Shortage
from cluster.settings import Settings
from data_jobs.stages import process_resources

log = structlog.get_logger(__name__)

#: Waits between tries: two minutes in all, long enough for a restart or a failover.
WAITS_S = (0.5, 1, 2, 4, 8, 15, 30, 30, 30)
#: Between tries while there is no room.
SHORT_WAIT_S = 5.0

T = TypeVar("T")


def with_patience(settings: Settings, work: Callable[[], T]) -> T:
    """Do the work, again after each wait while it ends in a retryable error; the bundled database is started if it died.

    A full disk and its like are waited for until there is room, however long that takes.

    Raises:
        Retryable: the last try's, after ``WAITS_S`` have passed.
    """
    waits = iter(WAITS_S)
    while True:
        try:
            return work()
        except Retryable as exc:
            short = isinstance(exc, Shortage) and exc.resource.shared
            wait_s = SHORT_WAIT_S if short else next(waits, None)
            if wait_s is None:
                raise
            log.warning("database_short" if short else "database_away", wait_s=wait_s, reason=str(exc))
            time.sleep(wait_s)
            if not short:
                _try_to_revive(settings)


def _try_to_revive(settings: Settings) -> None:
    try:
        revive(settings, process_resources.pool(settings))
    except Retryable as exc:
        log.warning("database_still_away", reason=str(exc))
