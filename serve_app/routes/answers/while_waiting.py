"""Compute a value while the event loop waits for the chat server.

The first chunk of an answer has the sources. Writing it takes as long as the chat server needs for its first
token, so it is written after the request is sent, and not before.

    first = WhileWaiting(lambda: encode(sources))
    ...                                 # the request is sent, and its answer arrives
    first.value()
"""

import asyncio
from collections.abc import Callable

#: Seconds until the value is computed. By then, the request to the chat server is sent.
SENT_AFTER_S = 0.001


class WhileWaiting:
    """Calls ``compute`` once, as soon as the event loop has sent the request, or when the value is needed.

    Args:
        compute: returns the value. It must not wait.
    """

    def __init__(self, compute: Callable[[], bytes]) -> None:
        self._compute = compute
        self._value: bytes | None = None
        self._timer = asyncio.get_running_loop().call_later(SENT_AFTER_S, self.value)

    def value(self) -> bytes:
        """Return the value."""
        self._timer.cancel()
        if self._value is None:
            self._value = self._compute()
        return self._value
