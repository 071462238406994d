"""Find the caller of a request by its API key or token, and refuse requests without one that works.

``Boundary``, the outermost layer, authenticates every request before a route sees it, so no route can forget
the check. Routes depend on ``Organisation``, and every query of a route names the organisation.
``cluster.keys.known_keys`` knows the keys, ``cluster.oidc`` checks tokens, and ``permissions`` checks scopes.

    caller = await Authenticator(keys).authenticate(scope, headers, request_id)
"""

from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import Scope

from cluster.keys.known_keys import KnownKeys
from cluster.oidc.tokens import IssuerTokens, may_be_a_token
from cluster.organisations.caller import Caller

#: Paths that need no key. Load balancers call ``/healthz`` and ``/readyz``, and the other paths only describe
#: the API.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/docs", "/openapi.json", "/console"})
#: Beginning of the paths of the console's files. The files need no key either, because they contain no data.
#: The page itself asks its reader for a key.
CONSOLE = "/console/"
SCHEME = "bearer"
#: The header in which clients of Azure OpenAI send the API key.
AZURE_HEADER = "api-key"
#: The header in which OpenAI's clients name an organisation.
ORGANISATION_HEADER = "openai-organization"
#: The key in the ASGI scope under which the request's organisation is stored.
SCOPE_NAME = "cluster.organisation"


class Authenticator:
    """Authenticates requests by their API key or their token.

    Args:
        keys: finds the caller of an API key.
        tokens: finds the caller of a token; None if the settings have no issuer of tokens.
    """

    def __init__(self, keys: KnownKeys, tokens: IssuerTokens | None = None) -> None:
        self._keys, self._tokens = keys, tokens

    async def authenticate(self, scope: Scope, headers: Headers, request_id: str) -> Caller | None:
        """Return the caller of the request, and write the caller's organisation into the scope.

        Returns None for an open path, which needs no caller.

        Raises:
            NotAuthenticated: the request has no key and no token that works here.
            NotPermitted: the token names no scope, or no organisation that exists.
            NotFound: the caller operates the cluster, and the organisation does not exist or is deleted.
            Unavailable: the database or the issuer of tokens does not answer, so the cluster does not know if
                the key or the token works.
        """
        if scope["path"] in OPEN_PATHS or scope["path"].startswith(CONSOLE):
            return None
        client, key = scope.get("client"), _key(headers)
        organisation = headers.get(ORGANISATION_HEADER) or None
        address = client[0] if client else None
        if self._tokens is not None and key and may_be_a_token(key):
            caller = await self._tokens.identify(key, organisation, address=address, request=request_id)
        else:
            caller = await self._keys.identify(key, organisation, address=address, request=request_id)
        scope[SCOPE_NAME] = caller.organisation
        return caller


def _key(headers: Headers) -> bytes | None:
    """Return the API key of the request; empty or None if the request has no key."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if not scheme and AZURE_HEADER in headers:
        return headers[AZURE_HEADER].strip().encode("latin-1")
    return key.strip().encode("latin-1") if scheme.lower() == SCHEME else None


async def organisation_of_request(request: Request) -> str:
    """Return the organisation that the request acts for.

    This function is a coroutine although it waits for nothing, because FastAPI runs plain functions in
    threads, which costs more.
    """
    organisation: str = request.scope[SCOPE_NAME]
    return organisation


Organisation = Annotated[str, Depends(organisation_of_request)]
