"""What stands in the head of a request and of its answer: types, codings, ids, HEAD, browsers' questions, offers to upgrade."""

import asyncio
import functools
import gc
import gzip
import json
import logging
import re
import socket
import time
import zlib
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import ConnectionPool
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from cluster.settings import Settings
from serve_app.edge.boundary import Boundary
from serve_app.edge.decompression import Decompressor
from tests.serve_app.conftest import MODEL, Server, serving
from tests.serve_app.edge.test_boundary import connect

#: Without the time of day, which would change the ids of the tests.
gzipped = functools.partial(gzip.compress, mtime=0)
ASKED = {"model": MODEL, "input": "a heron"}
BODY = json.dumps(ASKED).encode()
JSON = {"content-type": "application/json"}
PAGE = "https://app.example.com"
#: As the HttpClient of OpenJDK 17 sent it.
JDK = (
    b"POST /v1/embeddings HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: %d\r\nHost: 127.0.0.1\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/17.0.15\r\n"
    b"Content-Type: application/json\r\n\r\n" % len(BODY)
)
CHUNKED = JDK.replace(
    b"Content-Length: %d" % len(BODY), b"Transfer-Encoding: chunked"
) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
WEBSOCKET = (
    b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
)


# --- the body's type


def test_a_body_without_a_type_is_json(http: httpx.Client) -> None:
    request = http.build_request("POST", "/v1/embeddings", content=BODY)
    assert "content-type" not in request.headers

    assert http.send(request).status_code == 200


@pytest.mark.parametrize(
    "type", ["application/json", "APPLICATION/JSON; charset=utf-8", "application/vnd.api+json", ""]
)
def test_json_by_any_of_its_names_is_json(http: httpx.Client, type: str) -> None:
    assert http.post("/v1/embeddings", content=BODY, headers={"content-type": type}).status_code == 200


@pytest.mark.parametrize(
    "type",
    [
        "application/x-www-form-urlencoded",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/jsonl",
    ],
)
def test_any_other_type_is_named_with_the_header_to_send(http: httpx.Client, type: str) -> None:
    refused = http.post("/v1/embeddings", content=BODY, headers={"content-type": type})

    message = refused.json()["error"]["message"]
    assert refused.status_code == 415
    assert repr(type) in message
    assert "'Content-Type: application/json'" in message
    assert ("curl" in message) == type.endswith("urlencoded")


def test_a_form_type_without_a_body_is_no_matter(http: httpx.Client) -> None:
    """``curl -X POST -d ''``."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert http.post("/v1/jobs/job_none/cancel", content=b"", headers=form).status_code == 404


# --- the body's coding


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzipped(BODY[:9]) + gzipped(BODY[9:])),
        ("gzip", gzipped(b"") + gzipped(BODY) + bytes(512)),
        ("x-gzip", gzipped(BODY)),
        ("GZip, identity", gzipped(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
        ("", BODY),
    ],
)
def test_a_body_is_unpacked_as_its_header_says(http: httpx.Client, coding: str, packed: bytes) -> None:
    assert (
        http.post("/v1/embeddings", content=packed, headers={**JSON, "content-encoding": coding}).status_code
        == 200
    )


@pytest.mark.parametrize(
    ("coding", "packed", "status"),
    [
        ("gzip, gzip", gzipped(gzipped(BODY)), 415),
        ("br", BODY, 415),
        ("gzip", gzipped(BODY) + b"more", 400),
        ("gzip", gzipped(BODY) + gzipped(BODY)[:-3], 400),
        ("deflate", zlib.compress(BODY) + b"more", 400),
        ("deflate", gzipped(BODY), 400),
        ("gzip", gzipped(b" " * 5_000_000) * 2, 413),
    ],
)
def test_a_body_that_cannot_be_unpacked_is_refused(
    http: httpx.Client, coding: str, packed: bytes, status: int
) -> None:
    refused = http.post("/v1/embeddings", content=packed, headers={**JSON, "content-encoding": coding})

    assert refused.status_code == status
    assert refused.json()["error"]["message"]
    assert refused.headers.get("accept-encoding") == ("gzip, deflate" if status == 415 else None)


@given(st.lists(st.binary(max_size=40), max_size=4), st.lists(st.integers(1, 30), min_size=1))
def test_members_are_unpacked_alike_wherever_the_parts_are_cut(
    members: list[bytes], steps: list[int]
) -> None:
    packed, decompressor, found, at = (
        b"".join(map(gzip.compress, [*members, b"end"])),
        Decompressor("gzip", max_bytes=1_000),
        b"",
        0,
    )
    while at < len(packed):
        step = steps[at % len(steps)]
        found += decompressor.decompress(packed[at : at + step], last=at + step >= len(packed))
        at += step
    assert found == b"".join([*members, b"end"])


def test_members_without_content_do_not_go_on_for_ever() -> None:
    decompressor, empty = Decompressor("gzip", max_bytes=10_000), gzip.compress(b"") * 100
    assert decompressor.decompress(empty * 4, last=False) == b""
    with pytest.raises(HTTPException, match="even while compressed"):
        decompressor.decompress(empty * 4, last=False)


# --- every answer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/embeddings", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/models", 405),
        ("GET", "/readyz", 200),
    ],
)
def test_every_answer_says_how_long_it_took_and_carries_one_id(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(
        method, path, json=ASKED if method == "POST" else None, headers={"x-request-id": "mine"}
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


def test_head_is_get_without_a_body_on_every_path(http: httpx.Client, server: Server, file: str) -> None:
    paths = [
        path
        for path, operations in http.get("/openapi.json").json()["paths"].items()
        if "get" in operations and "{" not in path
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
        changing = {"date", "x-request-id", "openai-processing-ms"}
        assert {name: value for name, value in head.headers.items() if name not in changing} == {
            name: value for name, value in whole.headers.items() if name not in changing
        }, path
    assert http.head("/v1/embeddings").status_code == 405
    with connect(server) as connection:  # no client in between that would hide a body
        connection.sendall(b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"".join(iter(lambda: connection.recv(4096), b"")).endswith(b"\r\n\r\n")


def test_head_of_what_does_not_end_ends(http: httpx.Client, file: str) -> None:
    """The events of a job that nobody works on, which GET would follow."""
    store = http.post("/v1/vector_stores", json={"name": "head"}).json()["id"]
    job = http.post(f"/v1/vector_stores/{store}/files", json={"file_id": file.rsplit("/")[-1]}).json()[
        "job_id"
    ]

    head = http.head(f"/v1/jobs/{job}/events", timeout=5)

    assert (head.status_code, head.headers["content-type"].partition(";")[0], head.content) == (
        200,
        "text/event-stream",
        b"",
    )


# --- offers to upgrade


def said(connection: socket.socket, *parts: bytes) -> bytes:
    """What comes back until the server is silent or closes."""
    for part in parts:
        connection.sendall(part)
        time.sleep(0.05)
    connection.settimeout(1)
    answers = b""
    try:
        while part := connection.recv(65_536):
            answers += part
    except TimeoutError:
        pass
    return answers


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
    """By what Java's HttpClient sends (h2c), however it is cut, pipelined, chunked, and by browsers' offers, too."""
    with connect(server) as connection:
        found = said(connection, *parts)
    assert found.count(b"HTTP/1.1 ") == found.count(b"HTTP/1.1 200") == answers, found[:500]


@pytest.mark.parametrize(
    "head",
    [b"CONNECT a.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/9\r\n\r\n", b"\x16\x03\x01\x02\r\n"],
)
def test_what_is_no_request_is_refused_in_the_shape_of_all_errors(server: Server, head: bytes) -> None:
    with connect(server) as connection:
        found = said(connection, head)
    assert found.startswith(b"HTTP/1.1 400")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"]["message"]


# --- web pages


@pytest.fixture(scope="module")
def open_to_pages(settings: Settings, pool: ConnectionPool) -> Iterator[httpx.Client]:
    """A server with a key that one page may call."""
    allowing = settings.model_copy(
        update={"cors_origins": (PAGE,), "api_key": Settings(api_key="sk-of-the-edge").api_key}
    )
    with serving(allowing) as server, httpx.Client(base_url=server.url) as client:
        yield client


ASKING = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


def test_a_page_that_is_named_may_ask_first_without_the_key(open_to_pages: httpx.Client) -> None:
    answer = open_to_pages.options("/v1/embeddings", headers=ASKING)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize(("key", "status"), [("sk-of-the-edge", 200), ("another", 401)])
def test_it_may_read_answers_and_errors_with_their_headers(
    open_to_pages: httpx.Client, key: str, status: int
) -> None:
    answer = open_to_pages.get("/v1/models", headers={"origin": PAGE, "authorization": f"Bearer {key}"})

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["vary"] == "Origin"
    assert {"x-request-id", "openai-processing-ms", "retry-after"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )


def test_no_other_page_may(open_to_pages: httpx.Client) -> None:
    other = {**ASKING, "origin": "https://other.example"}
    asked = open_to_pages.options("/v1/embeddings", headers=other)
    answered = open_to_pages.get("/v1/models", headers=other)

    assert (asked.status_code, answered.status_code) == (403, 401)
    assert "CLUSTER_CORS_ORIGINS" in asked.json()["error"]["message"]
    assert "access-control-allow-origin" not in {**asked.headers, **answered.headers}


def test_without_the_setting_nothing_is_said_to_pages(http: httpx.Client) -> None:
    assert http.options("/v1/embeddings", headers=ASKING).status_code == 405
    assert not [
        name
        for name in http.get("/v1/models", headers={"origin": PAGE}).headers
        if name.startswith("access-control")
    ]


@pytest.mark.parametrize(
    ("given", "origins"),
    [("", ()), ("*", ("*",)), (f"{PAGE}, http://localhost:3000 ,", (PAGE, "http://localhost:3000"))],
)
def test_origins_are_written_with_commas(
    monkeypatch: pytest.MonkeyPatch, given: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CLUSTER_CORS_ORIGINS", given)
    assert Settings().cors_origins == origins


@pytest.mark.parametrize("given", ["app.example.com", f"{PAGE}/", f"{PAGE} http://b.example"])
def test_what_is_no_origin_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ValueError, match=r"is not an origin: write scheme and host"):
        Settings(cors_origins=given)


# --- those who leave


@pytest.mark.parametrize("sent", [b"", BODY[:10]])
def test_a_request_that_is_cut_off_is_logged_as_499_and_leaves_no_trace(
    server: Server, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    head = (
        b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nx-request-id: cut-%d\r\nContent-Length: 100\r\n\r\n"
        % len(sent)
    )
    with caplog.at_level(logging.DEBUG), connect(server) as connection:
        connection.sendall(head + sent)
        time.sleep(0.2)
    time.sleep(0.3)

    lines = [
        line for line in capfd.readouterr().out.splitlines() + caplog.messages if f"cut-{len(sent)}" in line
    ]
    assert len(lines) == 1
    assert "499" in lines[0]
    assert "Task exception" not in caplog.text


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
async def test_a_connection_that_is_lost_below_us_counts_as_left(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """As when Serve's proxy is killed with a request in flight: the work for it ends, and no task's error is left lying about."""
    ended = asyncio.Event()

    async def works(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    async def receive(parts: Iterator[Message] = iter([{"type": "http.request", "body": b"{}"}])) -> Message:  # noqa: B008
        for part in parts:
            return part
        raise ConnectionError("the proxy is gone")

    async def send(message: Message) -> None:
        raise AssertionError(f"nobody is there for {message}")

    scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": []}
    async with asyncio.timeout(5):
        await Boundary(works, settings=settings)(scope, receive, send)
    gc.collect()
    assert ended.is_set()
    assert "never retrieved" not in caplog.text
