"""How long to wait before something is attempted again, and which shortages are waited out.

Every loop that retries uses this, with parameters of its own. What a retry costs and what ends the loop
differ from loop to loop: docs/decisions/024-four-loops-that-retry.md says why.

    BACKOFF = Backoff(first_s=1.0, longest_s=15.0, jitter=True)
    await asyncio.sleep(BACKOFF.wait_s(attempt, exc))
"""

import random
from dataclasses import dataclass

from cluster.errors import Retryable, Shortage

#: Doubling stops after so many waits; by then every backoff has reached its longest wait.
MAX_DOUBLINGS = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Waits that double, in seconds."""

    first_s: float
    longest_s: float
    #: True to wait a random part of each wait (full jitter: M. Brooker, AWS Architecture Blog, 2015), so that
    #: clients which failed together do not come back together.
    jitter: bool = False

    def wait_s(self, attempt: int, exc: BaseException | None = None) -> float:
        """Seconds to wait after the attempt of that number, from 1, failed.

        Args:
            exc: its error. Where it asks for a longer pause (``retry_after_s``), that one counts.
        """
        wait_s = min(self.longest_s, self.first_s * 2.0 ** min(attempt - 1, MAX_DOUBLINGS))
        if self.jitter:
            wait_s = random.uniform(0, wait_s)  # noqa: S311  not a secret
        requested_s = exc.retry_after_s if isinstance(exc, Retryable) else None
        return max(wait_s, requested_s or 0.0)


def is_waited_out(exc: BaseException) -> bool:
    """True for a shortage that no call causes by itself, such as a full disk: waiting for room costs no
    attempt.
    """
    return isinstance(exc, Shortage) and exc.resource.shared
