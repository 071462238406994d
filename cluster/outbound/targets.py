"""Checks a URL before a request to the outside, as far as the text alone permits.

    url = checked_url("https://hooks.example.com/x", ports={80, 443})

The addresses of the host are checked later, when the connection is made (``network``).
"""

from collections.abc import Set

from httpx import URL, InvalidURL

from cluster.outbound.errors import RefusalReason, Refused

#: Ports of http and https, which are always permitted.
DEFAULT_PORTS = {"http": 80, "https": 443}
#: Maximum number of characters of a URL.
MAX_URL_CHARACTERS = 8_192
#: Maximum number of characters of a host name (RFC 1035).
MAX_HOST_CHARACTERS = 253
#: The characters of a host name after IDNA encoding, and of IPv6 addresses.
HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.:")


def checked_url(text: str | URL, *, ports: Set[int]) -> URL:
    """Return the URL without its fragment.

    Args:
        ports: the permitted ports.

    Raises:
        Refused: the URL breaks a rule; the message names the rule.
    """
    try:
        url = text if isinstance(text, URL) else URL(_short(text))
    except (InvalidURL, UnicodeError, ValueError):
        raise Refused("the URL is not valid", reason=RefusalReason.URL) from None
    if url.scheme not in DEFAULT_PORTS:
        raise Refused("the URL must begin with https:// or http://", reason=RefusalReason.SCHEME)
    if url.userinfo:
        raise Refused("the URL must not contain a user name or a password", reason=RefusalReason.USERINFO)
    host = url.raw_host.decode("ascii").lower()
    if not host or len(host) > MAX_HOST_CHARACTERS or not HOST_CHARACTERS.issuperset(host):
        raise Refused("the URL has no valid host", reason=RefusalReason.URL)
    port = port_of(url)
    if port not in ports:
        permitted = ", ".join(map(str, sorted(ports)))
        raise Refused(f"port {port} is not permitted; use one of {permitted}", reason=RefusalReason.PORT)
    return url.copy_with(fragment=None)


def port_of(url: URL) -> int:
    """Return the port of the URL, or the default port of its scheme."""
    return DEFAULT_PORTS[url.scheme] if url.port is None else url.port


def same_origin(one: URL, other: URL) -> bool:
    """Return True if both URLs have the same scheme, host and port."""
    return (one.scheme, one.raw_host, port_of(one)) == (other.scheme, other.raw_host, port_of(other))


def _short(text: str) -> str:
    if len(text) > MAX_URL_CHARACTERS:
        raise ValueError("the URL is too long")
    return text
