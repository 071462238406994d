"""Resolve a host, check all of its addresses, and connect to one of the addresses. ``client`` passes
``GuardedNetwork`` to httpcore as the network.

httpcore calls ``connect_tcp`` for each connection, and then starts TLS on the stream with the host name of
the URL. So the server name in TLS and the header ``Host`` stay those of the URL. Nothing resolves the host
again between the check and the connection, so a name server cannot avoid the check with a changed answer.
"""

import asyncio
import base64
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from ssl import SSLContext
from typing import Any
from urllib.parse import unquote

import structlog
from httpcore import AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError, ConnectTimeout
from httpx import URL

from cluster.outbound.addresses import AddressRules, is_address, parsed
from cluster.outbound.errors import NoAnswer, RefusalReason, Refused

log = structlog.get_logger(__name__)

#: Maximum seconds of one attempt to connect to one address. If the attempt fails, the next address of the
#: host is tried.
CONNECT_TIMEOUT_S = 5.0
#: Maximum number of addresses of a host that a request tries.
MAX_ADDRESSES = 8
#: Maximum number of bytes of the proxy's answer to ``CONNECT``.
MAX_PROXY_ANSWER_BYTES = 16_384
DEFAULT_PROXY_PORT = 80

#: Function that returns the addresses of a host, and raises OSError if there are none. It is called in a
#: thread.
Resolver = Callable[[str, int], Sequence[str]]


def resolve(host: str, port: int) -> list[str]:
    """Return all A and AAAA addresses of the host, as the operating system resolves it.

    The operating system also reads other forms of addresses, such as ``2130706434``, ``0x7f000002`` and
    ``127.2``; the result is then the address in its standard form.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


class ClosedOnFailure(AsyncNetworkStream):
    """A connection that is closed if its TLS handshake fails.

    httpcore leaves the connection open if the deadline ends the TLS handshake. A server that never answers
    the handshake could then use up the sockets of this process.
    """

    def __init__(self, stream: AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read at most ``max_bytes`` bytes."""
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of the bytes."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncNetworkStream:
        """Begin TLS. If the handshake fails, close the connection and raise the error."""
        try:
            return await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._stream.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        """Return a property of the connection, such as its socket."""
        return self._stream.get_extra_info(info)


class GuardedNetwork(AsyncNetworkBackend):
    """Connects to permitted addresses only.

    Args:
        rules: decides which addresses are permitted.
        resolver: resolves host names.
        threads: threads in which ``resolver`` is called.
        proxy: URL of an HTTP proxy that all connections go through; None: connect directly.
        proxy_resolves: True to send host names to the proxy, which then checks the addresses.
    """

    def __init__(
        self,
        rules: AddressRules,
        *,
        resolver: Resolver,
        threads: Executor,
        proxy: URL | None = None,
        proxy_resolves: bool = False,
    ) -> None:
        self._rules = rules
        self._resolver = resolver
        self._threads = threads
        self._proxy = proxy
        self._proxy_resolves = proxy_resolves
        self._inner = AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncNetworkStream:
        """Connect to the host.

        Raises:
            Refused: an address of the host is not permitted.
            NoAnswer: the host does not resolve, or no address accepts the connection.
        """
        del timeout, local_address, socket_options  # not needed; the caller's deadline limits the time
        if self._proxy is not None and self._proxy_resolves and not is_address(host):
            return ClosedOnFailure(await self._through_proxy(self._proxy, host, port))
        for address in await self._checked(host, port):
            try:
                return ClosedOnFailure(await self._connected(address, port))
            except (ConnectError, ConnectTimeout):
                continue
        raise NoAnswer("no address of the host accepts the connection")

    async def sleep(self, seconds: float) -> None:
        """Wait. httpcore calls this between attempts to connect, but ``client`` allows only one attempt."""
        await asyncio.sleep(seconds)

    async def _checked(self, host: str, port: int) -> list[str]:
        """Return the addresses of the host, after a check that all of them are permitted."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, self._resolver, host, port)
        except (OSError, UnicodeError):
            raise NoAnswer("the host name does not resolve") from None
        refused = [address for address in found if not self._rules.permits(address)]
        if refused:
            # Only the log names the address, because the error is shown to tenants.
            log.warning("outbound_address_refused", host=host, address=refused[0])
            raise address_refused()
        return [str(parsed(address)) for address in found[:MAX_ADDRESSES]]

    async def _connected(self, address: str, port: int) -> AsyncNetworkStream:
        """Connect to a checked address, directly or through the proxy."""
        if self._proxy is not None:
            return await self._through_proxy(self._proxy, address, port)
        return await self._inner.connect_tcp(address, port, timeout=CONNECT_TIMEOUT_S)

    async def _through_proxy(self, proxy: URL, host: str, port: int) -> AsyncNetworkStream:
        """Open a tunnel to the host through the proxy (RFC 9110, section 9.3.6)."""
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        request = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n"
        if proxy.userinfo:
            user = unquote(proxy.userinfo.decode("ascii"))
            request += f"Proxy-Authorization: Basic {base64.b64encode(user.encode()).decode()}\r\n"
        stream = await self._inner.connect_tcp(
            proxy.host, proxy.port or DEFAULT_PROXY_PORT, timeout=CONNECT_TIMEOUT_S
        )
        try:
            await stream.write(f"{request}\r\n".encode("ascii"))
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                part = await stream.read(1)  # one byte, because bytes after the answer belong to the host
                if not part or len(answer) > MAX_PROXY_ANSWER_BYTES:
                    raise NoAnswer("the egress proxy does not open a connection to the host")
                answer += part
            status = answer.split(b"\r\n", 1)[0].split(b" ")[1:2]
            if not status or not status[0].startswith(b"2"):
                log.warning("outbound_proxy_refused", host=host, status=status[:1])
                raise NoAnswer("the egress proxy does not open a connection to the host")
        except BaseException:
            await stream.aclose()
            raise
        return stream


def address_refused() -> Refused:
    """Return the error for a host with an address that is not permitted. The error does not name the
    address.
    """
    return Refused("the host has an address that is not on the public internet", reason=RefusalReason.ADDRESS)
