"""Find the organisation that a request acts for, and refuse requests without a valid API key.

``Boundary``, the outermost layer, authenticates every request before a route sees it, so no route can forget
the check. Routes depend on ``Organisation``, and every query of a route names the organisation.
``cluster.organisations.keys`` reads the keys.

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

#: Paths that need no key: load balancers call two of them, and the other two only describe the API.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json"})
SCHEME = "bearer"
#: The header in which clients of Azure OpenAI send the API key.
AZURE_HEADER = "api-key"
#: The key in the ASGI scope under which the request's organisation is stored.
SCOPE_NAME = "cluster.organisation"


class Authenticator:
    """Authenticates requests by their API key."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def authenticate(self, scope: Scope) -> None:
        """Write the organisation that the request acts for into the scope. Open paths need no organisation.

        Raises:
            HTTPException: 401, the request has no key, or its key does not exist.
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
    """The API key of the request; empty or None if the request has no key."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if not scheme and AZURE_HEADER in headers:
        return headers[AZURE_HEADER].strip().encode("latin-1")
    return key.strip().encode("latin-1") if scheme.lower() == SCHEME else None


async def organisation_of_request(request: Request) -> str:
    """The organisation that the request acts for.

    This is a coroutine although it waits for nothing, because FastAPI runs plain functions in threads, which
    costs more.
    """
    organisation: str = request.scope[SCOPE_NAME]
    return organisation


Organisation = Annotated[str, Depends(organisation_of_request)]
