"""Offer a job again later if this worker cannot run the job now.

A worker cannot run a job of a kind that the worker does not know. Some jobs may kill workers. A worker runs
only one of these jobs at a time.

    later = LaterTurns(kinds)
    later.add(connection, turn)
"""

import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from cluster.jobs import attempts
from cluster.jobs.queue import add_turns

#: Seconds until a job whose kind this worker does not know is offered again, so that a worker of another
#: release can take the job.
UNKNOWN_KIND_WAIT_S = 10.0
#: Minimum seconds between two jobs of unknown kinds that one worker offers again. Without this minimum,
#: thousands of such jobs would keep all shared slots busy, and lower priority classes would get no shared
#: slot.
UNKNOWN_KIND_INTERVAL_S = 0.1
#: Seconds until a job that may kill workers is offered again, if this worker already runs another such job.
SUSPECT_WAIT_S = 1.0


class LaterTurns:
    """Adds turns that begin later. Safe to call from several threads.

    Args:
        kinds: names of the kinds of job that the worker knows.
    """

    def __init__(self, kinds: Collection[str]) -> None:
        self._kinds = kinds
        #: The latest of the times at which jobs of unknown kinds are offered again.
        self._last_offer = datetime.now(UTC)
        self._offering = threading.Lock()

    def add(self, connection: Connection[Any], taken: attempts.Turn) -> None:
        """Add a turn that begins later, if the turn's organisation has a queued job of the turn's class that
        this worker cannot run now.
        """
        kinds = list(self._kinds)
        if attempts.has_suspects(connection, taken, kinds=kinds):
            run_at = datetime.now(UTC) + timedelta(seconds=SUSPECT_WAIT_S)
        elif attempts.has_unknown_kinds(connection, taken, kinds=kinds):
            run_at = self._next_offer()
        else:
            return
        add_turns(connection, taken.organisation, taken.priority_class, run_at=run_at)

    def _next_offer(self) -> datetime:
        """Return the time at which the next job of an unknown kind is offered again."""
        with self._offering:
            self._last_offer = max(
                datetime.now(UTC) + timedelta(seconds=UNKNOWN_KIND_WAIT_S),
                self._last_offer + timedelta(seconds=UNKNOWN_KIND_INTERVAL_S),
            )
            return self._last_offer
