"""Define what the worker and the rendering process send to each other, as JSON.

request = RenderRequest(url="https://example.com/", body="<html>...", program="/usr/bin/chromium", ...)
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RenderRequest:
    """One page to render. The worker writes it to the standard input of the process."""

    #: URL of the page, and its HTML as the server sent it, in Base64.
    url: str
    body: str
    #: Value of the header ``Content-Type`` of the page.
    content_type: str
    #: Value of the header ``User-Agent`` of all requests of the page.
    user_agent: str
    #: Absolute path of Chromium, and whether its sandbox is used.
    program: str
    sandbox: bool
    #: Limits on the seconds, on the requests of the page, on the bytes of their answers, and on the HTML.
    timeout_s: float
    max_requests: int
    max_bytes: int
    max_html_bytes: int
    #: The settings of the guarded transport, by their names.
    outbound: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The result of rendering. The process writes it to its standard output."""

    #: HTML of the page after its scripts ran; "" if the page was not rendered.
    html: str = ""
    #: A predicate that completes the sentence "The page ..."; "" if the page was rendered.
    failure: str = ""
