"""Every error of the endpoint, in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``.

Installed on the application by ``api``; routes raise the cluster's own errors and these handlers translate.
"""

import math
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from cluster.errors import (
    ClusterError,
    Conflict,
    InvalidInput,
    NotFound,
    Permanent,
    Retryable,
    Shortage,
    Throttled,
)
from cluster.organisations.idempotency import KeyReused
from cluster.text.well_formed import json_bytes
from serve_app.edge.validation_messages import shortened, validation_message

log = structlog.get_logger(__name__)

#: OpenAI's codes for errors that have a status of their own.
CODES = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}

#: Characters of an error's sentence: a name of a megabyte is not sent back whole.
LONGEST_MESSAGE = 2_000

#: Our errors, most special first: status, OpenAI's type, OpenAI's code.
TABLE: tuple[tuple[type[ClusterError], HTTPStatus, str, str | None], ...] = (
    (KeyReused, HTTPStatus.BAD_REQUEST, "invalid_request_error", "idempotency_key_reused"),
    (InvalidInput, HTTPStatus.BAD_REQUEST, "invalid_request_error", None),
    (NotFound, HTTPStatus.NOT_FOUND, "invalid_request_error", "not_found"),
    (Conflict, HTTPStatus.CONFLICT, "invalid_request_error", "conflict"),
    (Throttled, HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"),
    (Shortage, HTTPStatus.SERVICE_UNAVAILABLE, "server_error", "short"),
    (Retryable, HTTPStatus.SERVICE_UNAVAILABLE, "server_error", "unavailable"),
    (Permanent, HTTPStatus.INTERNAL_SERVER_ERROR, "server_error", None),
)


class ModelNotFound(NotFound):
    """The request names a model that is not served here."""


def error_response(
    status: int,
    message: str,
    *,
    type: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    retry_after_s: float = 0,
) -> Response:
    """The response of one error."""
    headers = {"retry-after": str(math.ceil(retry_after_s))} if retry_after_s else None
    error = {"message": shortened(message, LONGEST_MESSAGE), "type": type, "param": param, "code": code}
    return Response(json_bytes({"error": error}), status, headers=headers, media_type="application/json")


def install(app: FastAPI) -> None:
    """Handle everything that leaves a route as an exception."""
    app.add_exception_handler(ClusterError, _ours)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


def unexpected(exc: Exception) -> Response:
    """For what nobody foresaw: recorded with its trace, told without it."""
    log.error("request_failed", exc_info=exc)
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal error; the log has it under this request's id",
        type="server_error",
    )


def _ours(request: Request, exc: Exception) -> Response:
    del request
    assert isinstance(exc, ClusterError)
    param = exc.param if isinstance(exc, InvalidInput) else None
    if isinstance(exc, ModelNotFound):
        return error_response(HTTPStatus.NOT_FOUND, str(exc), param="model", code="model_not_found")
    for kind, status, type, code in TABLE:
        if isinstance(exc, kind):
            wait_s = max(1.0, exc.retry_after_s or 1.0) if isinstance(exc, Retryable) else 0
            if status == HTTPStatus.INTERNAL_SERVER_ERROR:
                return unexpected(exc)
            return error_response(status, str(exc), type=type, param=param, code=code, retry_after_s=wait_s)
    return unexpected(exc)


def _validation(request: Request, exc: Exception) -> Response:
    del request
    assert isinstance(exc, RequestValidationError)
    found = validation_message(exc.errors(), exc.body)
    return error_response(HTTPStatus.BAD_REQUEST, found.message, param=found.param)


def _http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return http_error(exc, request.scope)


def http_error(exc: HTTPException, scope: Scope) -> Response:
    """The response of an error that has a status of its own: the framework's, or of a body that breaks a limit."""
    messages = {
        HTTPStatus.NOT_FOUND: f"no such path: {scope['path']}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{scope['method']} is not allowed here",
    }
    status = HTTPStatus(exc.status_code)
    type = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    response = error_response(
        status, messages.get(status, str(exc.detail)), type=type, code=CODES.get(status)
    )
    response.headers.update(exc.headers or {})
    return response
