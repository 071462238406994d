"""Counts the requests of the last minutes that a replica answered, and how many of them failed.

The edge counts each request, except health checks, on the event loop. The thread that reports the state of
the replica reads the sums.

    counts = RequestCounts()
    counts.add(503)
    counts.sums()                                     # (1, 1)
"""

import time
from collections import deque
from collections.abc import Callable
from http import HTTPStatus

#: The sums count the requests of the last ``WINDOW_S`` seconds, in steps of ``STEP_S`` seconds.
WINDOW_S, STEP_S = 300.0, 10.0


class RequestCounts:
    """Counts the requests of one replica, and those that failed (status 500 or higher).

    Args:
        clock: returns the time in seconds; tests pass another clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: For each step with requests: number of the step, requests, failed requests. ``add`` replaces the
        #: whole tuple of a step, so a thread that reads always sees a request together with its failure.
        self._steps: deque[tuple[int, int, int]] = deque(maxlen=int(WINDOW_S / STEP_S))

    def add(self, status: int) -> None:
        """Count one request by the status of its answer."""
        step, failed = int(self._clock() // STEP_S), int(status >= HTTPStatus.INTERNAL_SERVER_ERROR)
        if self._steps and self._steps[-1][0] == step:
            _, requests, failures = self._steps[-1]
            self._steps[-1] = (step, requests + 1, failures + failed)
        else:
            self._steps.append((step, 1, failed))

    def sums(self) -> tuple[int, int]:
        """Return the number of requests in the last ``WINDOW_S`` seconds, and how many of them failed."""
        oldest = int((self._clock() - WINDOW_S) // STEP_S)
        recent = [counts for counts in self._steps.copy() if counts[0] > oldest]
        return sum(requests for _, requests, _ in recent), sum(failed for _, _, failed in recent)
