"""The outermost layer of the application. ``Boundary`` checks the key and the limits of each request, and
logs the request and its errors.

The layer uses only ASGI, so it sees a request before other code does. It can refuse a body over the limit
while the body arrives. It can also cancel a request as soon as the client disconnects.
"""

import asyncio
import math
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from uuid import uuid4

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.database import for_organisation
from cluster.errors import ClusterError
from cluster.keys.known_keys import KnownKeys
from cluster.logs import about
from cluster.oidc.tokens import IssuerTokens
from cluster.organisations.caller import Caller, acting_as
from cluster.settings import Settings
from cluster.tracing import SERVER, UNRECORDED, Span, TraceContext, continued_trace
from cluster.tracing.conventions import METHOD, ORGANISATION, PATH, REQUEST_ID, ROUTE, STATUS
from cluster.tracing.trace_context import TRACEPARENT
from serve_app.edge.authentication import Authenticator
from serve_app.edge.bodies.body import BodyLimits, RequestBody
from serve_app.edge.bodies.content_headers import with_json_type
from serve_app.edge.cors import Cors, RawHeaders
from serve_app.edge.errors import http_error_response, response_of, unexpected_error_response
from serve_app.embedding.admission import REQUEST, Admission
from serve_app.request_counts import RequestCounts
from serve_app.usage.usage_recorder import RequestUsage, UsageRecorder

log = structlog.get_logger(__name__)

#: The pattern of request ids that are accepted from clients. An id is written to logs and headers, so it may
#: have only safe characters.
ACCEPTED_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
UNLOGGED_PATHS = frozenset({"/healthz", "/readyz"})
#: The status in the log if the client closed the connection before the answer; nginx uses the same number.
CLIENT_CLOSED = 499

FILES = re.compile(r"/v1/files|/upload")
PARTS = re.compile(r"/v1/uploads/[^/]+/parts")
#: Paths that answer only after a whole file was received or written. The request timeout does not apply to
#: these paths.
TRANSFERS = re.compile(rf"{FILES.pattern}|{PARTS.pattern}|/v1/uploads/[^/]+/complete")
#: Maximum number of bytes in a form besides the file.
FORM_BYTES = 256 * 1024
#: Maximum number of arrays and objects in one JSON body.
MAX_CONTAINERS = 1_000_000
#: Minimum rate of an upload; a slower upload is refused.
MIN_UPLOAD_BYTES_PER_S = 8 * 1024


class Boundary:
    """The outermost layer of the application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        keys: KnownKeys,
        usage: UsageRecorder,
        tokens: IssuerTokens | None = None,
        admission: Admission | None = None,
        rate_headers: Callable[[Caller], Mapping[str, str]] = lambda _: {},
        requests: RequestCounts | None = None,
    ) -> None:
        self._app = app
        self._requests = requests or RequestCounts()
        self._usage = usage
        self._rate_headers = rate_headers
        self._admission = admission or Admission()
        self._authenticator = Authenticator(keys, tokens)
        self._cors = Cors(settings.cors_origins)
        self._timeout_s = settings.request_timeout_s
        timeout_s = settings.body_timeout_s
        self._limits = BodyLimits(
            max_bytes=settings.max_request_bytes,
            setting="CLUSTER_MAX_REQUEST_BYTES",
            timeout_s=timeout_s,
            max_containers=MAX_CONTAINERS,
        )
        self._upload_limits = {
            paths: BodyLimits(
                max_bytes=file_bytes + FORM_BYTES,
                setting=setting,
                timeout_s=timeout_s,
                bytes_per_timeout=math.ceil(MIN_UPLOAD_BYTES_PER_S * timeout_s),
                compressed=False,  # decompressing a file would block the event loop for other requests
            )
            for paths, file_bytes, setting in (
                (FILES, settings.max_file_bytes, "CLUSTER_MAX_FILE_BYTES"),
                (PARTS, settings.max_part_bytes, "CLUSTER_MAX_PART_BYTES"),
            )
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        requested_id = headers.get("x-request-id", "")
        id = requested_id if ACCEPTED_ID.fullmatch(requested_id) else f"req_{uuid4().hex}"
        with about(request=id), _trace_of(scope, headers) as trace:
            more = self._cors.headers(headers)
            if trace.context is not None:
                more = [(TRACEPARENT.encode(), trace.context.traceparent.encode()), *more]
            answer = _Answer(send, id, more, head_only=scope["method"] == "HEAD")
            try:
                await self._serve(scope, receive, headers, answer)
            finally:
                if trace.recorded:
                    _describe(trace, scope, answer)

    async def _serve(self, scope: Scope, receive: Receive, headers: Headers, answer: "_Answer") -> None:
        try:
            if (preflight := self._cors.preflight(scope, headers)) is not None:
                await preflight(scope, receive, answer.send)
                return
            caller = await self._authenticator.authenticate(scope, headers, answer.id)
            if caller is None:
                await self._answer(_scope_for_routes(scope, headers), receive, answer)
                return
            answer.set_caller(caller, self._rate_headers)
            confined = not caller.operates
            with (
                acting_as(caller),
                for_organisation(caller.organisation, confined=confined),
                self._usage.of_request() as answer.usage,
            ):
                async with self._admission.admit(caller.organisation, kind=REQUEST) as admitted:
                    await self._answer(_scope_for_routes(scope, headers), receive, answer)
                    if answer.status < HTTPStatus.BAD_REQUEST:
                        admitted.done()
                if answer.status == CLIENT_CLOSED:
                    answer.usage.abandoned()
        except ClientDisconnect:
            answer.cut_off()
        except HTTPException as exc:
            # This layer's own checks raised the error. The error handlers of the application handle only
            # errors of routes.
            if answer.status:
                raise
            await http_error_response(exc, scope)(scope, receive, answer.send)
        except ClusterError as exc:  # from the authenticator or a gate; routes have their own handler
            if answer.status:
                raise
            await response_of(exc)(scope, receive, answer.send)
        except Exception as exc:  # an unexpected error, which no other code answers or logs
            if answer.status:
                raise
            await unexpected_error_response(exc)(scope, receive, answer.send)
        finally:
            if scope["path"] not in UNLOGGED_PATHS:
                self._requests.add(answer.status)
                milliseconds = round(answer.milliseconds, 1)
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    status=answer.status,
                    ms=milliseconds,
                )

    async def _answer(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        """Run the application, and cancel it if the client disconnects.

        Raises:
            HTTPException: 503, the answer did not begin within CLUSTER_REQUEST_TIMEOUT_S; 413 or 415, the
                headers announce a body that is too large or has a coding that is not supported.
        """
        answer.routed = scope
        task = asyncio.current_task()
        assert task is not None

        def cancel() -> None:
            if not answer.complete:
                task.cancel()

        body = RequestBody(receive, scope, self._limits_of(scope), on_disconnect=cancel)
        limit = asyncio.timeout(
            None if scope["method"] == "POST" and TRANSFERS.fullmatch(scope["path"]) else self._timeout_s
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
            message = (
                f"the request was not answered within {self._timeout_s:g} s (CLUSTER_REQUEST_TIMEOUT_S);"
                " send it again"
            )
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, message, headers={"retry-after": "1"}
            ) from exc
        except asyncio.CancelledError:
            if not body.disconnected:
                raise
            task.uncancel()
        finally:
            if body.cut_off:  # the log must show the disconnect, and not the error that FastAPI then sends
                answer.status = CLIENT_CLOSED
            elif body.disconnected:
                answer.cut_off()
            await body.close()

    def _limits_of(self, scope: Scope) -> BodyLimits:
        if scope["method"] == "POST":
            for paths, limits in self._upload_limits.items():
                if paths.fullmatch(scope["path"]):
                    return limits
        return self._limits


def _trace_of(scope: Scope, headers: Headers) -> Span:
    """Return the span of a request. The span continues the trace that the header names, or begins a trace.
    Health checks have no trace.
    """
    if scope["path"] in UNLOGGED_PATHS:
        return UNRECORDED
    return continued_trace(scope["method"], SERVER, TraceContext.parse(headers.get(TRACEPARENT)))


def _describe(trace: Span, scope: Scope, answer: "_Answer") -> None:
    """Set the name and the attributes of a request's span. The name contains the route and not the path,
    because the path has ids. From status 500 on, the span is marked as failed.
    """
    route = getattr(answer.routed.get("route"), "path", None)
    trace.rename(f"{scope['method']} {route}" if route else scope["method"])
    trace.set(
        {
            METHOD: scope["method"],
            PATH: scope["path"],
            STATUS: answer.status,
            REQUEST_ID: answer.id,
            **({ROUTE: route} if route else {}),
            **({ORGANISATION: answer.organisation} if answer.organisation else {}),
        }
    )
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        trace.fail(str(answer.status))


def _scope_for_routes(scope: Scope, headers: Headers) -> Scope:
    """Return the scope with GET in place of HEAD. If the path reads JSON, add the media type JSON to a
    request without a media type.

    Raises:
        HTTPException: 415, the path reads JSON, and the body has another media type.
    """
    if scope["method"] == "HEAD":
        return {**scope, "method": "GET"}
    return (
        scope
        if FILES.fullmatch(scope["path"]) or PARTS.fullmatch(scope["path"])
        else with_json_type(scope, headers)
    )


class _Answer:
    """Sends the answer and records its state. ``send`` adds the headers that every answer has."""

    def __init__(self, send: Send, id: str, headers: RawHeaders, *, head_only: bool) -> None:
        self._send = send
        #: Id of the request.
        self.id = id
        self._headers: RawHeaders = [(b"x-request-id", id.encode()), *headers]
        self._head_only = head_only
        self._began = time.perf_counter()
        #: Status code of the answer; 0 before the answer begins.
        self.status = 0
        #: Returns the headers about the rates of the caller, as they are when the answer begins.
        self.rate_headers: Callable[[], Mapping[str, str]] | None = None
        #: True as soon as the last part of the body is sent. After that, the server reports a disconnect even
        #: if the client is still connected.
        self.complete = False
        #: The scope that the routes received; empty before the request reaches the routes.
        self.routed: Scope = {}
        #: Id of the caller's organisation; None if the path needs no caller, or before the caller is known.
        self.organisation: str | None = None
        #: Records the usage of the request; None if the path needs no caller.
        self.usage: RequestUsage | None = None

    @property
    def milliseconds(self) -> float:
        """Milliseconds since the request began."""
        return (time.perf_counter() - self._began) * 1000

    def set_caller(self, caller: Caller, rate_headers: Callable[[Caller], Mapping[str, str]]) -> None:
        """Set the caller. If the caller has rates, the answer gets their headers."""
        self.organisation = caller.organisation
        if caller.rates:
            self.rate_headers = partial(rate_headers, caller)

    def cut_off(self) -> None:
        """Record that the client disconnected before the answer was complete."""
        if not self.complete:
            self.status = CLIENT_CLOSED

    async def send(self, message: Message) -> None:
        """Send a part of the answer. The body of the answer to a HEAD request is empty.

        Raises:
            ClientDisconnect: the answer to a HEAD request is complete. The error stops the code that writes
                the body.
        """
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            elapsed = (b"openai-processing-ms", str(round(self.milliseconds)).encode())
            headers = [*message.get("headers", ()), *self._headers, elapsed]
            if self.rate_headers is not None:
                headers += [(name.encode(), value.encode()) for name, value in self.rate_headers().items()]
            await self._send({**message, "headers": headers})
            return
        if self._head_only:
            if self.complete:
                raise ClientDisconnect
            message = {"type": "http.response.body"}
        if self.usage is not None and self.status < HTTPStatus.BAD_REQUEST:
            self.usage.answered()  # before the client receives any of the body
        self.complete = not message.get("more_body", False)
        await self._send(message)
