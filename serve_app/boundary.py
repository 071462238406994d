"""What every request passes first and every response last: its id, its size limit, its line in the log, its unforeseen errors.

A plain ASGI layer, so that a body over the limit is refused while it arrives and before anything parses it.
"""

import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.logs import about
from serve_app.errors import error_response, unexpected

log = structlog.get_logger(__name__)

#: An id from outside ends up in logs and headers: only what is harmless there is echoed.
SANE_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
QUIET_PATHS = frozenset({"/healthz", "/readyz"})


class Boundary:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, max_request_bytes: int) -> None:
        self._app = app
        self._most = max_request_bytes
        self._limit = f"the request's body is over {max_request_bytes:,} bytes (CLUSTER_MAX_REQUEST_BYTES); send fewer inputs at once"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        id = given if SANE_ID.fullmatch(given) else f"req_{uuid4().hex}"
        with about(request=id):
            await self._serve(scope, receive, send, id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, id: str) -> None:
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = id
            await send(message)

        try:
            if int(Headers(scope=scope).get("content-length") or 0) > self._most:
                await error_response(TOO_LARGE, self._limit, code="request_too_large")(scope, receive, send_with_id)
                return
            await self._app(scope, self._counted(receive), send_with_id)
        except Exception as exc:  # the process edge: ``unexpected`` logs it with its trace
            if status:
                raise
            await unexpected(exc)(scope, receive, send_with_id)
        finally:
            if scope["path"] not in QUIET_PATHS:
                milliseconds = round((time.perf_counter() - started) * 1000, 1)
                log.info("request", method=scope["method"], path=scope["path"], status=status, ms=milliseconds)

    def _counted(self, receive: Receive) -> Receive:
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise HTTPException(TOO_LARGE, self._limit)  # what parses the body lets this one through
            return message

        return counted
