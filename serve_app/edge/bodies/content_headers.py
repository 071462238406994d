"""Reads the headers that give the media type and the content coding of a request's body.

``boundary`` and ``body`` use this module.

scope = with_json_type(scope, headers)                  # a body without a type is JSON
coding = content_coding(headers, compressed=True)       # "gzip"
"""

import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

#: Pattern of the media types that FastAPI reads as JSON.
JSON = re.compile(r"\s*application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.ASCII)
#: The default type of ``curl -d``, wget and HTML forms.
FORM = "application/x-www-form-urlencoded"
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
IDENTITY = "identity"
#: The coding for each accepted name. ``x-gzip`` is an older name of gzip (RFC 9110, 8.4.1.3).
CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


def with_json_type(scope: Scope, headers: Headers) -> Scope:
    """Return the scope of a request to a path that reads JSON. Add the media type JSON if the request has no
    media type.

    Raises:
        HTTPException: 415, the request has a body of another type.
    """
    if scope["method"] not in METHODS_WITH_BODY:
        return scope
    type = headers.get("content-type", "").strip()
    if not type:
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        return {**scope, "headers": [*others, (b"content-type", b"application/json")]}
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and JSON.fullmatch(type) is None:
        hint = ", the default of curl -d" if type.lower().startswith(FORM) else ""
        message = (
            f"this path reads JSON, but the Content-Type is {type!r}{hint};"
            " send the header 'Content-Type: application/json'"
        )
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
    return scope


def content_coding(headers: Headers, *, compressed: bool) -> str:
    """Return the coding of the body: gzip, deflate or identity.

    Args:
        headers: the request's headers, which may list several codings. ``identity`` in the list is ignored.
        compressed: False if this path accepts no compressed body.

    Raises:
        HTTPException: 415, the coding is not supported on this path, or the body has several codings.
    """
    names = [name.strip().lower() for line in headers.getlist("content-encoding") for name in line.split(",")]
    codings = [name for name in names if name not in ("", IDENTITY)]
    if not codings:
        return IDENTITY
    if compressed and len(codings) == 1 and codings[0] in CODINGS:
        return CODINGS[codings[0]]
    accepted = "gzip, deflate" if compressed else IDENTITY
    message = (
        f"the Content-Encoding {', '.join(codings)!r} is not supported here;"
        f" send {'gzip, deflate or none' if compressed else 'the body uncompressed'}"
    )
    raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, headers={"accept-encoding": accepted})
