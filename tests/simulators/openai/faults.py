"""The faults that the simulator can show, by script or by chance.

faults = Faults([Fault.BUSY, Fault.LOST])           # the first two requests fail
faults = Faults(chances={Fault.BUSY: 0.2}, seed=1)  # every fifth request fails
"""

import random
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from enum import StrEnum


class Fault(StrEnum):
    """What goes wrong with a request."""

    #: 429 without a word about when to come back, and with one.
    BUSY = "busy"
    BUSY_WITH_RETRY_AFTER = "busy-with-retry-after"
    BUSY_WITH_MILLISECONDS = "busy-with-milliseconds"
    #: 503.
    UNAVAILABLE = "unavailable"
    #: The request is computed and billed, and the connection is closed instead of an answer.
    LOST = "lost"
    #: The connection is reset before the request is read.
    RESET = "reset"
    #: The answer arrives slowly, in small pieces.
    SLOW = "slow"
    #: The vectors are in another order than the inputs, with right indexes.
    SHUFFLED = "shuffled"
    #: One vector holds NaN.
    NAN = "nan"
    #: The vectors are one number too short; one vector is missing; one index is there twice.
    WRONG_DIMENSION = "wrong-dimension"
    MISSING = "missing"
    TWICE = "twice"
    #: The server does not know base64; it does not scale to unit length; it reports no usage.
    FLOATS = "floats"
    LONG = "long"
    NO_USAGE = "no-usage"
    #: The key has no right to the model.
    FORBIDDEN = "forbidden"
    #: The account has no money.
    NO_MONEY = "no-money"


class Faults:
    """Gives each request its fault: the next of the script or, after its end, one by chance."""

    def __init__(
        self,
        script: Iterable[Fault | None] = (),
        *,
        chances: Mapping[Fault, float] | None = None,
        seed: int = 0,
    ) -> None:
        self._script = deque(script)
        self._chances = dict(chances or {})
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def next(self) -> Fault | None:
        """The fault of the next request; None if it succeeds."""
        with self._lock:
            if self._script:
                return self._script.popleft()
            drawn = self._random.random()
            for fault, chance in self._chances.items():
                if drawn < chance:
                    return fault
                drawn -= chance
        return None
