"""Lets browser pages of the origins in ``CLUSTER_CORS_ORIGINS`` call this endpoint. By default, no page may
call it.

``boundary`` uses this module. ``boundary`` answers a preflight request before it checks the API key, and adds
the CORS headers to every answer, refusals included.

    cors = Cors(settings.cors_origins)
    cors.preflight(scope, headers)      # the answer to a preflight; None for every other request
    cors.headers(headers)               # the headers to add to the answer of any request
"""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from serve_app.edge.errors import error_response

ANY = "*"
METHODS = "GET, HEAD, POST, PATCH, DELETE"
#: Headers about the rates of the caller (``serve_app.embedding.rate_gate``).
RATE_HEADERS = [
    f"x-ratelimit-{what}-{unit}"
    for what in ("limit", "remaining", "reset")
    for unit in ("requests", "tokens")
]
#: Response headers that a page may read, in addition to the headers that browsers always allow.
EXPOSED_HEADERS = ", ".join(
    [
        "x-request-id",
        "traceparent",
        "openai-processing-ms",
        "retry-after",
        "x-truncated-inputs",
        "x-averaged-inputs",
        "x-ignored-fields",
        *RATE_HEADERS,
    ]
)
#: Seconds for which a browser may cache the answer to a preflight.
PREFLIGHT_CACHE_S = 600

RawHeaders = list[tuple[bytes, bytes]]


class Cors:
    """Makes the CORS headers for the allowed origins; ``*`` allows all origins."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def preflight(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the answer to a preflight request; None for other requests, or if no origin is allowed."""
        if (
            not self._origins
            or scope["method"] != "OPTIONS"
            or "access-control-request-method" not in headers
        ):
            return None
        if self._allowed(headers) is None:
            origin = headers.get("origin", "")
            message = (
                f"pages of {origin!r} may not call this server;"
                " its operator can allow them (CLUSTER_CORS_ORIGINS)"
            )
            return error_response(HTTPStatus.FORBIDDEN, message)
        allowed = {
            "access-control-allow-methods": METHODS,
            # The requested headers are listed by name, because "*" would not include Authorization.
            "access-control-allow-headers": headers.get("access-control-request-headers", ""),
            "access-control-max-age": str(PREFLIGHT_CACHE_S),
            "vary": "Access-Control-Request-Headers",
        }
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)

    def headers(self, headers: Headers) -> RawHeaders:
        """Return the CORS headers for the answer to a request that has these headers."""
        if not self._origins:
            return []
        vary = [] if ANY in self._origins else [(b"vary", b"Origin")]
        allowed = self._allowed(headers)
        if allowed is None:
            return vary
        return [
            *vary,
            (b"access-control-allow-origin", allowed.encode("latin-1")),
            (b"access-control-expose-headers", EXPOSED_HEADERS.encode()),
        ]

    def _allowed(self, headers: Headers) -> str | None:
        """Return the value of ``access-control-allow-origin``; None if the origin is not allowed."""
        origin = headers.get("origin")
        if origin is None:
            return None
        if ANY in self._origins:
            return ANY
        return origin if origin in self._origins else None
