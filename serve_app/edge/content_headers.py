"""What a request's headers say about its body: its media type and its coding. Used by ``boundary`` and ``body``.

scope = as_json(scope, headers)        # a body without a type is JSON
coding = coding_of(headers)            # "gzip"
"""

import re
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Scope

#: As FastAPI knows JSON.
JSON = re.compile(r"\s*application/(?:[\w.-]+\+)?json\s*(?:;.*)?", re.IGNORECASE | re.ASCII)
#: Of ``curl -d``, wget and HTML forms that say nothing else.
FORM = "application/x-www-form-urlencoded"
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
IDENTITY = "identity"
#: What each coding is called here; HTTP/1.1 asks to take the older name for the same (RFC 9110, 8.4.1.3).
CODINGS = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}


def as_json(scope: Scope, headers: Headers) -> Scope:
    """The scope of a request to a path that reads JSON, with that type where the request names none.

    Raises:
        HTTPException: 415, the body is said to be something else.
    """
    if scope["method"] not in WITH_BODY:
        return scope
    given = headers.get("content-type", "").strip()
    if not given:
        others = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
        return {**scope, "headers": [*others, (b"content-type", b"application/json")]}
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if has_body and JSON.fullmatch(given) is None:
        why = ", which curl sends with -d unless told otherwise" if given.lower().startswith(FORM) else ""
        message = f"this path reads JSON, and the Content-Type is {given!r}{why}; send the header 'Content-Type: application/json'"
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
    return scope


def coding_of(headers: Headers, *, packed: bool) -> str:
    """How the body is packed: gzip, deflate or identity.

    Args:
        headers: of the request. Codings may be listed; identity among them means nothing.
        packed: False where a body must not be packed.

    Raises:
        HTTPException: 415, in a way that is not unpacked here, or in several at once.
    """
    names = [name.strip().lower() for line in headers.getlist("content-encoding") for name in line.split(",")]
    given = [name for name in names if name not in ("", IDENTITY)]
    if not given:
        return IDENTITY
    if packed and len(given) == 1 and given[0] in CODINGS:
        return CODINGS[given[0]]
    taken = "gzip, deflate" if packed else IDENTITY
    message = f"the Content-Encoding {', '.join(given)!r} is not unpacked here; send {'gzip, deflate or none' if packed else 'none'}"
    raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message, headers={"accept-encoding": taken})
