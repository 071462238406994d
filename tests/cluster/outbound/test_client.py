"""The guarded transport sends requests as other clients do, within the limits that its caller gives."""

import asyncio
import contextlib
import gzip
import os
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.errors import ClusterError
from cluster.outbound import (
    AsyncOutboundClient,
    DeadlineExceeded,
    NoAnswer,
    OutboundClient,
    RefusalReason,
    Refused,
    TooLarge,
)
from cluster.outbound.decoding import BodyDecoder
from tests.cluster.outbound.outside import (
    PERMITTED,
    OutsideHandler,
    OutsideServer,
    addresses,
    answering,
    outside,
    reaching,
    self_signed,
)
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until

MIB = 1024 * 1024
#: Bodies of at most 1 MiB that become 64 MiB. The last two are never unpacked.
BOMBS = {
    "gzip": gzip.compress(bytes(64 * MIB)),
    "deflate": zlib.compress(bytes(64 * MIB)),
    "br": b"\x5b\xff\xff\xff",
    "zstd": b"\x28\xb5\x2f\xfd",
    "gzip, gzip": gzip.compress(gzip.compress(bytes(64 * MIB))),
}


def test_a_request_arrives_as_it_was_sent(server: OutsideServer, client: OutboundClient) -> None:
    server.answers["/a?b=%C3%BC"] = answering(201, b"made", x_kind="test")

    answer = client.post(
        server.url("/a?b=ü#part"), content=b"body", headers={"x-one": "1"}, max_bytes=4, deadline_s=10
    )

    assert (answer.status, answer.body, answer.headers["x-kind"]) == (201, b"made", "test")
    [(method, path, headers, body)] = server.requests
    assert (method, path, body, headers["x-one"]) == ("POST", "/a?b=%C3%BC", b"body", "1")
    assert set(headers) == {
        *("host", "accept", "accept-encoding", "connection", "content-length", "user-agent", "x-one")
    }


def test_environment_variables_bring_no_proxy(
    server: OutsideServer, client: OutboundClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/"] = answering(200, b"direct")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.get(server.url(), max_bytes=10, deadline_s=10).body == b"direct"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/", RefusalReason.SCHEME),
        ("file:///etc/passwd", RefusalReason.SCHEME),
        ("//example.com/", RefusalReason.SCHEME),
        ("gopher://example.com:80/", RefusalReason.SCHEME),
        ("http://user@example.com/", RefusalReason.USERINFO),
        ("https://user:password@example.com/", RefusalReason.USERINFO),
        ("https://example.com\\@127.0.0.2/", RefusalReason.USERINFO),
        ("https://example.com:22/", RefusalReason.PORT),
        ("http://example.com:0/", RefusalReason.PORT),
        ("https://example.com:65536/", RefusalReason.PORT),
        ("https://example.com:x/", RefusalReason.URL),
        ("https://", RefusalReason.URL),
        ("https://exam ple.com/", RefusalReason.URL),
        ("https://example.com/\r\nx-injected: 1", RefusalReason.URL),
        ("https://example.com%00.evil.example/", RefusalReason.URL),
        ("https://xn--\N{SNOWMAN}.example/", RefusalReason.URL),
        (f"https://{'a' * 254}/", RefusalReason.URL),
        (f"https://example.com/{'a' * 8_192}", RefusalReason.URL),
        ("not a url", RefusalReason.SCHEME),
    ],
)
def test_a_url_that_breaks_a_rule_is_refused(url: str, reason: RefusalReason, client: OutboundClient) -> None:
    with pytest.raises(Refused) as refused:
        client.get(url, max_bytes=100, deadline_s=10)

    assert refused.value.reason == reason


def test_a_host_in_another_script_is_asked_for_in_its_ascii_form(server: OutsideServer) -> None:
    asked = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PERMITTED]

    server.answers["/"] = answering(204)
    OutboundClient(reaching(server.port), resolver=resolver).get(
        f"http://BÜCHER.example:{server.port}/", max_bytes=10, deadline_s=10
    )

    assert asked == ["xn--bcher-kva.example"]
    assert server.requests[0][2]["host"] == f"xn--bcher-kva.example:{server.port}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_five_redirects_are_followed_and_six_are_not(
    status: int, server: OutsideServer, client: OutboundClient
) -> None:
    for hop in range(7):
        server.answers[f"/{hop}"] = answering(status, location=f"/{hop + 1}")
    server.answers["/6"] = answering(200, b"end")

    answer = client.post(server.url("/1"), content=b"body", max_bytes=10, deadline_s=10)
    with pytest.raises(Refused) as refused:
        client.get(server.url("/0"), max_bytes=10, deadline_s=10)

    assert (answer.body, answer.url) == (b"end", server.url("/6"))
    assert refused.value.reason == RefusalReason.REDIRECTS
    last = server.requests[5]
    assert (last[0], last[3]) == (("POST", b"body") if status in {307, 308} else ("GET", b""))


def test_a_redirect_loop_ends(server: OutsideServer, client: OutboundClient) -> None:
    server.answers["/"] = answering(302, location="/")
    with pytest.raises(Refused):
        client.get(server.url(), max_bytes=10, deadline_s=10)
    assert len(server.requests) == 6


def test_a_redirect_is_returned_where_the_caller_follows_none(
    server: OutsideServer, client: OutboundClient
) -> None:
    server.answers["/"] = answering(302, location="http://127.0.0.2/")
    answer = client.get(server.url(), max_bytes=10, deadline_s=10, follow_redirects=False)
    assert answer.status == 302


def test_headers_do_not_follow_to_another_origin(server: OutsideServer) -> None:
    client = OutboundClient(reaching(server.port), resolver=addresses(PERMITTED))
    server.answers["/"] = answering(307, location=f"http://other.example:{server.port}/next")
    server.answers["/next"] = answering(200)

    client.post(
        server.url(), content=b"body", headers={"authorization": "Bearer x"}, max_bytes=1, deadline_s=10
    )

    assert "authorization" in server.requests[0][2]
    assert "authorization" not in server.requests[1][2]


@pytest.mark.parametrize(
    "location", ["ftp://example.com/", "http://a:b@example.com/", "http://[", "//:99999"]
)
def test_a_redirect_to_a_wrong_url_is_refused(
    location: str, server: OutsideServer, client: OutboundClient
) -> None:
    server.answers["/"] = answering(302, location=location)
    with pytest.raises(Refused):
        client.get(server.url(), max_bytes=10, deadline_s=10)


@pytest.mark.parametrize("encoding", BOMBS)
def test_a_bomb_is_not_unpacked(encoding: str, server: OutsideServer, client: OutboundClient) -> None:
    server.answers["/"] = answering(200, BOMBS[encoding], content_encoding=encoding)
    with pytest.raises((TooLarge, Refused)) as refused:
        client.get(server.url(), max_bytes=MIB, deadline_s=10)

    unpacked = encoding in {"gzip", "deflate"}
    assert isinstance(refused.value, TooLarge if unpacked else Refused)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_takes_no_memory(encoding: str) -> None:
    decoder = BodyDecoder(encoding, max_bytes=MIB)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decoder.feed(BOMBS[encoding])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"text" * 10)),
        ("gzip", gzip.compress(b"text" * 4) + gzip.compress(b"text" * 6)),
        ("deflate", zlib.compress(b"text" * 10)),
        ("deflate", zlib.compress(b"text" * 10)[2:-4]),
        ("identity", b"text" * 10),
    ],
    ids=["gzip", "gzip of two members", "deflate", "deflate without a header", "identity"],
)
def test_a_body_is_unpacked_up_to_its_limit(
    encoding: str, body: bytes, server: OutsideServer, client: OutboundClient
) -> None:
    server.answers["/"] = answering(200, body, content_encoding=encoding)

    assert client.get(server.url(), max_bytes=100, deadline_s=10).body == b"text" * 10
    with pytest.raises(TooLarge, match="more than 39 bytes"):
        client.get(server.url(), max_bytes=39, deadline_s=10)


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"text" * 10)[:-4], b"no gzip", gzip.compress(b"a") + b"x"],
    ids=["cut off", "no gzip", "more behind it"],
)
def test_a_damaged_body_is_no_answer(body: bytes, server: OutsideServer, client: OutboundClient) -> None:
    server.answers["/"] = answering(200, body, content_encoding="gzip")
    with pytest.raises(NoAnswer):
        client.get(server.url(), max_bytes=100, deadline_s=10)


def test_a_body_without_a_length_is_limited_too(server: OutsideServer, client: OutboundClient) -> None:
    def endless(handler: OutsideHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(10_000))

    server.answers["/"] = endless
    with pytest.raises(TooLarge):
        client.get(server.url(), max_bytes=MIB, deadline_s=10)
    # A caller that needs only the status does not read the body.
    assert client.get(server.url(), max_bytes=0, deadline_s=10).status == 200


def test_a_slow_drip_ends_at_the_deadline(server: OutsideServer, client: OutboundClient) -> None:
    def drip(handler: OutsideHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b".")
            handler.wfile.flush()
            time.sleep(0.05)

    server.answers["/"] = drip
    started = Stopwatch()
    with pytest.raises(DeadlineExceeded, match=r"0\.3 seconds"):
        client.get(server.url(), max_bytes=100, deadline_s=0.3)
    assert started.seconds() < 2


async def test_a_server_that_never_answers_the_tls_handshake_keeps_no_connection() -> None:
    with socket.create_server((PERMITTED, 0)) as silent:
        port = silent.getsockname()[1]
        client = AsyncOutboundClient(reaching(port))
        with pytest.raises(DeadlineExceeded):
            await client.get(f"https://{PERMITTED}:{port}/", max_bytes=10, deadline_s=0.2)
        await asyncio.sleep(0)
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(LONGEST_WAIT_S)
            assert b"".join(iter(lambda: connection.recv(4_096), b"")).startswith(b"\x16\x03")


async def test_no_end_of_a_request_leaves_a_connection_open(server: OutsideServer) -> None:
    def endless(handler: OutsideHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            handler.wfile.write(bytes(10_000))

    server.answers |= {
        "/endless": endless,
        "/silent": lambda handler: time.sleep(0.3),
        "/reset": lambda handler: handler.reset(),
        "/inner": answering(302, location="http://127.0.0.2/"),
        "/whole": answering(200, b"text"),
        "/bomb": answering(200, BOMBS["gzip"], content_encoding="gzip"),
        "/br": answering(200, b"text", content_encoding="br"),
        "/no-http": lambda handler: handler.wfile.write(bytes(200_000)),
    }
    client = AsyncOutboundClient(reaching(server.port))

    async def send(path: str, max_bytes: int) -> None:
        with contextlib.suppress(ClusterError):
            await client.get(server.url(path), max_bytes=max_bytes, deadline_s=0.2)

    await send("/whole", 10)  # this opens the connections that the event loop keeps
    before = len(os.listdir("/proc/self/fd"))
    for max_bytes in (0, 1_000):
        await asyncio.gather(*(send(path, max_bytes) for path in server.answers))

    # The server, in this process, closes its ends, too.
    await asyncio.to_thread(until, lambda: len(os.listdir("/proc/self/fd")) <= before)


def test_a_slow_name_server_ends_at_the_deadline(server: OutsideServer) -> None:
    def slow(host: str, port: int) -> list[str]:
        time.sleep(1)
        return [PERMITTED]

    started = Stopwatch()
    with pytest.raises(DeadlineExceeded):
        OutboundClient(reaching(server.port), resolver=slow).get(
            f"http://slow.example:{server.port}/", max_bytes=10, deadline_s=0.2
        )
    assert started.seconds() < 0.9


@pytest.mark.parametrize("flood", ["headers", "one header", "informational", "no http"])
def test_a_flood_before_the_body_ends(flood: str, server: OutsideServer, client: OutboundClient) -> None:
    def send(handler: OutsideHandler) -> None:
        lines = {
            "headers": b"x-a: " + b"b" * 1_000 + b"\r\n",
            "one header": b"x" * 10_000,
            "informational": b"HTTP/1.1 103 Early Hints\r\n\r\n",
            "no http": b"\0" * 10_000,
        }
        if flood in {"headers", "one header"}:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(1_000_000):
            handler.wfile.write(lines[flood])

    server.answers["/"] = send
    with pytest.raises((NoAnswer, DeadlineExceeded)):
        client.get(server.url(), max_bytes=100, deadline_s=0.5)


def test_tls_shows_the_name_of_the_url_and_checks_the_certificate(tmp_path: Path) -> None:
    certificate = self_signed(tmp_path, "hooks.example")
    with outside(certificate=certificate) as server:
        server.answers["/"] = answering(200, b"safe")
        trusting = reaching(server.port, outbound_ca_file=certificate)
        client = OutboundClient(trusting, resolver=addresses(PERMITTED))

        answer = client.get(f"https://hooks.example:{server.port}/", max_bytes=10, deadline_s=10)
        with pytest.raises(NoAnswer, match="certificate"):
            client.get(f"https://other.example:{server.port}/", max_bytes=10, deadline_s=10)
        with pytest.raises(NoAnswer, match="certificate"):
            OutboundClient(reaching(server.port), resolver=addresses(PERMITTED)).get(
                f"https://hooks.example:{server.port}/", max_bytes=10, deadline_s=10
            )

    assert answer.body == b"safe"
    assert server.names == ["hooks.example", "other.example", "hooks.example"]
    assert server.requests[0][2]["host"] == f"hooks.example:{server.port}"


def test_no_answer_says_nothing_about_the_server(server: OutsideServer, client: OutboundClient) -> None:
    server.answers["/"] = lambda handler: handler.wfile.write(b"-ERR secret of an inner service\r\n")
    with pytest.raises(NoAnswer) as failed:
        client.get(server.url(), max_bytes=10, deadline_s=10)
    assert (str(failed.value), failed.value.__cause__) == (
        "the server does not answer in HTTP, or its headers are too large",
        None,
    )


def test_a_second_address_is_tried(server: OutsideServer) -> None:
    settings = reaching(server.port, outbound_allow_cidrs=("127.0.0.8/30",))
    client = OutboundClient(settings, resolver=addresses(["127.0.0.8", PERMITTED]))
    server.answers["/"] = answering(204)
    assert client.get(f"http://two.example:{server.port}/", max_bytes=1, deadline_s=10).status == 204


@pytest.fixture
def proxy() -> Iterator[tuple[int, list[str]]]:
    """The port of an HTTP proxy that leads every tunnel to 127.0.0.9, and the heads that it got."""
    heads: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65_536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += caller.recv(1)
            heads.append(head.decode())
            place = head.split()[1].decode()
            if "denied" in place:
                caller.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                caller.close()
                continue
            with caller, socket.create_connection((PERMITTED, int(place.rpartition(":")[2]))) as there:
                caller.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(there, caller))
                back.start()
                pump(caller, there)
                back.join()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1], heads
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_proxy_is_asked_for_a_checked_address(proxy: tuple[int, list[str]], server: OutsideServer) -> None:
    port, heads = proxy
    server.answers["/"] = answering(200, b"through")
    settings = reaching(server.port, outbound_proxy=f"http://user:p%40ss@127.0.0.1:{port}")
    client = OutboundClient(settings, resolver=addresses(PERMITTED, "10.0.0.1"))
    url = f"http://hooks.example:{server.port}/"

    answer = client.get(url, max_bytes=10, deadline_s=10)
    with pytest.raises(Refused):
        client.get(url, max_bytes=10, deadline_s=10)

    assert answer.body == b"through"
    assert server.requests[0][2]["host"] == f"hooks.example:{server.port}"
    assert [head.split("\r\n")[0] for head in heads] == [f"CONNECT {PERMITTED}:{server.port} HTTP/1.1"]
    assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in heads[0]
    assert "p%40ss" not in repr(settings)


def test_a_proxy_that_resolves_gets_names_and_no_inner_address(
    proxy: tuple[int, list[str]], server: OutsideServer
) -> None:
    port, heads = proxy
    server.answers["/"] = answering(204)
    settings = reaching(server.port, outbound_proxy=f"http://127.0.0.1:{port}", outbound_proxy_resolves=True)

    def resolver(host: str, port: int) -> list[str]:
        assert host == "10.0.0.1", "the cluster resolves no name"
        return [host]

    client = OutboundClient(settings, resolver=resolver)
    assert client.get(f"http://any.example:{server.port}/", max_bytes=1, deadline_s=10).status == 204
    with pytest.raises(NoAnswer, match="proxy"):
        client.get(f"http://denied.example:{server.port}/", max_bytes=1, deadline_s=10)
    with pytest.raises(Refused):
        client.get(f"http://10.0.0.1:{server.port}/", max_bytes=1, deadline_s=10)
    assert [head.split()[1] for head in heads] == [
        f"any.example:{server.port}",
        f"denied.example:{server.port}",
    ]
