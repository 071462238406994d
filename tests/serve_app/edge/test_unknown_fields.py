"""Unknown fields are ignored and listed in a header, or refused, as CLUSTER_UNKNOWN_FIELDS says."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cluster.documents.vector_stores.stores import VectorStore
from cluster.settings import Settings
from tests.serve_app.conftest import MODEL, serving
from tests.waiting import LONGEST_WAIT_S

EMBED = {"model": MODEL, "input": "a"}
#: A path, a request, and the names in the header of its answer.
IGNORED: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/embeddings", {**EMBED, "user": "u"}, "user"),
    ("/v1/embeddings", {**EMBED, "user": "u", "priority": 3, "colour": "red"}, "priority, colour, user"),
    ("/v1/embeddings", {**EMBED, "extra_body": {"a": 1}}, "extra_body"),
    ("/v1/embeddings", {**EMBED, "bad\r\nname: x": 1}, "bad%0D%0Aname%3A%20x"),
    ("/v1/rerank", {"query": "a", "documents": ["a"], "max_chunks_per_doc": 3}, "max_chunks_per_doc"),
    ("/v2/embed", {"model": MODEL, "texts": ["a"], "priority": 1}, "priority"),
    ("/embed", {"inputs": "a", "model": "x"}, "model"),
    (
        "/v1/vector_stores",
        {"expires_after": {"anchor": "last_active_at", "days": 1, "hours": 2}},
        "expires_after.hours",
    ),
    ("/v1/vector_stores", {"chunking_strategy": {"type": "auto", "static": {}}}, "chunking_strategy.static"),
    ("/v1/embeddings?beta=true&beta=1", EMBED, "beta"),
]


@pytest.mark.parametrize(("path", "body", "names"), IGNORED)
def test_an_unknown_field_is_ignored_and_listed_in_a_header(
    http: httpx.Client, path: str, body: dict[str, Any], names: str
) -> None:
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    assert response.headers["x-ignored-fields"] == names


def test_the_header_is_absent_if_nothing_was_ignored(http: httpx.Client) -> None:
    assert (
        "x-ignored-fields"
        not in http.post("/v1/embeddings", json={**EMBED, "user": None, "colour": None}).headers
    )
    assert "x-ignored-fields" not in http.get("/v1/vector_stores?limit=1").headers
    assert http.get("/v1/vector_stores?limt=1").headers["x-ignored-fields"] == "limt"


@pytest.mark.parametrize("path", ["/v1/files", "/upload"])
def test_a_form_ignores_an_unknown_field_and_refuses_an_unknown_file(http: httpx.Client, path: str) -> None:
    purpose = {"purpose": "assistants"} if path == "/v1/files" else {}
    taken = http.post(path, files={"file": ("a.txt", b"a text")}, data={**purpose, "colour": "red"})
    assert (taken.status_code, taken.headers["x-ignored-fields"]) == (200, "colour")
    refused = http.post(path, files={"document": ("a.txt", b"a text")}, data=purpose)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "document")
    assert "this form has the file 'file'" in refused.json()["error"]["message"]


def test_many_long_names_make_a_short_header(http: httpx.Client) -> None:
    header = http.post(
        "/v1/embeddings", json={**EMBED, **{f"{n}{'x' * 500}": n for n in range(500)}}
    ).headers["x-ignored-fields"]
    assert len(header) < 4_096


def test_an_error_beside_an_unknown_field_is_reported(http: httpx.Client) -> None:
    error = http.post("/v1/embeddings", json={**EMBED, "colour": "red", "dimensions": "x"}).json()["error"]
    assert error["param"] == "dimensions"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/jobs/retry", {"colour": "red"}),
        ("/v1/vector_stores/{}/search", {"query": "a", "filter": {"type": "eq", "key": "k", "value": 1}}),
    ],
)
def test_an_unknown_condition_is_refused(
    http: httpx.Client, birds: VectorStore, path: str, body: dict[str, Any]
) -> None:
    response = http.post(path.format(birds.id), json=body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, list(body)[-1])


@pytest.fixture(scope="module")
def refusing(settings: Settings) -> Iterator[httpx.Client]:
    """A server with CLUSTER_UNKNOWN_FIELDS=error."""
    with (
        serving(settings.model_copy(update={"unknown_fields": "error"})) as server,
        httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http,
    ):
        yield http


def test_the_setting_refuses_unknown_fields_but_not_those_of_other_servers(
    refusing: httpx.Client,
) -> None:
    for path, body, param in (
        ("/v1/embeddings", {**EMBED, "colour": "red"}, "colour"),
        ("/v1/embeddings?colour=red", EMBED, "colour"),
        (
            "/v1/vector_stores",
            {"expires_after": {"anchor": "last_active_at", "days": 1, "hours": 2}},
            "expires_after.hours",
        ),
    ):
        response = refusing.post(path, json=body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)
    taken = refusing.post("/v1/embeddings", json={**EMBED, "user": "u", "priority": 3})
    assert (taken.status_code, taken.headers["x-ignored-fields"]) == (200, "priority, user")
