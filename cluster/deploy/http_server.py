"""Changes the behaviour of the HTTP servers in Ray Serve's proxies and replicas.

RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH (``ray.env``) names ``middlewares``, so Serve calls this function in
each of these processes before the server starts.

- Offers to upgrade the connection are ignored, because uvicorn would lose the body of such a request. HTTP
  allows a server to ignore offers (RFC 9110, 7.8). The HttpClient of Java and ``curl --http2`` send an offer
  with every first request.
- Serve's own errors are plain text; this module gives them the form of OpenAI's errors. Serve's 404 becomes
  503, because Serve's proxy listens before it knows the application.
- An answer has only our ``x-request-id``. The second ``x-request-id``, which Serve adds, is removed.
"""

import json
import time
from http import HTTPStatus

import httptools
import uvicorn.protocols.http.auto
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cluster.deploy.refusals import FAILED, MALFORMED, RETRY_AFTER_S, STARTING, UNAVAILABLE, refusal

REQUEST_ID = b"x-request-id"
CONTENT_TYPE = b"content-type"
TOOK = b"openai-processing-ms"
RETRY_AFTER = b"retry-after"


def middlewares() -> list[Middleware]:
    """Return the middlewares for Serve, and make uvicorn in this process ignore offers to upgrade."""
    ignore_upgrades()
    return [Middleware(ServeErrors)]


def ignore_upgrades() -> None:
    """Make every uvicorn server that starts in this process use ``WithoutUpgrade``."""
    uvicorn.protocols.http.auto.AutoHTTPProtocol = WithoutUpgrade


class WithoutUpgrade(HttpToolsProtocol):
    """Speaks HTTP like uvicorn's protocol on httptools, but ignores offers to upgrade.

    The parser of httptools stops after a request head (request line and headers) with an offer to upgrade.
    This class then parses the head again without the offer.
    """

    def on_headers_complete(self) -> None:
        """Handle a complete head. A head with an offer to upgrade is handled when it is parsed without the
        offer.
        """
        if not self.parser.should_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Handle a complete body. After a head with an offer to upgrade, the parser calls this method too
        early, so the call is ignored.
        """
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Parse bytes from the client. If the parser stops at an offer to upgrade, parse the head again
        without the offer.
        """
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("its head or its chunked body is malformed")
        except httptools.HttpParserUpgrade as stopped:
            if self.parser.get_method() == b"CONNECT":  # CONNECT is for proxies only, and this is not a proxy
                self.send_400_response("CONNECT is a method for proxies, and this is not one")
                return
            head = self._head_without_upgrade()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # uvicorn sets this, too
            self.data_received(head + data[stopped.args[0] :])

    def send_400_response(self, msg: str) -> None:
        """Refuse an invalid request with an error in the same shape as all other errors."""
        body = json.dumps(
            refusal(f"{MALFORMED}: {msg}", code="bad_request", type="invalid_request_error")
        ).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            "content-length: %d\r\nconnection: close\r\n\r\n"
        )
        self.transport.write((head % len(body)).encode() + body)
        self.transport.close()

    def _head_without_upgrade(self) -> bytes:
        """Return the head without the offer to upgrade.

        The header ``connection`` keeps its other options, such as close.
        """
        lines = [
            b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        ]
        for name, value in self.headers:
            if name == b"connection":
                others = [
                    part
                    for part in value.split(b",")
                    if part.strip().lower() not in (b"upgrade", b"http2-settings")
                ]
                if not others:
                    continue
                value = b",".join(others)
            if name not in (b"upgrade", b"http2-settings"):
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])


class ServeErrors:
    """Gives Serve's own errors OpenAI's shape, and keeps only one request id in each answer.

    Serve runs this middleware as the outermost layer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to the application. Give the answer one request id, and replace Serve's own
        errors.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, replaced = time.perf_counter(), False

        async def corrected(message: Message) -> None:
            nonlocal replaced
            if message["type"] != "http.response.start":
                if not replaced:
                    await send(message)
                return
            headers = _with_one_id(message.get("headers", ()))
            status = int(message["status"])
            replaced = _is_of_serve(status, headers)
            if not replaced:
                await send({**message, "headers": headers})
                return
            ids = [(name, value) for name, value in headers if name == REQUEST_ID]
            for part in _refused(status, ids, began):
                await send(part)

        await self._app(scope, receive, corrected)


def _with_one_id(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers with one request id only. Serve adds a second request id after ours."""
    kept, has_id = [], False
    for name, value in headers:
        if name.lower() != REQUEST_ID:
            kept.append((name, value))
        elif not has_id:
            has_id = True
            kept.append((REQUEST_ID, value))
    return kept


def _is_of_serve(status: int, headers: list[tuple[bytes, bytes]]) -> bool:
    """Return True for an error of Serve itself. Such an error is plain text; the application's errors are
    never plain text.
    """
    if status < HTTPStatus.BAD_REQUEST:
        return False
    return any(name.lower() == CONTENT_TYPE and value.startswith(b"text/plain") for name, value in headers)


def _refused(status: int, ids: list[tuple[bytes, bytes]], began: float) -> list[Message]:
    if status == HTTPStatus.NOT_FOUND:
        status, message = HTTPStatus.SERVICE_UNAVAILABLE, STARTING
    else:
        message = UNAVAILABLE if status == HTTPStatus.SERVICE_UNAVAILABLE else FAILED
    body = json.dumps(refusal(message)).encode()
    took = str(round((time.perf_counter() - began) * 1000)).encode()
    headers = [
        (CONTENT_TYPE, b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (TOOK, took),
        *ids,
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((RETRY_AFTER, str(RETRY_AFTER_S).encode()))
    return [
        {"type": "http.response.start", "status": int(status), "headers": headers},
        {"type": "http.response.body", "body": body},
    ]
