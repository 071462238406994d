"""Describe errors in the OpenAPI document: the statuses of each route, and the model of the error object.

router = APIRouter(responses=documented_errors(404, 429))
"""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from serve_app.edge.response_model import ResponseModel

MEANINGS = {
    400: "The request is malformed, or asks for something that the model cannot do; `param` names the field",
    401: "The API key is missing, unknown, expired or revoked",
    403: "The API key does not allow the request; the message names the missing scope, model or store",
    404: "The request names something that does not exist",
    408: "The body did not arrive in time",
    409: "The request contradicts the stored state",
    413: "The body is too large",
    415: "The body's coding or media type is not supported",
    429: "Too many requests wait, a limit is reached, or the deadline cannot be met; `retry-after` says when"
    " to send it again",
    503: "The database or the model does not answer at the moment; `retry-after` says when to send it again",
}
#: Where the OpenAPI document has the schema of a model.
REFERENCE = "#/components/schemas/{model}"
#: Error statuses that any route may return.
COMMON_STATUSES = (400, 401, 403, 408, 413, 415, 429, 503)


class ErrorDetail(ResponseModel):
    """The details of an error."""

    message: str
    """A sentence that names the input, the limit and the remedy."""
    type: str
    """`invalid_request_error`, `rate_limit_error`, `insufficient_quota` or `server_error`."""
    param: str | None
    """The field as it appears in the request, such as `documents[0].text`."""
    code: str | None
    """A short code, such as `model_not_found`."""


class ErrorResponse(ResponseModel):
    """OpenAI's error object."""

    error: ErrorDetail
    """The error."""


ERROR_REFERENCE = REFERENCE.format(model=ErrorResponse.__name__)


def documented_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's argument ``responses`` for these statuses and the ``COMMON_STATUSES``.

    The answers refer to the model of the error object (``describe_errors``). If they had the model, FastAPI
    would build 1,300 validators at each start.
    """
    return {
        status: {
            "description": MEANINGS[status],
            "content": {"application/json": {"schema": {"$ref": ERROR_REFERENCE}}},
        }
        for status in sorted({*COMMON_STATUSES, *statuses})
    }


def describe_errors(app: FastAPI) -> None:
    """Correct the errors in the OpenAPI document: add the models of the error object, and remove status 422
    with its models, because this API answers invalid requests with 400.
    """
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop(str(HTTPStatus.UNPROCESSABLE_ENTITY.value), None)
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        model = ErrorResponse.model_json_schema(ref_template=REFERENCE, mode="serialization")
        document["components"]["schemas"] = dict(
            sorted({**schemas, **model.pop("$defs"), ErrorResponse.__name__: model}.items())
        )
        return document

    app.openapi = openapi  # type: ignore[method-assign]
