"""Collect the measurements of the requests to chat servers, until the thread of the metrics publishes them.

``Service`` creates one ``ChatStats`` and passes it to the chat models of the replica.

    stats = ChatStats()
    models = ChatModels(settings, observer=stats)
    list(taken(stats.first_tokens))         # the measurements since the last call
"""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

#: Maximum number of measurements that wait for the next publication. The oldest ones are dropped. A replica
#: makes far fewer in 5 s. The limit bounds the memory of an application in which no thread publishes.
MAX_WAITING = 10_000


class ChatStats:
    """Implements ``ChatObserver``. The event loop of the replica adds measurements; one thread takes them."""

    def __init__(self) -> None:
        #: For each answer that began: the model, and the seconds until the first token.
        self.first_tokens = deque[tuple[str, float]](maxlen=MAX_WAITING)
        #: For each answer that ended: the model, its tokens, and the tokens a second after the first token.
        #: The speed is None if the answer has one token only.
        self.answers = deque[tuple[str, int, float | None]](maxlen=MAX_WAITING)
        #: For each attempt that failed: the model, and the name of the error's class.
        self.failures = deque[tuple[str, str]](maxlen=MAX_WAITING)

    def first_token(self, model: str, seconds: float) -> None:
        """Add the time to the first token of an answer."""
        self.first_tokens.append((model, seconds))

    def answered(self, model: str, tokens: int, seconds: float) -> None:
        """Add the tokens and the speed of an answer."""
        self.answers.append((model, tokens, (tokens - 1) / seconds if tokens > 1 and seconds else None))

    def failed(self, model: str, reason: str) -> None:
        """Add an attempt that failed."""
        self.failures.append((model, reason))


def taken(measurements: deque[T]) -> Iterator[T]:
    """Yield the measurements, and remove them. Another thread may add measurements at the same time."""
    while measurements:
        yield measurements.popleft()
