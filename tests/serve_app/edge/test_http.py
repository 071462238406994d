"""Headers of answers, HEAD, offers to upgrade the connection, and clients that disconnect."""

import asyncio
import gc
import json
import logging
import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from cluster.keys.known_keys import KnownKeys
from cluster.settings import Settings
from serve_app.edge.boundary import Boundary
from serve_app.usage.usage_recorder import UsageRecorder
from tests.serve_app.conftest import MODEL, Server
from tests.serve_app.raw_requests import connect
from tests.waiting import LONGEST_WAIT_S, until

REQUEST = {"model": MODEL, "input": "a heron"}
BODY = json.dumps(REQUEST).encode()
#: Paths without parameters whose GET follows something without end.
ENDLESS = frozenset({"/v1/overview/events", "/v1/jobs/events"})
#: The bytes that the HttpClient of OpenJDK 17 sent.
JDK = (
    b"POST /v1/embeddings HTTP/1.1\r\n"
    b"Connection: Upgrade, HTTP2-Settings\r\nContent-Length: %d\r\nHost: 127.0.0.1\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c\r\n"
    b"User-Agent: Java-http-client/17.0.15\r\n"
    b"Content-Type: application/json\r\n\r\n" % len(BODY)
)
CHUNKED = JDK.replace(
    b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked"
) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
WEBSOCKET = (
    b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/embeddings", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/models", 405),
        ("GET", "/readyz", 200),
    ],
)
def test_every_answer_has_its_duration_and_one_id(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(
        method, path, json=REQUEST if method == "POST" else None, headers={"x-request-id": "mine"}
    )

    assert answer.status_code == status
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert re.fullmatch(r"\d+", answer.headers["openai-processing-ms"])


@pytest.fixture
def file(http: httpx.Client) -> str:
    """Path of an uploaded file."""
    made = http.post(
        "/v1/files",
        files={"file": ("heron.txt", b"A heron stands still. " * 9_000)},
        data={"purpose": "assistants"},
    )
    return f"/v1/files/{made.json()['id']}"


def test_head_answers_like_get_without_a_body(http: httpx.Client, server: Server, file: str) -> None:
    paths = [
        path
        for path, operations in http.get("/openapi.json").json()["paths"].items()
        if "get" in operations and "{" not in path and path not in ENDLESS
    ]
    assert len(paths) >= 6
    for path in [
        *paths,
        "/docs",
        "/openapi.json",
        f"/v1/models/{MODEL}",
        file,
        f"{file}/content",
        "/v1/files/file-none",
        "/nowhere",
    ]:
        whole, head = http.get(path), http.head(path)
        assert (head.status_code, head.content) == (whole.status_code, b""), path
        changing = {"date", "x-request-id", "traceparent", "openai-processing-ms"}
        assert {name: value for name, value in head.headers.items() if name not in changing} == {
            name: value for name, value in whole.headers.items() if name not in changing
        }, path
    assert http.head("/v1/embeddings").status_code == 405
    with connect(server) as connection:  # an HTTP client would hide a body
        connection.sendall(b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: connection.recv(4096), b"")).endswith(b"\r\n\r\n")


def test_head_of_an_endless_stream_ends(http: httpx.Client, file: str) -> None:
    """GET would follow the events of this queued job without end."""
    store = http.post("/v1/vector_stores", json={"name": "head"}).json()["id"]
    job = http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file.rsplit("/")[-1]}).json()[
        "job_id"
    ]

    head = http.head(f"/v1/jobs/{job}/events", timeout=LONGEST_WAIT_S)

    assert (head.status_code, head.headers["content-type"].partition(";")[0], head.content) == (
        200,
        "text/event-stream",
        b"",
    )


def replies(connection: socket.socket, *parts: bytes, count: int = 1) -> bytes:
    """Send the parts, and return the bytes that arrive until the server closes.

    Or until it is silent for a second after the heads of ``count`` answers.
    """
    for part in parts:
        connection.sendall(part)
        time.sleep(0.05)
    found = b""
    try:
        while part := connection.recv(65_536):
            found += part
            if found.count(b"HTTP/1.1 ") >= count:
                connection.settimeout(1)
    except TimeoutError:
        pass
    return found


@pytest.mark.parametrize(
    ("parts", "answers"),
    [
        ([JDK + BODY], 1),
        ([JDK[:70], JDK[70:150], JDK[150:] + BODY[:5], BODY[5:]], 1),
        ([JDK, BODY, JDK + BODY, JDK, BODY], 3),
        ([(JDK + BODY) * 2], 2),
        ([CHUNKED[:300], CHUNKED[300:]], 1),
        ([WEBSOCKET, JDK + BODY], 2),
    ],
)
def test_an_offer_to_upgrade_is_ignored(server: Server, parts: list[bytes], answers: int) -> None:
    """The offers of Java's HttpClient (h2c) and of browsers are ignored, in parts, pipelined and chunked."""
    with connect(server) as connection:
        found = replies(connection, *parts, count=answers)
    assert found.count(b"HTTP/1.1 ") == found.count(b"HTTP/1.1 200") == answers, found[:500]


@pytest.mark.parametrize(
    "head",
    [b"CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/9\r\n\r\n", b"\x16\x03\x01\x02\r\n"],
)
def test_bytes_that_are_not_a_request_get_an_openai_error(server: Server, head: bytes) -> None:
    with connect(server) as connection:
        found = replies(connection, head)
    assert found.startswith(b"HTTP/1.1 400")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["message"]


@pytest.mark.parametrize("sent", [b"", BODY[:10]])
def test_a_request_that_is_cut_off_is_logged_once_with_499(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    head = (
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nx-request-id: cut-%d\r\nContent-Length: 100\r\n\r\n"
        % len(sent)
    )
    printed: list[str] = []

    def lines() -> list[str]:
        printed.extend(capfd.readouterr().out.splitlines())
        return [line for line in printed + caplog.messages if f"cut-{len(sent)}" in line]

    with caplog.at_level(logging.DEBUG):
        with connect(server) as connection:
            connection.sendall(head + sent)
            time.sleep(0.2)
        until(lines)
        time.sleep(0.2)  # for a second line
    (line,) = lines()
    assert "499" in line
    assert "Task exception" not in caplog.text


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
async def test_a_lost_connection_cancels_the_request(
    settings: Settings,
    known_keys: KnownKeys,
    usage_recorder: UsageRecorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When Serve's proxy is killed, its request ends, and no task leaves an unretrieved error."""
    ended = asyncio.Event()

    async def works(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.set()

    async def receive(parts: Iterator[Message] = iter([{"type": "http.request", "body": b"{}"}])) -> Message:  # noqa: B008
        for part in parts:
            return part
        raise ConnectionError("the proxy is gone")

    async def send(message: Message) -> None:
        raise AssertionError(f"{message} has no receiver")

    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": []}
    async with asyncio.timeout(LONGEST_WAIT_S):
        await Boundary(works, settings=settings, keys=known_keys, usage=usage_recorder)(scope, receive, send)
    gc.collect()
    assert ended.is_set()
    assert "never retrieved" not in caplog.text
