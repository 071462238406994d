"""Sends requests to URLs that a tenant named. Every such request of the cluster goes through this client.

    client = OutboundClient(settings)                      # in a thread
    answer = client.get("https://example.com/robots.txt", max_bytes=500_000, deadline_s=10)

    client = AsyncOutboundClient(settings)                 # on an event loop
    answer = await client.post(url, content=body, headers=headers, max_bytes=0, deadline_s=15)

Each request, and each redirect, uses a new connection to an address that ``network`` has checked for this
connection. Cookies are not kept, and proxies and other settings from the environment have no effect.
"""

import asyncio
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpcore
from httpx import URL, Headers, InvalidURL, create_ssl_context

from cluster.outbound.addresses import AddressRules, is_address
from cluster.outbound.decoding import ACCEPTED, BodyDecoder, too_large
from cluster.outbound.errors import REFUSED_REQUESTS, DeadlineExceeded, NoAnswer, RefusalReason, Refused
from cluster.outbound.network import GuardedNetwork, Resolver, address_refused, resolve
from cluster.outbound.targets import DEFAULT_PORTS, checked_url, port_of, same_origin
from cluster.settings import Settings

#: Maximum number of redirects that one request follows.
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Statuses of redirects after which the request keeps its method and its body.
SAME_METHOD = frozenset({307, 308})
#: Number of threads that resolve host names. If a name server is slow, each request keeps one of these
#: threads busy.
RESOLVER_THREADS = 32
USER_AGENT = "embedding-cluster"


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboundAnswer:
    """The answer of a server."""

    status: int
    headers: Headers
    #: The body after decompression; empty if ``max_bytes`` was 0.
    body: bytes
    #: The URL that answered, after redirects.
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    method: str
    url: URL
    headers: Headers
    content: bytes


class AsyncOutboundClient:
    """Sends requests on an event loop. One client serves a whole process.

    Args:
        settings: the settings of the permitted addresses and ports, and of the egress proxy.
        resolver: resolves host names; by default, the operating system resolves the names.
    """

    def __init__(self, settings: Settings, *, resolver: Resolver = resolve) -> None:
        self._ports = frozenset(DEFAULT_PORTS.values()) | frozenset(settings.outbound_ports)
        proxy = settings.outbound_proxy
        self._rules = AddressRules(settings.outbound_allow_cidrs, settings.outbound_deny_cidrs)
        self._network = GuardedNetwork(
            self._rules,
            resolver=resolver,
            threads=ThreadPoolExecutor(RESOLVER_THREADS, "resolver"),
            proxy=None if proxy is None else URL(proxy.get_secret_value()),
            proxy_resolves=settings.outbound_proxy_resolves,
        )
        self._tls = _tls_context(settings)

    def check(self, url: str) -> None:
        """Check the text of the URL. No host name is resolved.

        Raises:
            Refused: the URL breaks a rule.
        """
        host = checked_url(url, ports=self._ports).host
        if is_address(host) and not self._rules.permits(host):
            raise address_refused()

    async def get(
        self,
        url: str,
        *,
        max_bytes: int,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
    ) -> OutboundAnswer:
        """Send a GET request; see ``post`` for arguments and errors."""
        return await self._request("GET", url, b"", headers, max_bytes, deadline_s, follow_redirects)

    async def post(
        self,
        url: str,
        *,
        content: bytes,
        max_bytes: int,
        deadline_s: float,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
    ) -> OutboundAnswer:
        """Send a POST request.

        Args:
            url: absolute URL, as a tenant wrote it.
            content: body of the request.
            max_bytes: maximum number of bytes of the answer's body, before and after decompression; 0: the
                body is not read.
            deadline_s: seconds for the whole request with all its redirects.
            headers: headers of the request. A redirect to another origin, or a redirect that changes the
                method to GET, gets none of these headers.
            follow_redirects: False to return a redirect as the answer.

        Raises:
            Refused: a rule forbids the URL, one of its addresses, a redirect, or the compression of the
                answer.
            TooLarge: the body is larger than ``max_bytes``.
            DeadlineExceeded: the request took longer than ``deadline_s``.
            NoAnswer: the server did not send a complete and valid answer.
        """
        return await self._request("POST", url, content, headers, max_bytes, deadline_s, follow_redirects)

    async def _request(
        self,
        method: str,
        url: str,
        content: bytes,
        headers: Mapping[str, str] | None,
        max_bytes: int,
        deadline_s: float,
        follow_redirects: bool,
    ) -> OutboundAnswer:
        try:
            sent = _Sent(
                method=method,
                url=checked_url(url, ports=self._ports),
                headers=Headers(dict(headers or {})),
                content=content,
            )
            async with asyncio.timeout(deadline_s):
                for _ in range(MAX_REDIRECTS + 1):
                    answer = await self._send(sent, max_bytes, follow_redirects)
                    if isinstance(answer, OutboundAnswer):
                        return answer
                    sent = answer
            raise Refused(
                f"the server redirects more than {MAX_REDIRECTS} times", reason=RefusalReason.REDIRECTS
            )
        except TimeoutError:
            raise DeadlineExceeded(f"no complete answer arrived within {deadline_s:g} seconds") from None
        except Refused as exc:
            REFUSED_REQUESTS.add(exc.reason)
            raise

    async def _send(self, sent: _Sent, max_bytes: int, follow_redirects: bool) -> OutboundAnswer | _Sent:
        """Send one request. Return the answer, or after a redirect the request to send next."""
        try:
            async with (
                httpcore.AsyncConnectionPool(
                    ssl_context=self._tls, network_backend=self._network, max_keepalive_connections=0
                ) as pool,
                pool.stream(
                    sent.method, _core_url(sent.url), headers=_sent_headers(sent), content=sent.content
                ) as response,
            ):
                headers = Headers(response.headers)
                if follow_redirects and response.status in REDIRECTS and "location" in headers:
                    return self._redirected(sent, response.status, headers["location"])
                return OutboundAnswer(
                    status=response.status,
                    headers=headers,
                    body=await _read(response, headers, max_bytes) if max_bytes else b"",
                    url=str(sent.url),
                )
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as exc:
            # The cause is hidden (``from None``), because its text may come from the server.
            raise NoAnswer(_sentence_of(exc)) from None

    def _redirected(self, sent: _Sent, status: int, location: str) -> _Sent:
        try:
            url = sent.url.join(location)
        except (InvalidURL, UnicodeError, ValueError):
            raise Refused("the redirect leads to a URL that is not valid", reason=RefusalReason.URL) from None
        url = checked_url(url, ports=self._ports)
        keeps = status in SAME_METHOD or sent.method == "GET"
        return _Sent(
            method=sent.method if keeps else "GET",
            url=url,
            headers=sent.headers if keeps and same_origin(sent.url, url) else Headers(),
            content=sent.content if keeps else b"",
        )


class OutboundClient:
    """Sends requests in a thread that has no event loop, with the rules of ``AsyncOutboundClient``.

    Args:
        settings, resolver: as in ``AsyncOutboundClient``.
    """

    def __init__(self, settings: Settings, *, resolver: Resolver = resolve) -> None:
        self._client = AsyncOutboundClient(settings, resolver=resolver)

    def get(self, url: str, **how: Any) -> OutboundAnswer:
        """Send a GET request. The arguments and errors are those of ``AsyncOutboundClient.get``."""
        return asyncio.run(self._client.get(url, **how))

    def post(self, url: str, **how: Any) -> OutboundAnswer:
        """Send a POST request. The arguments and errors are those of ``AsyncOutboundClient.post``."""
        return asyncio.run(self._client.post(url, **how))


async def _read(response: httpcore.Response, headers: Headers, max_bytes: int) -> bytes:
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise too_large(max_bytes)
    decoder = BodyDecoder(headers.get("content-encoding", ""), max_bytes=max_bytes)
    parts = [decoder.feed(part) async for part in response.aiter_stream()]
    decoder.end()
    return b"".join(parts)


def _core_url(url: URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=port_of(url), target=url.raw_path)


def _sent_headers(sent: _Sent) -> list[tuple[bytes, bytes]]:
    """Return the headers of the request. A header that the transport needs replaces a header of the caller
    with the same name.
    """
    own = {
        "host": sent.url.netloc.decode("ascii"),
        "accept-encoding": ACCEPTED,
        "connection": "close",
    }
    if sent.content or sent.method == "POST":
        own["content-length"] = str(len(sent.content))
    return Headers({"accept": "*/*", "user-agent": USER_AGENT, **sent.headers, **own}).raw


def _sentence_of(exc: Exception) -> str:
    if isinstance(exc, httpcore.ConnectError | httpcore.ConnectTimeout):
        return "the TLS connection fails; check the certificate of the server"
    if isinstance(exc, httpcore.ProtocolError):
        return "the server does not answer in HTTP, or its headers are too large"
    return "the connection ended before the answer was complete"


def _tls_context(settings: Settings) -> ssl.SSLContext:
    context = create_ssl_context(trust_env=False)
    if settings.outbound_ca_file is not None:
        context.load_verify_locations(settings.outbound_ca_file)
    return context
