"""Browser pages of other origins may call the endpoint only if CLUSTER_CORS_ORIGINS lists them."""

from collections.abc import Iterator

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.settings import Settings
from tests.serve_app.conftest import serving
from tests.waiting import LONGEST_WAIT_S

PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def cors_client(settings: Settings, pool: ConnectionPool) -> Iterator[httpx.Client]:
    """A server with a key that one page may call."""
    allowing = settings.model_copy(
        update={"cors_origins": (PAGE,), "api_key": Settings(api_key="sk-of-the-edge").api_key}
    )
    with serving(allowing) as server, httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as client:
        yield client


PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


def test_the_preflight_of_an_allowed_page_needs_no_key(cors_client: httpx.Client) -> None:
    answer = cors_client.options("/v1/embeddings", headers=PREFLIGHT)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in answer.headers["access-control-allow-methods"]


@pytest.mark.parametrize(("key", "status"), [("sk-of-the-edge", 200), ("another", 401)])
def test_an_allowed_page_may_read_answers_errors_and_headers(
    cors_client: httpx.Client, key: str, status: int
) -> None:
    answer = cors_client.get("/v1/models", headers={"origin": PAGE, "authorization": f"Bearer {key}"})

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["vary"] == "Origin"
    assert {"x-request-id", "openai-processing-ms", "retry-after"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )


def test_a_page_of_another_origin_is_refused(cors_client: httpx.Client) -> None:
    other = {**PREFLIGHT, "origin": "https://other.example"}
    asked = cors_client.options("/v1/embeddings", headers=other)
    answered = cors_client.get("/v1/models", headers=other)

    assert (asked.status_code, answered.status_code) == (403, 401)
    assert "CLUSTER_CORS_ORIGINS" in asked.json()["error"]["message"]
    assert "access-control-allow-origin" not in {**asked.headers, **answered.headers}


def test_by_default_no_answer_has_cors_headers(http: httpx.Client) -> None:
    assert http.options("/v1/embeddings", headers=PREFLIGHT).status_code == 405
    assert not [
        name
        for name in http.get("/v1/models", headers={"origin": PAGE}).headers
        if name.startswith("access-control")
    ]


@pytest.mark.parametrize(
    ("given", "origins"),
    [("", ()), ("*", ("*",)), (f"{PAGE}, http://localhost:3000 ,", (PAGE, "http://localhost:3000"))],
)
def test_origins_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, given: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CLUSTER_CORS_ORIGINS", given)
    assert Settings().cors_origins == origins


@pytest.mark.parametrize("given", ["app.example.com", f"{PAGE}/", f"{PAGE} http://b.example"])
def test_a_setting_that_is_not_an_origin_is_refused_with_an_example(given: str) -> None:
    with pytest.raises(ValueError, match=r"is not an origin: write scheme and host"):
        Settings(cors_origins=given)
