"""A response that sends events as server-sent events (HTML Living Standard, section 9.2).

A route passes an ``EventSource``, which waits for the next events, and the ``Listeners`` of its replica:

    listeners = Listeners(64, instead="ask GET /v1/jobs/{id} from time to time")
    return EventStream(source, listeners=listeners, stopping=stopping, longest_s=96)

The stream ends after the last event. The stream ends earlier if the listener disconnects, the replica stops
or the time is over. The listener then connects again, to this or another replica, and sends the id of the
last event that it received (``Last-Event-ID``).
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cluster.errors import Throttled

#: Seconds between comments while there are no events. Without comments, proxies close an idle connection.
HEARTBEAT_S = 5.0
FULL_RETRY_AFTER_S = 10.0
#: Milliseconds that a browser waits before it connects again.
RECONNECT_MS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSentEvent:
    """One event."""

    #: Id that a client sends as ``Last-Event-ID``. Later events have higher ids.
    id: int
    type: str
    #: The content of the event, as JSON values.
    data: dict[str, Any]

    def encoded(self) -> bytes:
        """Return the lines of the event. Encoded JSON has no line breaks, so one ``data`` line is enough."""
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self.id, self.type.encode(), orjson.dumps(self.data))


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The events since the previous batch, oldest first."""

    events: Sequence[ServerSentEvent]
    #: True if no more events follow.
    last: bool


class EventSource(Protocol):
    """The events for one listener."""

    async def next(self, timeout_s: float) -> Batch | None:
        """Return the next events as soon as there are any; None if none arrive in ``timeout_s`` seconds."""


class Listeners:
    """Counts the listeners of one replica. Each listener is an open request.

    Args:
        limit: maximum number of listeners.
        instead: advice in the error, for a client that is refused.
    """

    def __init__(self, limit: int, *, instead: str) -> None:
        self._limit, self._instead = limit, instead
        #: Current number of listeners.
        self.count = 0

    def require_room(self) -> None:
        """Check that one more listener is accepted.

        Raises:
            Throttled: the limit is reached.
        """
        if self.count >= self._limit:
            raise Throttled(
                f"this replica has {self.count} listeners and accepts no more; {self._instead}",
                retry_after_s=FULL_RETRY_AFTER_S,
            )

    @contextlib.contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one listener for as long as the block lasts.

        Raises:
            Throttled: the limit is reached.
        """
        self.require_room()
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class EventStream(Response):
    """A response that sends events until the last event, a disconnect, the stop of the replica, or the time
    limit.

    Args:
        source: gives the events.
        listeners: the listeners of this replica.
        stopping: returns True if the replica stops.
        longest_s: maximum seconds of the stream; must be less than the time limits of proxies and requests.
        heartbeat_s: seconds between two comments while there are no events; None means ``HEARTBEAT_S``.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        source: EventSource,
        *,
        listeners: Listeners,
        stopping: Callable[[], bool],
        longest_s: float,
        heartbeat_s: float | None = None,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._source, self._listeners = source, listeners
        self._stopping, self._longest_s = stopping, longest_s
        self._heartbeat_s = HEARTBEAT_S if heartbeat_s is None else heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        with self._listeners.one_more():
            # The boundary notices a disconnect only after the whole request body was read, so read the empty
            # body.
            while (await receive()).get("more_body", False):
                pass
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            await _send_part(send, f"retry: {RECONNECT_MS}\n\n".encode())
            await self._send_events(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_events(self, send: Send) -> None:
        until = time.monotonic() + self._longest_s
        while True:
            batch = await self._source.next(self._heartbeat_s)
            if batch is None:
                await _send_part(send, b": nothing new\n\n")
            else:
                if batch.events:
                    await _send_part(send, b"".join(event.encoded() for event in batch.events))
                if batch.last:
                    return
            if self._stopping() or time.monotonic() >= until:
                return


async def _send_part(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})
