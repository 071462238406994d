"""What every request meets: limits while it arrives, errors in one shape, an id."""

from collections.abc import Iterator

import httpx
import pytest

from tests.serve_app.conftest import Server


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
def test_every_refusal_is_an_openai_error(http: httpx.Client, method: str, path: str, content: bytes, status: int) -> None:
    response = http.request(method, path, content=content, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"].keys() == {"message", "type", "param", "code"}
    assert response.headers["x-request-id"]


def test_a_body_that_never_says_its_length_is_refused_past_the_limit(http: httpx.Client) -> None:
    parts: Iterator[bytes] = (b"x" * 1_000_000 for _ in range(16))
    response = http.post("/v1/embeddings", content=parts, headers={"content-type": "application/json"})
    assert "content-length" not in response.request.headers
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"


def test_a_sane_request_id_is_echoed_and_any_other_replaced(http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"x-request-id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    assert http.get("/healthz", headers={"x-request-id": "a b;c"}).headers["x-request-id"].startswith("req_")


def test_a_content_length_that_is_no_number_is_no_server_error(server: Server) -> None:
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: lots\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_it_is_alive_and_ready(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    assert http.get("/readyz").json() == {"status": "ok", "model": "ok", "database": "ok"}


def test_the_openapi_document_names_every_path(http: httpx.Client) -> None:
    paths = http.get("/openapi.json").json()["paths"]
    assert {"/v1/embeddings", "/v1/models", "/v1/vector_stores/{vector_store}/search", "/healthz", "/readyz"} <= paths.keys()
