"""What every request passes first and every response last: its key, its id, its limits, its line in the log, its unforeseen errors.

A plain ASGI layer, so that a body over the limit is refused while it arrives and before anything parses it, and a request
whose caller has left is ended before it costs anything more.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.logs import about
from cluster.settings import Settings
from serve_app.auth import Door
from serve_app.body import Body, Limits
from serve_app.errors import http_error, unexpected

log = structlog.get_logger(__name__)

#: An id from outside ends up in logs and headers: only what is harmless there is echoed.
SANE_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
QUIET_PATHS = frozenset({"/healthz", "/readyz"})
#: What logs say of a request whose caller closed the connection, since nginx began to.
CLIENT_CLOSED = 499

FILES = re.compile(r"/v1/files|/upload")
PARTS = re.compile(r"/v1/uploads/[^/]+/parts")
#: What is answered when a whole file has arrived or been written, which takes as long as it takes.
TRANSFERS = re.compile(rf"{FILES.pattern}|{PARTS.pattern}|/v1/uploads/[^/]+/complete")
#: Around a file its form needs this much at most.
FORM_BYTES = 256 * 1024
#: An upload that stays below this is not going to end.
SLOWEST_BYTES_PER_S = 8 * 1024


class Boundary:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._door = Door(settings.api_key)
        self._longest_s = settings.request_timeout_s
        patience = settings.body_timeout_s
        self._limits = Limits(most=settings.max_request_bytes, setting="CLUSTER_MAX_REQUEST_BYTES", timeout_s=patience)
        self._limits_of_uploads = {
            paths: Limits(
                most=most + FORM_BYTES,
                setting=setting,
                timeout_s=patience,
                bytes_per_timeout=math.ceil(SLOWEST_BYTES_PER_S * patience),
                gzip=False,  # a form is packed already or small, and unpacking would hold up everybody else
            )
            for paths, most, setting in (
                (FILES, settings.max_file_bytes, "CLUSTER_MAX_FILE_BYTES"),
                (PARTS, settings.max_part_bytes, "CLUSTER_MAX_PART_BYTES"),
            )
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        id = given if SANE_ID.fullmatch(given) else f"req_{uuid4().hex}"
        with about(request=id):
            await self._serve(scope, receive, send, id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, id: str) -> None:
        started, status, whole = time.perf_counter(), 0, False

        async def send_with_id(message: Message) -> None:
            nonlocal status, whole
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)["x-request-id"] = id
            elif not message.get("more_body", False):
                whole = True  # from here on the server says that the caller has left, whether or not he has
            await send(message)

        try:
            self._door.check(scope)
            if not await self._answered(scope, receive, send_with_id, whole=lambda: whole):
                status = CLIENT_CLOSED
        except ClientDisconnect:  # in the middle of its body
            status = CLIENT_CLOSED
        except HTTPException as exc:  # of the key, the body's header or the time, outside of all that would translate it
            if status:
                raise
            await http_error(exc, scope)(scope, receive, send_with_id)
        except Exception as exc:  # the process edge: ``unexpected`` logs it with its trace
            if status:
                raise
            await unexpected(exc)(scope, receive, send_with_id)
        finally:
            if scope["path"] not in QUIET_PATHS:
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                log.info("request", method=scope["method"], path=scope["path"], status=status, ms=milliseconds)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, *, whole: Callable[[], bool]) -> bool:
        """False when the caller left before the answer was whole.

        Raises:
            HTTPException: 503, the answer did not begin in time.
        """
        task = asyncio.current_task()
        assert task is not None

        def leave() -> None:
            if not whole():
                task.cancel()

        body = Body(receive, scope, self._limits_of(scope), on_leave=leave)
        limit = asyncio.timeout(None if scope["method"] == "POST" and TRANSFERS.fullmatch(scope["path"]) else self._longest_s)

        async def send_in_time(message: Message) -> None:
            if not limit.expired():
                limit.reschedule(None)
            await send(message)

        try:
            async with limit:
                await self._app(scope, body.receive, send_in_time)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            message = f"not answered within {self._longest_s:g} s (CLUSTER_REQUEST_TIMEOUT_S); try again"
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, message, headers={"retry-after": "1"}) from exc
        except asyncio.CancelledError:
            if not body.left:
                raise
            task.uncancel()
            return False
        finally:
            await body.close()
        return True

    def _limits_of(self, scope: Scope) -> Limits:
        if scope["method"] == "POST":
            for paths, limits in self._limits_of_uploads.items():
                if paths.fullmatch(scope["path"]):
                    return limits
        return self._limits
