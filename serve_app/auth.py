"""Whose request it is. Every route depends on ``organisation``, and every query it makes names it.

A coroutine though it waits for nothing: FastAPI runs plain functions in threads, which costs more than they do.
"""

from typing import Annotated

from fastapi import Depends, Request

from serve_app.state import service_of


async def organisation(request: Request) -> str:
    """The organisation the request acts for: the server's own, until there are keys for others."""
    return service_of(request).settings.organisation


Organisation = Annotated[str, Depends(organisation)]
