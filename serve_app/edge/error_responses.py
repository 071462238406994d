"""The OpenAPI document's part on errors: which statuses a route answers with, and the one shape they all have.

router = APIRouter(responses=documented_errors(404, 429))
"""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

MEANINGS = {
    400: "The request cannot be understood, or asks for what the model cannot do; `param` names the field",
    401: "The API key is missing, or not the one of this server",
    404: "What the request names does not exist here",
    408: "The body did not arrive in time",
    409: "It contradicts what is stored",
    413: "The body is too large",
    415: "The body's encoding or media type is not understood",
    429: "Too much waits, or the deadline cannot be met; `retry-after` says when to come back",
    503: "The database or the model does not answer at the moment; `retry-after` says when to come back",
}
#: What any route may answer.
ALWAYS = (400, 401, 408, 413, 415, 503)


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """OpenAI's error object."""

    error: ErrorDetail


def documented_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For FastAPI's ``responses``: these statuses and those any route may answer with."""
    return {
        status: {"model": ErrorResponse, "description": MEANINGS[status]}
        for status in sorted({*ALWAYS, *statuses})
    }


def describe(app: FastAPI) -> None:
    """Leave out FastAPI's own status for requests that are not valid, since ours is 400."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop(str(HTTPStatus.UNPROCESSABLE_ENTITY.value), None)
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]
