"""What every request passes first and every response last: its key, its id, its limits, its line in the log, its unforeseen errors.

A plain ASGI layer, so that a body over the limit is refused while it arrives and before anything parses it, and a request
whose caller has left is ended before it costs anything more.
"""

import asyncio
import math
import re
import time
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.logs import about
from cluster.organisations.keys import open_keys
from cluster.settings import Settings
from serve_app.edge.authentication import Authenticator
from serve_app.edge.body import Body, Limits
from serve_app.edge.content_headers import as_json
from serve_app.edge.cors import Cors, RawHeaders
from serve_app.edge.errors import http_error, unexpected

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
#: Arrays and objects of one JSON body.
MAX_CONTAINERS = 1_000_000
#: An upload that stays below this is not going to end.
SLOWEST_BYTES_PER_S = 8 * 1024


class Boundary:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._authenticator = Authenticator(open_keys(settings))
        self._cors = Cors(settings.cors_origins)
        self._longest_s = settings.request_timeout_s
        patience = settings.body_timeout_s
        self._limits = Limits(
            most=settings.max_request_bytes,
            setting="CLUSTER_MAX_REQUEST_BYTES",
            timeout_s=patience,
            containers=MAX_CONTAINERS,
        )
        self._limits_of_uploads = {
            paths: Limits(
                most=most + FORM_BYTES,
                setting=setting,
                timeout_s=patience,
                bytes_per_timeout=math.ceil(SLOWEST_BYTES_PER_S * patience),
                packed=False,  # a form is packed already or small, and unpacking would hold up everybody else
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
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        id = given if SANE_ID.fullmatch(given) else f"req_{uuid4().hex}"
        answer = _Answer(send, id, self._cors.headers(headers), bodiless=scope["method"] == "HEAD")
        with about(request=id):
            await self._serve(scope, receive, headers, answer)

    async def _serve(self, scope: Scope, receive: Receive, headers: Headers, answer: "_Answer") -> None:
        try:
            if (preflight := self._cors.preflight(scope, headers)) is not None:
                await preflight(scope, receive, answer.send)
                return
            self._authenticator.authenticate(scope)
            await self._answered(_as_the_routes_see_it(scope, headers), receive, answer)
        except ClientDisconnect:
            answer.cut_off()
        except (
            HTTPException
        ) as exc:  # of the key, the body's headers or the time, outside of all that would translate it
            if answer.status:
                raise
            await http_error(exc, scope)(scope, receive, answer.send)
        except Exception as exc:  # the process edge: ``unexpected`` logs it with its trace
            if answer.status:
                raise
            await unexpected(exc)(scope, receive, answer.send)
        finally:
            if scope["path"] not in QUIET_PATHS:
                milliseconds = round(answer.milliseconds, 1)
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=answer.status,
                    ms=milliseconds,
                )

    async def _answered(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Have the request answered, as far as its caller stays.

        Raises:
            HTTPException: 503, the answer did not begin in time.
        """
        task = asyncio.current_task()
        assert task is not None

        def leave() -> None:
            if not answer.whole:
                task.cancel()

        body = Body(receive, scope, self._limits_of(scope), on_leave=leave)
        limit = asyncio.timeout(
            None if scope["method"] == "POST" and TRANSFERS.fullmatch(scope["path"]) else self._longest_s
        )

        async def send_in_time(message: Message) -> None:
            if not limit.expired():
                limit.reschedule(None)
            await answer.send(message)

        try:
            async with limit:
                await self._app(scope, body.receive, send_in_time)
        except TimeoutError as exc:
            if not limit.expired():
                raise
            message = f"not answered within {self._longest_s:g} s (CLUSTER_REQUEST_TIMEOUT_S); try again"
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, message, headers={"retry-after": "1"}
            ) from exc
        except asyncio.CancelledError:
            if not body.left:
                raise
            task.uncancel()
        finally:
            if body.cut_off:  # FastAPI answers that with a refusal, which has no receiver
                answer.status = CLIENT_CLOSED
            elif body.left:
                answer.cut_off()
            await body.close()

    def _limits_of(self, scope: Scope) -> Limits:
        if scope["method"] == "POST":
            for paths, limits in self._limits_of_uploads.items():
                if paths.fullmatch(scope["path"]):
                    return limits
        return self._limits


def _as_the_routes_see_it(scope: Scope, headers: Headers) -> Scope:
    """A HEAD is a GET whose body is not sent; a body without a type is JSON, except where forms are read."""
    if scope["method"] == "HEAD":
        return {**scope, "method": "GET"}
    return (
        scope if FILES.fullmatch(scope["path"]) or PARTS.fullmatch(scope["path"]) else as_json(scope, headers)
    )


class _Answer:
    """What was answered so far. ``send`` adds the headers that every answer carries."""

    def __init__(self, send: Send, id: str, headers: RawHeaders, *, bodiless: bool) -> None:
        self._send = send
        self._headers: RawHeaders = [(b"x-request-id", id.encode()), *headers]
        self._bodiless = bodiless
        self._began = time.perf_counter()
        #: 0 before it begins.
        self.status = 0
        #: From here on the server says that the caller has left, whether or not he has.
        self.whole = False

    @property
    def milliseconds(self) -> float:
        """Since the request came."""
        return (time.perf_counter() - self._began) * 1000

    def cut_off(self) -> None:
        """Note that the caller left, if the answer is not whole."""
        if not self.whole:
            self.status = CLIENT_CLOSED

    async def send(self, message: Message) -> None:
        """Pass on a part of the answer.

        Raises:
            ClientDisconnect: no more of it is wanted, as in the middle of the body of an answer to HEAD.
        """
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            took = (b"openai-processing-ms", str(round(self.milliseconds)).encode())
            await self._send({**message, "headers": [*message.get("headers", ()), *self._headers, took]})
            return
        if self._bodiless:
            if self.whole:
                raise ClientDisconnect
            message = {"type": "http.response.body"}
        self.whole = not message.get("more_body", False)
        await self._send(message)
