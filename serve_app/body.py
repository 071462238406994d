"""A request's body as it arrives: no longer than allowed, no slower than allowed, unpacked if it is gzip; and the caller's leaving.

Used by ``boundary`` around the server's own ``receive``.

    body = Body(receive, scope, most=8 * MIB, timeout_s=30, on_leave=task.cancel)
    await app(scope, body.receive, send)
"""

import asyncio
import contextlib
import zlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

#: zlib's flag for a gzip header (RFC 1952) with the largest window.
GZIP = 16 + zlib.MAX_WBITS
#: A request that ends before costs no task to watch its connection.
WATCH_AFTER_S = 0.05


class Body:
    """Of one request. ``receive`` raises HTTPException, which what reads the body lets through."""

    def __init__(self, receive: Receive, scope: Scope, *, most: int, timeout_s: float, on_leave: Callable[[], Any]) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._most = most
        self._deadline = asyncio.get_running_loop().time() + timeout_s
        self._timeout_s = timeout_s
        self._on_leave = on_leave
        self._read = 0
        self._left = asyncio.Event()
        self._complete = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._unpack = None
        encoding = headers.get("content-encoding", "identity").lower()
        if encoding == "gzip":
            self._unpack = zlib.decompressobj(GZIP)
        elif encoding != "identity":
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"content-encoding {encoding!r} is not understood; send gzip or none")
        if self._unpack is None and int(headers.get("content-length") or 0) > most:
            raise self._too_large()

    @property
    def left(self) -> bool:
        """True once the caller closed the connection without waiting for the answer."""
        return self._left.is_set()

    async def receive(self) -> Message:
        """The next part of the body; once it is complete, the news that the caller left."""
        if self._complete:
            self._watch()
            await self._left.wait()
            return {"type": "http.disconnect"}
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as exc:
            raise HTTPException(
                HTTPStatus.REQUEST_TIMEOUT, f"the request's body did not arrive within {self._timeout_s:g} s (CLUSTER_BODY_TIMEOUT_S)"
            ) from exc
        if message["type"] == "http.request":
            more = message.get("more_body", False)
            message = {**message, "body": self._checked(message.get("body", b""), last=not more)}
            if not more:
                self._complete = True
                self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch)
        return message

    async def close(self) -> None:
        """Stop watching the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._until_left())

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left.set()
        self._on_leave()

    def _checked(self, part: bytes, *, last: bool) -> bytes:
        if self._unpack is not None:
            part = self._unpacked(part, last=last)
        self._read += len(part)
        if self._read > self._most:
            raise self._too_large()
        return part

    def _unpacked(self, part: bytes, *, last: bool) -> bytes:
        """Never more than one byte over what is allowed, whatever a small part would unpack to."""
        assert self._unpack is not None
        try:
            unpacked = self._unpack.decompress(part, self._most - self._read + 1)
        except zlib.error as exc:
            raise HTTPException(HTTPStatus.BAD_REQUEST, f"the body is not gzip, as content-encoding says: {exc}") from exc
        if last and not self._unpack.eof and self._read + len(unpacked) <= self._most:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the gzip body ends too early")
        return unpacked

    def _too_large(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the request's body is over {self._most:,} bytes (CLUSTER_MAX_REQUEST_BYTES); send fewer inputs at once",
        )
