"""Every request meets the same limits, gets errors in one form, and has an id."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import httpx
import pytest
from psycopg_pool import ConnectionPool
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from cluster.errors import Unavailable
from cluster.keys.known_keys import KnownKeys
from cluster.rate_limits import SharedBreaker, provider_load
from cluster.settings import Settings
from serve_app.edge.boundary import Boundary
from serve_app.request_counts import RequestCounts
from serve_app.usage.usage_recorder import UsageRecorder
from tests.keys_in_output import MARK
from tests.serve_app.conftest import MODEL, Server, serving
from tests.serve_app.raw_requests import connect
from tests.waiting import until


@pytest.fixture(scope="module", autouse=True)
def no_provider_away(pool: ConnectionPool) -> None:
    """Forget the providers that were away in earlier tests, because ``/readyz`` shows them."""
    with pool.connection() as connection:
        connection.execute("DELETE FROM rate_breakers")


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/embeddings", b"{", 400),
        ("POST", "/v1/embeddings", b"[" * 200_000, 400),
        ("POST", "/v1/embeddings", b"\xff\xfe", 400),
        ("POST", "/v1/embeddings", b"", 400),
        ("POST", "/v1/embeddings", b"[]", 400),
        ("POST", "/v1/embeddings", b'{"model": "a", "input": "' + b"x" * 9_000_000 + b'"}', 413),
        ("GET", "/v1/embeddings", b"", 405),
        ("GET", "/nowhere", b"", 404),
        ("DELETE", "/", b"", 404),
    ],
)
def test_every_refusal_is_an_openai_error(
    http: httpx.Client, method: str, path: str, content: bytes, status: int
) -> None:
    response = http.request(method, path, content=content, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]


def test_a_body_without_a_length_is_refused_past_the_limit(http: httpx.Client) -> None:
    parts: Iterator[bytes] = (b"x" * 1_000_000 for _ in range(16))
    response = http.post("/v1/embeddings", content=parts, headers={"content-type": "application/json"})
    assert "content-length" not in response.request.headers
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"


def test_a_harmless_request_id_is_kept_and_any_other_replaced(http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    assert http.get("/healthz", headers={"x-request-id": "a b;c"}).headers["x-request-id"].startswith("req_")


def test_a_content_length_that_is_not_a_number_gets_400(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: lots\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_the_process_is_alive_and_ready(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ok", "model": "ok", "database": "ok"}


def test_a_provider_that_is_away_is_named_and_takes_no_replica_out_of_service(
    http: httpx.Client, pool: ConnectionPool
) -> None:
    name = f"provider-{uuid4().hex[:8]}"
    breaker = SharedBreaker(pool, name, threshold=1, first_pause_s=600, longest_pause_s=600)
    with pytest.raises(Unavailable), breaker.attempt():
        raise Unavailable("503")

    answer = http.get("/readyz")
    with pool.connection() as connection:
        load = provider_load(connection)
        connection.execute("DELETE FROM rate_breakers WHERE name = %s", [name])

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert answer.json()["providers"][name].startswith(f"{name} does not answer; the next call is sent at 20")
    assert load.unavailable >= 1
    assert http.get("/readyz").json() == {"status": "ok", "model": "ok", "database": "ok"}


@pytest.mark.parametrize("page", ["/v1/models", "/openapi.json", "/docs", "/readyz"])
def test_no_page_shows_a_key(http: httpx.Client, page: str) -> None:
    answer = http.get(page)

    assert answer.status_code == 200
    assert MARK not in answer.text


def test_the_openapi_document_names_every_path(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {
        "/v1/embeddings",
        "/v1/models",
        "/v1/vector_stores/{vector_store}/search",
        "/healthz",
        "/readyz",
    } <= paths.keys()


def test_a_gzip_body_is_accepted_and_a_bomb_is_refused(http: httpx.Client) -> None:
    import gzip

    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    body = json.dumps({"model": MODEL, "input": "a heron"}).encode()
    assert http.post("/v1/embeddings", content=gzip.compress(body), headers=headers).status_code == 200
    bomb = gzip.compress(b" " * 200_000_000)
    assert len(bomb) < 300_000
    assert http.post("/v1/embeddings", content=bomb, headers=headers).status_code == 413
    for broken in (body, gzip.compress(body)[:-12]):
        assert http.post("/v1/embeddings", content=broken, headers=headers).status_code == 400
    assert (
        http.post("/v1/embeddings", content=body, headers={**headers, "content-encoding": "br"}).status_code
        == 415
    )


def test_a_slow_body_gets_408(settings: Settings, pool: ConnectionPool) -> None:
    with (
        serving(settings.model_copy(update={"body_timeout_s": 0.3})) as server,
        connect(server) as connection,
    ):
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/embeddings", 503),
        ("GET", "/v1/files", 503),
        ("GET", "/v1/jobs/job_1/events", 200),
        ("POST", "/v1/files", 200),
        ("POST", "/upload", 200),
        ("POST", "/v1/uploads/upload_1/parts", 200),
        ("POST", "/v1/uploads/upload_1/complete", 200),
    ],
)
def test_an_answer_must_begin_in_time_except_for_uploads(
    settings: Settings,
    known_keys: KnownKeys,
    usage_recorder: UsageRecorder,
    method: str,
    path: str,
    status: int,
) -> None:
    # An endless stream has to begin within the limit, and a busy machine delays it.
    limit_s = 1.0 if path.endswith("/events") else 0.1

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0 if path.endswith("/events") else 0.5)
        await StreamingResponse(pieces())(scope, receive, send)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"do"
        await asyncio.sleep(limit_s + 0.2)
        yield b"ne"

    async def ask() -> httpx.Response:
        changed = settings.model_copy(update={"request_timeout_s": limit_s})
        app = Boundary(slow, settings=changed, keys=known_keys, usage=usage_recorder)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.request(method, path)

    response = asyncio.run(ask())
    assert response.status_code == status
    if status == 200:
        assert response.text == "done"
    else:
        assert response.json()["error"]["type"] == "server_error"
        assert response.headers["retry-after"] == "1"


def test_requests_and_failures_of_the_last_minutes_are_counted(
    settings: Settings, known_keys: KnownKeys, usage_recorder: UsageRecorder
) -> None:
    now = 1_000.0
    counts = RequestCounts(clock=lambda: now)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("", int(scope["path"][-3:]))(scope, receive, send)

    async def ask(*paths: str) -> None:
        app = Boundary(answer, settings=settings, keys=known_keys, usage=usage_recorder, requests=counts)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            for path in paths:
                await client.get(path)

    asyncio.run(ask("/200", "/503", "/404", "/500"))
    assert counts.sums() == (4, 2)
    now += 299
    asyncio.run(ask("/200"))
    assert counts.sums() == (5, 2)
    now += 20
    assert counts.sums() == (1, 0)


def test_the_work_of_a_disconnected_client_is_dropped(server: Server) -> None:
    stats = server.service.models.default.batcher.stats
    dropped, texts = stats.dropped_inputs, [f"{n} left behind " * 60 for n in range(400)]
    body = json.dumps({"model": MODEL, "input": texts, "overflow": "truncate"}).encode()
    head = (
        "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with connect(server) as connection:
        connection.sendall(head.encode() + body)
        until(lambda: server.service.models.default.batcher.waiting_tokens)
    until(lambda: not server.service.models.default.batcher.waiting_tokens)
    assert stats.dropped_inputs - dropped > 200
