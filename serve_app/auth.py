"""Whose request it is. Every route depends on ``organisation``, and every query it makes names it."""

from typing import Annotated

from fastapi import Depends, Request

from serve_app.state import service_of


def organisation(request: Request) -> str:
    """The organisation the request acts for: the server's own, until there are keys for others."""
    return service_of(request).settings.organisation


Organisation = Annotated[str, Depends(organisation)]
