"""GET /healthz shows that the process is alive.

GET /readyz shows if the process accepts requests, and if not, which part does not work.
"""

from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request, Response

from serve_app.edge.response_model import Omissible, ResponseModel
from serve_app.edge.service_access import ServiceDep

router = APIRouter()


class Health(ResponseModel):
    """The answer of a process that is alive."""

    status: Literal["ok"] = "ok"
    """Always `ok`."""


class Readiness(ResponseModel):
    """Shows if the process accepts requests."""

    status: Literal["ok", "short", "unavailable", "stopping"]
    """Requests are accepted with `ok` or `short`; with `short`, a resource such as a disk is used up."""
    model: Omissible[Literal["ok", "unavailable"]] = None
    """State of the model."""
    database: Omissible[Literal["ok", "unavailable"]] = None
    """State of the database."""
    short: Omissible[dict[str, str]] = None
    """For each resource that is used up, a sentence that says what to do."""
    providers: Omissible[dict[str, str]] = None
    """For each remote provider that failed repeatedly and is therefore not called for now, a sentence that
    says when the provider is called again. Requests that need no such provider are answered as usual."""


@router.get("/healthz", summary="Check that the process is alive")
async def healthz() -> Health:
    """Answers without a check of the database or the model."""
    return Health()


@router.get(
    "/readyz",
    summary="Check that requests are accepted",
    responses={
        503: {
            "model": Readiness,
            "description": "Requests are not accepted; the body says which part is missing",
        }
    },
)
async def readyz(request: Request, service: ServiceDep, response: Response) -> Readiness:
    """Checks the database.

    The model needs no check, because the process answers only after it has loaded the model. A process that
    is about to stop is not ready.

    While a resource such as a disk is used up, texts are still embedded and stores are still searched. The
    status code is then 200, `status` is `short`, and `short` says for each resource what to do.
    """
    if request.app.state.stopping():
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(status="stopping")
    if not await service.database_answers():
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(status="unavailable", model="ok", database="unavailable")
    short = {resource.value: resource.sentence for resource in sorted(await service.shortages())}
    return Readiness(
        status="short" if short else "ok",
        model="ok",
        database="ok",
        short=short or None,
        providers=await service.unavailable_providers() or None,
    )
