"""A response that streams an answer of a model as server-sent events, with heartbeats.

Chat completions and responses use it. The route passes a generator of encoded events, which writes the
answer. The generator ends as soon as the client disconnects, so no model works for a client that has left.

    return await StreamedAnswer.begin(events())
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Self

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cluster.errors import ClusterError
from serve_app.edge.errors import response_of, unexpected_error_response

#: Seconds between comments while the model writes nothing. Without comments, proxies close an idle
#: connection.
HEARTBEAT_S = 15.0
HEARTBEAT = b": waiting for the model\n\n"
#: Maximum number of events that wait for a slow client. While so many wait, the generator waits, too.
MAX_WAITING_EVENTS = 64


class StreamedAnswer(Response):
    """The stream. ``begin`` creates it.

    Args:
        events: encoded events, each with the empty line at its end.
        heartbeat_s: seconds between comments while there are no events.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], *, heartbeat_s: float = HEARTBEAT_S) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._heartbeat_s = heartbeat_s
        #: Events, then the error that ended the answer, or None at its end.
        self._queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(MAX_WAITING_EVENTS)
        self._first: bytes | Exception | None = HEARTBEAT
        # One task runs the generator, because a generator must not continue in another task than before.
        self._writer = asyncio.create_task(self._write(events))

    @classmethod
    async def begin(cls, events: AsyncGenerator[bytes, None], *, heartbeat_s: float = HEARTBEAT_S) -> Self:
        """Wait for the first event, at most ``heartbeat_s`` seconds, and return the stream.

        An error before the first event is raised, so that the client gets its status. A later error becomes
        the last event.

        Raises:
            ClusterError: the generator raised the error before the first event.
        """
        stream = cls(events, heartbeat_s=heartbeat_s)
        try:
            stream._first = await stream._next()
            if isinstance(stream._first, Exception):
                raise stream._first
        except BaseException:
            await stream._stop()
            raise
        return stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            event = self._first
            while event is not None:
                last = isinstance(event, Exception)
                part = error_event(event) if isinstance(event, Exception) else event
                await send({"type": "http.response.body", "body": part, "more_body": True})
                event = None if last else await self._next()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._stop()

    async def _next(self) -> bytes | Exception | None:
        """Return the next event, the error, or None at the end; a comment if none of them comes in time."""
        try:
            async with asyncio.timeout(self._heartbeat_s):
                return await self._queue.get()
        except TimeoutError:
            return HEARTBEAT

    async def _write(self, events: AsyncGenerator[bytes, None]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    await self._queue.put(event)
        except Exception as exc:  # noqa: BLE001  the last event reports it, and unexpected errors are logged
            await self._queue.put(exc)
        else:
            await self._queue.put(None)

    async def _stop(self) -> None:
        self._writer.cancel()
        with suppress(asyncio.CancelledError):
            await self._writer


def error_event(exc: Exception) -> bytes:
    """Encode the error as OpenAI's clients expect it in a stream: an event with the object ``error``."""
    response = response_of(exc) if isinstance(exc, ClusterError) else unexpected_error_response(exc)
    return sse_data(bytes(response.body))


def sse_data(data: bytes) -> bytes:
    """Return an event with this data, which has no line breaks."""
    return b"data: %b\n\n" % data
