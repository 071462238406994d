"""The faults of the simulator, by script or by chance.

faults = IndexFaults([IndexFault.BUSY, None, IndexFault.RESET])     # of the first three requests
faults = IndexFaults(chances={IndexFault.BUSY: 0.2}, seed=1)        # of every fifth request
faults = IndexFaults([IndexFault.BUSY], only={"upsert"})            # of the first upsert
"""

import random
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from enum import StrEnum

#: Operations that change the index.
WRITES = frozenset({"upsert", "update", "delete"})


class IndexFault(StrEnum):
    """What goes wrong with a request."""

    #: 429 without Retry-After.
    BUSY = "busy"
    #: 429 with Retry-After.
    BUSY_WITH_RETRY_AFTER = "busy-with-retry-after"
    #: 503; nothing is changed.
    UNAVAILABLE = "unavailable"
    #: The request is carried out, and the answer is 500.
    APPLIED_500 = "applied-500"
    #: The request is carried out, and no answer comes before ``release`` is called.
    NO_ANSWER = "no-answer"
    #: The connection is reset before the request is carried out.
    RESET = "reset"
    #: The connection is reset after the request is carried out.
    APPLIED_RESET = "applied-reset"
    #: The answer comes in small pieces.
    SLOW = "slow"

    @property
    def is_refusal(self) -> bool:
        """True if the request is refused with an error, and nothing is changed."""
        return self in {IndexFault.BUSY, IndexFault.BUSY_WITH_RETRY_AFTER, IndexFault.UNAVAILABLE}


class IndexFaults:
    """Gives each request its fault: the next of the script or, after the end of the script, one by chance.

    Args:
        only: operations that have faults; None means all.
    """

    def __init__(
        self,
        script: Iterable[IndexFault | None] = (),
        *,
        chances: Mapping[IndexFault, float] | None = None,
        only: Iterable[str] | None = None,
        seed: int = 0,
    ) -> None:
        self._script = deque(script)
        self._chances = dict(chances or {})
        self._only = None if only is None else frozenset(only)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        #: Number of faults so far.
        self.counts: Counter[IndexFault] = Counter()

    def next(self, operation: str) -> IndexFault | None:
        """The fault of the next request; None if there is none."""
        if self._only is not None and operation not in self._only:
            return None
        with self._lock:
            fault = self._script.popleft() if self._script else self._by_chance()
            if fault is not None:
                self.counts[fault] += 1
            return fault

    def _by_chance(self) -> IndexFault | None:
        drawn = self._random.random()
        for fault, chance in self._chances.items():
            if drawn < chance:
                return fault
            drawn -= chance
        return None
