"""Reads a request's body within limits of size and time, and notices when the client disconnects.

``boundary`` gives ``RequestBody.receive`` to the application in place of the ASGI server's ``receive``.

    limits = BodyLimits(max_bytes=8 * MIB, setting="CLUSTER_MAX_REQUEST_BYTES", timeout_s=30)
    body = RequestBody(receive, scope, limits, on_disconnect=task.cancel)
    await app(scope, body.receive, send)
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from serve_app.edge.bodies.content_headers import IDENTITY, content_coding
from serve_app.edge.bodies.decompression import Decompressor

log = structlog.get_logger(__name__)

#: Seconds after which a task starts to watch the connection; a faster request needs no such task.
WATCH_AFTER_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyLimits:
    """The limits on the body of a request. ``boundary`` chooses the limits by the path of the request."""

    #: Maximum size of the body in bytes, after decompression.
    max_bytes: int
    #: Name of the setting behind ``max_bytes``, for error messages.
    setting: str
    #: Maximum seconds to wait for the whole body. The time that the server needs to handle received parts
    #: does not count.
    timeout_s: float
    #: If set, ``timeout_s`` applies to each group of this many bytes instead of the whole body, because a
    #: large body may take long.
    bytes_per_timeout: int | None = None
    #: True if the body may be compressed.
    compressed: bool = True
    #: Maximum number of arrays and objects in a JSON body; None: no limit. There is a limit because each
    #: array or object needs a hundred times the memory of its two brackets.
    max_containers: int | None = None


class RequestBody:
    """The body of one request.

    ``receive`` raises HTTPException if the body breaks a limit. Code that reads a body does not catch this
    error.
    """

    def __init__(
        self, receive: Receive, scope: Scope, limits: BodyLimits, *, on_disconnect: Callable[[], Any]
    ) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._remaining_s = limits.timeout_s
        self._on_disconnect = on_disconnect
        self._bytes_read = 0
        #: Number of bytes that were read when ``_remaining_s`` was last set to ``timeout_s``.
        self._bytes_at_restart = 0
        self._containers = 0
        self._disconnected = asyncio.Event()
        #: True if the client closed the connection in the middle of the body.
        self.cut_off = False
        self._complete = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        coding = content_coding(headers, compressed=limits.compressed)
        self._decompressor = None if coding == IDENTITY else Decompressor(coding, max_bytes=limits.max_bytes)
        if self._decompressor is None and int(headers.get("content-length") or 0) > limits.max_bytes:
            raise self._too_large()

    @property
    def disconnected(self) -> bool:
        """True if the client has disconnected, while it sent the body or waited for the answer."""
        return self._disconnected.is_set()

    async def receive(self) -> Message:
        """Return the next part of the body. After the last part, wait until the client disconnects.

        Raises:
            HTTPException: the body breaks a limit or cannot be decompressed.
        """
        if self._complete:
            self._watch()
            await self._disconnected.wait()
            return {"type": "http.disconnect"}
        message = await self._receive_in_time()
        if message["type"] == "http.request":
            more = message.get("more_body", False)
            message = {**message, "body": self._checked(message.get("body", b""), last=not more)}
            if not more:
                self._complete = True
                self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch)
        else:
            self.cut_off = True
            self._disconnected.set()
        return message

    async def close(self) -> None:
        """Stop watching the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher

    async def _receive_in_time(self) -> Message:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._remaining_s):
                message = await self._receive()
        except TimeoutError as exc:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, self._too_slow()) from exc
        self._remaining_s -= asyncio.get_running_loop().time() - began
        return message

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._until_disconnected())

    async def _until_disconnected(self) -> None:
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except Exception as exc:  # noqa: BLE001  any error here means that Serve's proxy died
            log.info("connection_lost", reason=repr(exc))
        self._disconnected.set()
        self._on_disconnect()

    def _checked(self, part: bytes, *, last: bool) -> bytes:
        if self._decompressor is not None:
            part = self._decompressor.decompress(part, last=last)
        self._bytes_read += len(part)
        if self._bytes_read > self._limits.max_bytes:
            raise self._too_large()
        self._count_containers(part)
        enough = self._limits.bytes_per_timeout
        if enough is not None and self._bytes_read - self._bytes_at_restart >= enough:
            self._bytes_at_restart, self._remaining_s = self._bytes_read, self._limits.timeout_s
        return part

    def _count_containers(self, part: bytes) -> None:
        """Count the opening brackets of the part, and refuse the body if it has too many.

        Brackets inside strings count too, because no model reads a string with this many brackets.
        """
        limit = self._limits.max_containers
        if limit is None:
            return
        self._containers += part.count(b"[") + part.count(b"{")
        if self._containers > limit:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request's body opens over {limit:,} arrays and objects; send less at once",
            )

    def _too_slow(self) -> str:
        limits = self._limits
        if limits.bytes_per_timeout is None:
            return (
                f"the request's body did not arrive within {limits.timeout_s:g} s (CLUSTER_BODY_TIMEOUT_S);"
                " send it again, or send less at once"
            )
        return (
            f"fewer than {limits.bytes_per_timeout:,} bytes of the body arrived within {limits.timeout_s:g} s"
            " (CLUSTER_BODY_TIMEOUT_S); send it over a faster connection"
        )

    def _too_large(self) -> HTTPException:
        limits = self._limits
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the request's body is over {limits.max_bytes:,} bytes ({limits.setting}); send less at once",
        )
