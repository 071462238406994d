"""Decides how long to wait before the next attempt, and for which shortages to wait without using up
attempts. Reads the wait that a server asks for from its header ``Retry-After``.

Every loop that retries uses this module, with its own parameters. The cost of a retry and the end of the loop
differ between loops; docs/decisions/024-four-loops-that-retry.md says why.

    BACKOFF = Backoff(first_s=1.0, longest_s=15.0, jitter=True)
    await asyncio.sleep(BACKOFF.wait_s(attempt, exc))
"""

import math
import random
import time
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from cluster.errors import Retryable, Shortage

#: Maximum number of doublings. After so many doublings, every backoff has reached its longest wait.
MAX_DOUBLINGS = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Computes waits in seconds that double after each attempt, up to a longest wait."""

    first_s: float
    longest_s: float
    #: True to wait a random part of each wait (full jitter: M. Brooker, AWS Architecture Blog, 2015), so that
    #: clients that failed at the same time do not retry at the same time.
    jitter: bool = False

    def wait_s(self, attempt: int, exc: BaseException | None = None) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            attempt: number of the attempt, from 1.
            exc: error of the attempt. If the error's ``retry_after_s`` is longer than the computed wait, the
                result is ``retry_after_s``.
        """
        wait_s = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, MAX_DOUBLINGS))
        if self.jitter:
            wait_s = random.uniform(0, wait_s)  # noqa: S311  not a secret
        requested_s = exc.retry_after_s if isinstance(exc, Retryable) else None
        return max(wait_s, requested_s or 0.0)


def is_waited_out(exc: BaseException) -> bool:
    """Return True for a shortage that no single call causes, such as a full disk. A job that waits for the
    end of such a shortage uses up no attempt.
    """
    return isinstance(exc, Shortage) and exc.resource.shared


def requested_wait_s(retry_after: str | None, *, most_s: float) -> float | None:
    """Return the seconds for which the header ``Retry-After`` asks to wait, limited to [0, ``most_s``].

    Args:
        retry_after: the value of the header, which is a number of seconds or a date (RFC 9110, section
            10.2.3); None if there is no header.
        most_s: the longest wait in seconds.

    Returns:
        None if there is no header, or if its value is neither a number nor a date.
    """
    if retry_after is None:
        return None
    try:
        wait_s = float(retry_after)
    except ValueError:
        try:
            at = parsedate_to_datetime(retry_after)
        except (ValueError, OverflowError):  # OverflowError: a year or a time zone that no date can have
            return None
        wait_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - time.time()
    return bounded_wait_s(wait_s, most_s=most_s)


def bounded_wait_s(wait_s: float, *, most_s: float) -> float | None:
    """Return a wait that a server asks for, limited to [0, ``most_s``]; None if the wait is not a number."""
    return None if math.isnan(wait_s) else min(max(0.0, wait_s), most_s)
