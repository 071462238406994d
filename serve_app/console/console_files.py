"""GET /console/ serves the console, a web page for people. The page itself calls the other routes.

The files are plain HTML, CSS and ES modules in the folder ``static`` of this package. They need no API key,
because they contain no data: the page asks its reader for a key, and sends the key with each request.

    app.include_router(console_files.router)
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

router = APIRouter(include_in_schema=False)

#: The file that a request for ``/console/`` gets.
INDEX = "index.html"
#: Media types of the files, by the ending of the name. A file with another ending is not served.
MEDIA_TYPES = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".svg": "image/svg+xml",
    }
)
#: What the page may load and do (Content Security Policy, level 3). Scripts and styles come from this server
#: only. No text of a document can become a script, because ``trusted-types 'none'`` refuses ``innerHTML``.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
HEADERS = MappingProxyType(
    {
        "content-security-policy": CONTENT_SECURITY_POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        # A browser keeps the files, but asks before each use if they have changed, so it uses a new release.
        "cache-control": "no-cache",
    }
)


@dataclass(frozen=True, slots=True)
class ConsoleFile:
    """One file of the console."""

    content: bytes
    media_type: str
    #: A hash of the content, for the header ``ETag``.
    etag: str


@cache
def console_files() -> Mapping[str, ConsoleFile]:
    """Return the files of the console, by their path below ``/console/``. Each file is read only once."""
    return dict(_files_of(files("serve_app.console") / "static", ""))


def _files_of(folder: Traversable, above: str) -> list[tuple[str, ConsoleFile]]:
    found = []
    for entry in folder.iterdir():
        path = f"{above}{entry.name}"
        if entry.is_dir():
            found += _files_of(entry, f"{path}/")
        elif (media_type := MEDIA_TYPES.get(f".{entry.name.rpartition('.')[2]}")) is not None:
            content = entry.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found.append((path, ConsoleFile(content, media_type, etag)))
    return found


@router.get("/console")
async def console() -> Response:
    """Redirect the browser to the page. The new address is relative, because a proxy may add a prefix."""
    return RedirectResponse("console/", HTTPStatus.TEMPORARY_REDIRECT)


@router.get("/console/{path:path}")
async def console_file(path: str, request: Request) -> Response:
    """Send one file of the console, or status 304 if the browser already has the same content.

    Raises:
        HTTPException: 404, the console has no such file.
    """
    file = console_files().get(path or INDEX)
    if file is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"the console has no file {path[:100]!r}")
    headers = {**HEADERS, "etag": file.etag}
    known = {one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")}
    if file.etag in known or "*" in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
