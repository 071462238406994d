"""Makes absolute URLs of the links on websites, and recognises URLs that name the same page.

url = page_url("../install.html#linux", base="https://example.com/docs/guide/")
# "https://example.com/docs/install.html"
page_id(url) == page_id("https://EXAMPLE.com:443/docs/install.html")      # True
"""

from collections import Counter
from urllib.parse import urljoin, urlsplit, urlunsplit

from w3lib.url import canonicalize_url, safe_url_string

from cluster.jobs.kinds.inputs import MAX_URL_CHARACTERS
from cluster.records import digest

DEFAULT_PORTS = {"http": 80, "https": 443}
#: Maximum number of times that one segment may occur in the path of a URL. A website that generates links
#: relative to each page repeats segments without end.
MAX_EQUAL_SEGMENTS = 3


def page_url(link: str, *, base: str = "", ignore_query: bool = False) -> str | None:
    """Return the absolute URL that a link names, without its fragment. Return None if the link is no valid
    http or https URL, has a user name, or is longer than ``MAX_URL_CHARACTERS``.

    Args:
        link: a URL, absolute or relative.
        base: URL of the page with the link.
        ignore_query: True to remove the query.
    """
    try:
        parts = urlsplit(safe_url_string(urljoin(base, link.strip())))
        port = parts.port
    except ValueError:
        return None
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme not in DEFAULT_PORTS or not host or parts.username is not None:
        return None
    place = f"[{host}]" if ":" in host else host
    if port is not None and port != DEFAULT_PORTS[parts.scheme]:
        place += f":{port}"
    query = "" if ignore_query else parts.query
    path = urlsplit(canonicalize_url(urlunsplit((parts.scheme, place, parts.path or "/", "", "")))).path
    url = urlunsplit((parts.scheme, place, path, query, ""))
    return url if len(url) <= MAX_URL_CHARACTERS else None


def page_id(url: str) -> str:
    """Return the id of the page with this URL. URLs that differ only in the order of their query parameters
    have the same id.

    Args:
        url: a result of ``page_url``.
    """
    return "page_" + digest("page of a website", canonicalize_url(url), size=12)


def origin_of(url: str) -> str:
    """Return the scheme, the host and any port of a URL, such as ``https://example.com``."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def host_of(url: str) -> str:
    """Return the host of a URL, with its port if the URL has one."""
    return urlsplit(url).netloc


def repeats_segments(url: str) -> bool:
    """Return True if a segment occurs more than ``MAX_EQUAL_SEGMENTS`` times in the path of the URL."""
    counts = Counter(segment for segment in urlsplit(url).path.split("/") if segment)
    return max(counts.values(), default=0) > MAX_EQUAL_SEGMENTS
