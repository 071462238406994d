"""Server-sent events (HTML Living Standard, section 9.2) as a response, for any stream of events.

A route gives an ``EventSource``, which waits for the next events, and the listeners of its replica:

    listeners = Listeners(64, instead="ask GET /v1/jobs/{id} from time to time")
    return EventStream(source, listeners=listeners, stopping=stopping, longest_s=96)

The stream ends with the last event, and before it when the listener leaves, the replica stops or the time is
over. A listener then connects again and names the last event that it received (``Last-Event-ID``), at this
replica or another.
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

#: A comment is sent this often, so that proxies do not close a connection on which nothing happens.
HEARTBEAT_S = 5.0
FULL_RETRY_AFTER_S = 10.0
#: Milliseconds after which a browser connects again.
RECONNECT_MS = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSentEvent:
    """One event."""

    #: Named by ``Last-Event-ID``; higher for later events.
    id: int
    type: str
    #: JSON values.
    data: dict[str, Any]

    def encoded(self) -> bytes:
        """The lines of the event. JSON has no line break of its own, so one ``data`` line holds it."""
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (self.id, self.type.encode(), orjson.dumps(self.data))


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Events that happened since the batch before, oldest first."""

    events: Sequence[ServerSentEvent]
    #: True where no event follows.
    last: bool


class EventSource(Protocol):
    """The events for one listener."""

    async def next(self, timeout_s: float) -> Batch | None:
        """The next events as soon as there are any; None where none happened within the time."""


class Listeners:
    """Counts the listeners of one replica, each of which is a request in flight.

    Args:
        limit: listeners at most.
        instead: what a client does when no more are accepted.
    """

    def __init__(self, limit: int, *, instead: str) -> None:
        self._limit, self._instead = limit, instead
        #: Listeners now.
        self.count = 0

    def require_room(self) -> None:
        """Return if one more listener is accepted.

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
    """A response that sends events until the last one, or until the listener, the replica or the time ends
    it.

    Args:
        source: gives the events.
        listeners: of this replica.
        stopping: True once the replica stops.
        longest_s: seconds before a proxy or a time limit would cut the connection.
        heartbeat_s: seconds between two comments while nothing happens.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        source: EventSource,
        *,
        listeners: Listeners,
        stopping: Callable[[], bool],
        longest_s: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._source, self._listeners = source, listeners
        self._stopping, self._longest_s, self._heartbeat_s = stopping, longest_s, heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        with self._listeners.one_more():
            # The boundary notices that the listener leaves only after the end of the request's body, which is
            # empty.
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
