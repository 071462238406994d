"""GET /healthz: the process lives. GET /readyz: it can do its work and wants it, or what is missing."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from serve_app.edge.service_access import ServiceDep

router = APIRouter()


@router.get("/healthz", summary="The process lives")
async def healthz() -> dict[str, str]:
    """Nothing is asked of anybody else."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="Requests can be served",
    responses={503: {"description": "Not now; the body says which part is missing"}},
)
async def readyz(request: Request, service: ServiceDep) -> Response:
    """The model is loaded when this can be asked at all; the database is tried. One that is about to stop is not ready.

    While a resource is short, such as a disk, texts are embedded and stores searched as before, so the answer is 200; `status` is
    `short`, and `short` says of each what to do.
    """
    if request.app.state.stopping():
        return JSONResponse({"status": "stopping"}, HTTPStatus.SERVICE_UNAVAILABLE)
    parts = {"model": True, "database": await service.database_answers()}
    states = {name: "ok" if fine else "unavailable" for name, fine in parts.items()}
    if not all(parts.values()):
        return JSONResponse({"status": "unavailable", **states}, HTTPStatus.SERVICE_UNAVAILABLE)
    short = {resource.value: resource.sentence for resource in sorted(await service.shortages())}
    return JSONResponse(
        {"status": "short", **states, "short": short} if short else {"status": "ok", **states}
    )
