"""Gives routes access to the service that ``api.build_api`` stores in the application."""

from typing import Annotated, cast

from fastapi import Depends, Request

from serve_app.service import Service


def service_of(request: Request) -> Service:
    """Return the service of this application."""
    return cast(Service, request.app.state.service)


async def _service(request: Request) -> Service:
    return service_of(request)  # in a coroutine, because FastAPI would run a plain function in a thread


ServiceDep = Annotated[Service, Depends(_service)]
