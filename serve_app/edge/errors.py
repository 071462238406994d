"""Turns every error into OpenAI's error object: ``{"error": {"message", "type", "param", "code"}}``.

``api`` installs the handlers. Routes raise the errors of ``cluster.errors``, and the handlers translate these
errors into responses.
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
    BudgetExceeded,
    ClusterError,
    Conflict,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    Permanent,
    QuotaExceeded,
    Retryable,
    Shortage,
    Throttled,
)
from cluster.organisations.idempotency import KeyReused
from cluster.text.well_formed import json_bytes
from serve_app.edge.validation_messages import validation_message
from serve_app.embedding.served_models import ModelNotFound
from serve_app.messages import shortened

log = structlog.get_logger(__name__)

#: OpenAI's error code for each HTTP status that is raised as an HTTPException.
CODES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}

#: Maximum number of characters of a message, because a message may quote a long name from the request.
MAX_MESSAGE_LENGTH = 2_000

#: The HTTP status, OpenAI's type and OpenAI's code for each error class. Subclasses come before their base
#: classes, because the first match is used.
ERROR_TABLE: tuple[tuple[type[ClusterError], HTTPStatus, str, str | None], ...] = (
    (KeyReused, HTTPStatus.BAD_REQUEST, "invalid_request_error", "idempotency_key_reused"),
    (InvalidInput, HTTPStatus.BAD_REQUEST, "invalid_request_error", None),
    (NotAuthenticated, HTTPStatus.UNAUTHORIZED, "invalid_request_error", "invalid_api_key"),
    (NotPermitted, HTTPStatus.FORBIDDEN, "invalid_request_error", "insufficient_permissions"),
    (QuotaExceeded, HTTPStatus.TOO_MANY_REQUESTS, "insufficient_quota", "insufficient_quota"),
    (NotFound, HTTPStatus.NOT_FOUND, "invalid_request_error", "not_found"),
    (BudgetExceeded, HTTPStatus.TOO_MANY_REQUESTS, "insufficient_quota", "insufficient_quota"),
    (Conflict, HTTPStatus.CONFLICT, "invalid_request_error", "conflict"),
    (Throttled, HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error", "rate_limit_exceeded"),
    (Shortage, HTTPStatus.SERVICE_UNAVAILABLE, "server_error", "short"),
    (Retryable, HTTPStatus.SERVICE_UNAVAILABLE, "server_error", "unavailable"),
    (Permanent, HTTPStatus.INTERNAL_SERVER_ERROR, "server_error", None),
)


def error_response(
    status: int,
    message: str,
    *,
    type: str = "invalid_request_error",
    param: str | None = None,
    code: str | None = None,
    retry_after_s: float = 0,
) -> Response:
    """Build the response for one error."""
    headers = {"retry-after": str(math.ceil(retry_after_s))} if retry_after_s else None
    error = {"message": shortened(message, MAX_MESSAGE_LENGTH), "type": type, "param": param, "code": code}
    return Response(json_bytes({"error": error}), status, headers=headers, media_type="application/json")


def install_error_handlers(app: FastAPI) -> None:
    """Turn the exceptions that a route raises on purpose into error responses.

    ``boundary`` turns every other exception into a response.
    """
    app.add_exception_handler(ClusterError, _deliberate_error)
    app.add_exception_handler(RequestValidationError, _deliberate_error)
    app.add_exception_handler(HTTPException, _http_error)


def unexpected_error_response(exc: Exception) -> Response:
    """Log an unexpected error with its traceback, and build the response for it, with status 500."""
    log.error("request_failed", exc_info=exc)
    return error_response(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal error; the server's log describes it under this request's x-request-id",
        type="server_error",
    )


def response_of(exc: ClusterError | RequestValidationError) -> Response:
    """Build the response for an error that this application or FastAPI's validation raises on purpose."""
    if isinstance(exc, RequestValidationError):
        described = validation_message(exc.errors(), exc.body)
        return error_response(HTTPStatus.BAD_REQUEST, described.message, param=described.param)
    param = exc.param if isinstance(exc, InvalidInput) else None
    if isinstance(exc, ModelNotFound):
        return error_response(HTTPStatus.NOT_FOUND, str(exc), param=exc.param, code="model_not_found")
    for kind, status, type, code in ERROR_TABLE:
        if isinstance(exc, kind):
            wait_s = max(1.0, exc.retry_after_s or 1.0) if isinstance(exc, (Retryable, BudgetExceeded)) else 0
            if status == HTTPStatus.INTERNAL_SERVER_ERROR:
                return unexpected_error_response(exc)
            response = error_response(
                status, str(exc), type=type, param=param, code=code, retry_after_s=wait_s
            )
            if isinstance(exc, BudgetExceeded):
                # OpenAI's clients obey this header. Without it, they repeat a request that got a 429.
                response.headers["x-should-retry"] = "false"
            if status == HTTPStatus.UNAUTHORIZED:
                response.headers["www-authenticate"] = "Bearer"
            return response
    return unexpected_error_response(exc)


def _deliberate_error(request: Request, exc: Exception) -> Response:
    del request
    assert isinstance(exc, ClusterError | RequestValidationError)
    return response_of(exc)


def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return http_error_response(exc, request.scope)


def http_error_response(exc: HTTPException, scope: Scope) -> Response:
    """Build the response for an HTTPException of the framework or of this application."""
    messages = {
        HTTPStatus.NOT_FOUND: f"the path {scope['path']} does not exist; see /docs",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{scope['method']} is not allowed on {scope['path']}; see /docs",
    }
    status = HTTPStatus(exc.status_code)
    type = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    response = error_response(
        status, messages.get(status, str(exc.detail)), type=type, code=CODES.get(status)
    )
    response.headers.update(exc.headers or {})
    return response
