"""A request's body as it arrives: no longer than allowed, no slower than allowed, unpacked if it is packed; and the caller's leaving.

Used by ``boundary`` around the server's own ``receive``.

    body = Body(receive, scope, Limits(most=8 * MIB, setting="CLUSTER_MAX_REQUEST_BYTES", timeout_s=30), on_leave=task.cancel)
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

from serve_app.edge.content_headers import IDENTITY, coding_of
from serve_app.edge.decompression import Unpacker

log = structlog.get_logger(__name__)

#: A request that ends before costs no task to watch its connection.
WATCH_AFTER_S = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What the bodies of some requests must keep to."""

    #: Bytes, when unpacked.
    most: int
    #: The setting that says so.
    setting: str
    #: Seconds to wait for the whole body; time the server takes to deal with what came does not count.
    timeout_s: float
    #: Where given, the seconds are for so many bytes, and begin anew once those are there: long bodies may take long.
    bytes_per_timeout: int | None = None
    #: May be packed.
    packed: bool = True
    #: Arrays and objects it may open, if it is JSON: each costs a hundred times its two bytes.
    containers: int | None = None


class Body:
    """Of one request. ``receive`` raises HTTPException, which what reads the body lets through."""

    def __init__(
        self, receive: Receive, scope: Scope, limits: Limits, *, on_leave: Callable[[], Any]
    ) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._patience_s = limits.timeout_s
        self._read_before = 0
        self._on_leave = on_leave
        self._read = 0
        self._containers = 0
        self._left = asyncio.Event()
        #: The caller left in the middle of the body.
        self.cut_off = False
        self._complete = False
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None
        coding = coding_of(headers, packed=limits.packed)
        self._unpacker = None if coding == IDENTITY else Unpacker(coding, most=limits.most)
        if self._unpacker is None and int(headers.get("content-length") or 0) > limits.most:
            raise self._too_large()

    @property
    def left(self) -> bool:
        """True once the caller closed the connection, in the middle of the body or without waiting for the answer."""
        return self._left.is_set()

    async def receive(self) -> Message:
        """The next part of the body; once it is complete, the news that the caller left."""
        if self._complete:
            self._watch()
            await self._left.wait()
            return {"type": "http.disconnect"}
        message = await self._in_time()
        if message["type"] == "http.request":
            more = message.get("more_body", False)
            message = {**message, "body": self._checked(message.get("body", b""), last=not more)}
            if not more:
                self._complete = True
                self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._watch)
        else:
            self.cut_off = True
            self._left.set()
        return message

    async def close(self) -> None:
        """Stop watching the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher

    async def _in_time(self) -> Message:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._patience_s):
                message = await self._receive()
        except TimeoutError as exc:
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, self._too_slow()) from exc
        self._patience_s -= asyncio.get_running_loop().time() - began
        return message

    def _watch(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._until_left())

    async def _until_left(self) -> None:
        try:
            while (await self._receive())["type"] != "http.disconnect":
                pass
        except Exception as exc:  # noqa: BLE001  the task's edge: Serve's proxy died, and the caller's connection with it
            log.info("connection_lost", reason=repr(exc))
        self._left.set()
        self._on_leave()

    def _checked(self, part: bytes, *, last: bool) -> bytes:
        if self._unpacker is not None:
            part = self._unpacker.unpacked(part, last=last)
        self._read += len(part)
        if self._read > self._limits.most:
            raise self._too_large()
        self._count_containers(part)
        enough = self._limits.bytes_per_timeout
        if enough is not None and self._read - self._read_before >= enough:
            self._read_before, self._patience_s = self._read, self._limits.timeout_s
        return part

    def _count_containers(self, part: bytes) -> None:
        """Those in texts count, too: a text that reaches the limit by itself is longer than any model reads."""
        most = self._limits.containers
        if most is None:
            return
        self._containers += part.count(b"[") + part.count(b"{")
        if self._containers > most:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request's body opens over {most:,} arrays and objects; send less at once",
            )

    def _too_slow(self) -> str:
        limits = self._limits
        if limits.bytes_per_timeout is None:
            return f"the request's body did not arrive within {limits.timeout_s:g} s (CLUSTER_BODY_TIMEOUT_S)"
        return f"fewer than {limits.bytes_per_timeout:,} bytes of the body arrived within {limits.timeout_s:g} s (CLUSTER_BODY_TIMEOUT_S)"

    def _too_large(self) -> HTTPException:
        limits = self._limits
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the request's body is over {limits.most:,} bytes ({limits.setting}); send less at once",
        )
