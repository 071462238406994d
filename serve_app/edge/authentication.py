"""Authentication: which organisation a request acts for, and the refusal of requests without a valid key.

``Boundary``, the outermost layer, authenticates every request before a route sees it, so no route can forget
to. Routes depend on ``Organisation``, and every query they make names it. ``cluster.organisations.keys``
knows the keys.

    authenticator = Authenticator(open_keys(settings))
    authenticator.authenticate(scope)
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

from cluster.organisations.keys import Keys

#: Paths that need no key: those that load balancers ask, and those that only describe the API.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
SCHEME = "bearer"
#: The header in which Azure OpenAI's clients send their key.
AZURE_HEADER = "api-key"
#: Name in the ASGI scope of the organisation that the request acts for.
SCOPE_NAME = "cluster.organisation"


class Authenticator:
    """Authenticates requests by their API key."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def authenticate(self, scope: Scope) -> None:
        """Write the organisation that the request acts for into its scope. Requests for open paths need none.

        Raises:
            HTTPException: 401, the request carries no key or one that does not exist.
        """
        organisation, key = self._keys.without_key, None
        if organisation is None and (key := _key(Headers(scope=scope))):
            organisation = self._keys.organisation_for(key)
        if organisation is not None:
            scope[SCOPE_NAME] = organisation
        elif scope["path"] not in OPEN_PATHS:
            problem = "The API key is not the one of this server" if key else "The request carries no API key"
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                f"{problem}; send it as 'Authorization: Bearer KEY'",
                headers={"www-authenticate": "Bearer"},
            )


def _key(headers: Headers) -> bytes | None:
    """The key of the request; empty or None where it carries none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if not scheme and AZURE_HEADER in headers:
        return headers[AZURE_HEADER].strip().encode("latin-1")
    return key.strip().encode("latin-1") if scheme.lower() == SCHEME else None


async def organisation_of_request(request: Request) -> str:
    """The organisation that the request acts for.

    A coroutine, though it waits for nothing: FastAPI runs plain functions in threads, which costs more.
    """
    organisation: str = request.scope[SCOPE_NAME]
    return organisation


Organisation = Annotated[str, Depends(organisation_of_request)]
