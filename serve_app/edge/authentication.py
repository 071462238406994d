"""Whose request it is, and whether it may ask at all.

With ``CLUSTER_API_KEY`` the outermost layer (``boundary``) lets nothing through without that key but what is in ``OPEN``: no route has
to remember it. Every route depends on ``organisation``, and every query it makes names it.

    door = Door(settings.api_key)
    door.check(scope)
"""

from hmac import compare_digest
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from serve_app.edge.service_access import service_of

#: What load balancers ask, and what only describes the API.
OPEN = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
SCHEME = "bearer"
#: The header in which Azure OpenAI's clients send their key.
AZURES = "api-key"


class Door:
    """Open to all without a key."""

    def __init__(self, key: SecretStr | None) -> None:
        self._key = None if key is None else key.get_secret_value().encode()

    def check(self, scope: Scope) -> None:
        """Pass if the request may ask.

        Raises:
            HTTPException: 401, it may not.
        """
        if self._key is None or scope["path"] in OPEN:
            return
        headers = Headers(scope=scope)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if not scheme and AZURES in headers:
            scheme, given = SCHEME, headers[AZURES]
        if scheme.lower() != SCHEME or not compare_digest(given.strip().encode("latin-1"), self._key):
            said = "The API key is not the one of this server" if given else "The request carries no API key"
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                f"{said}; send it as 'Authorization: Bearer KEY'",
                headers={"www-authenticate": "Bearer"},
            )


async def organisation(request: Request) -> str:
    """The organisation the request acts for: the server's own, until there are keys for others.

    A coroutine though it waits for nothing: FastAPI runs plain functions in threads, which costs more than they do.
    """
    return service_of(request).settings.organisation


Organisation = Annotated[str, Depends(organisation)]
