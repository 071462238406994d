"""How a route reaches the replica's service."""

from typing import Annotated, cast

from fastapi import Depends, Request

from serve_app.service import Service


def service_of(request: Request) -> Service:
    """The service that ``api.build_api`` put on the application."""
    return cast(Service, request.app.state.service)


async def _service(request: Request) -> Service:
    return service_of(request)  # a coroutine, since FastAPI runs plain functions in threads


ServiceDep = Annotated[Service, Depends(_service)]
