"""What browsers are told about pages of other origins that call this endpoint: nothing, unless ``CLUSTER_CORS_ORIGINS`` names them.

Used by ``boundary``, so that a preflight is answered before the key is asked for, and a refusal can be read by the page, too.

    cors = Cors(settings.cors_origins)
    cors.preflight(scope, headers)      # the answer to a preflight; None for every other request
    cors.headers(headers)               # for the answer to any request
"""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from serve_app.edge.errors import error_response

ANY = "*"
METHODS = "GET, HEAD, POST, DELETE"
#: Headers of answers that a page may read, beside those that every page may.
EXPOSED = (
    "x-request-id, openai-processing-ms, retry-after, x-truncated-inputs, x-averaged-inputs, x-ignored-fields"
)
#: How long a browser may keep the answer to a preflight.
MAX_AGE_S = 600

RawHeaders = list[tuple[bytes, bytes]]


class Cors:
    """For the origins given; ``*`` stands for all."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def preflight(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to a browser that asks before it sends the request itself; None for a request that is no such question."""
        if (
            not self._origins
            or scope["method"] != "OPTIONS"
            or "access-control-request-method" not in headers
        ):
            return None
        if self._allowed(headers) is None:
            origin = headers.get("origin", "")
            message = f"pages of {origin!r} may not call this server; its operator can allow them (CLUSTER_CORS_ORIGINS)"
            return error_response(HTTPStatus.FORBIDDEN, message)
        allowed = {
            "access-control-allow-methods": METHODS,
            # Named one by one: a "*" would not cover Authorization.
            "access-control-allow-headers": headers.get("access-control-request-headers", ""),
            "access-control-max-age": str(MAX_AGE_S),
            "vary": "Access-Control-Request-Headers",
        }
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)

    def headers(self, headers: Headers) -> RawHeaders:
        """What the answer to a request with these headers carries."""
        if not self._origins:
            return []
        vary = [] if ANY in self._origins else [(b"vary", b"Origin")]
        allowed = self._allowed(headers)
        if allowed is None:
            return vary
        return [
            *vary,
            (b"access-control-allow-origin", allowed.encode("latin-1")),
            (b"access-control-expose-headers", EXPOSED.encode()),
        ]

    def _allowed(self, headers: Headers) -> str | None:
        """The value of ``access-control-allow-origin``, or None."""
        origin = headers.get("origin")
        if origin is None:
            return None
        if ANY in self._origins:
            return ANY
        return origin if origin in self._origins else None
