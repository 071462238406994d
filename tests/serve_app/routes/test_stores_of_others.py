"""Another organisation neither sees nor changes a store, its files or its batches over HTTP."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores import store_files
from cluster.documents.vector_stores.stores import get_store
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from tests.indexed_files import make_files, process
from tests.serve_app.conftest import Server, serving

OTHER_ORGANISATION = "theirs-alone"


@pytest.fixture(scope="module")
def other_organisation(settings: Settings, pool: ConnectionPool) -> Iterator[httpx.Client]:
    """Requests of another organisation, which has a store of its own."""
    with pool.connection() as connection:
        ensure_organisation(connection, OTHER_ORGANISATION)
    with (
        serving(settings.model_copy(update={"organisation": OTHER_ORGANISATION})) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def ours(http: httpx.Client, settings: Settings, pool: ConnectionPool, server: Server) -> dict[str, str]:
    """A store with a batch of one file that is searchable."""
    store = http.post("/v1/vector_stores", json={"name": "ours alone"}).json()["id"]
    with pool.connection() as connection:
        (file,) = make_files(connection, settings.organisation)
    batch = http.post(f"/v1/vector_stores/{store}/file_batches", json={"file_ids": [file]}).json()["id"]
    with pool.connection() as connection:
        found = get_store(connection, settings.organisation, store)
        index = open_chunk_index(settings, pool)
        process(
            connection,
            index,
            found,
            file,
            ["a secret"],
            embed=lambda texts: server.service.models.default.engine.embed(texts).vectors,
        )
    return {"store": store, "file": file, "batch": batch}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/vector_stores/{store}", None),
        ("POST", "/v1/vector_stores/{store}", {"name": "taken"}),
        ("DELETE", "/v1/vector_stores/{store}", None),
        ("GET", "/v1/vector_stores/{store}/files", None),
        ("POST", "/v1/vector_stores/{store}/files", {"file_id": "{file}"}),
        ("GET", "/v1/vector_stores/{store}/files/{file}", None),
        ("POST", "/v1/vector_stores/{store}/files/{file}", {"attributes": {"a": 1}}),
        ("DELETE", "/v1/vector_stores/{store}/files/{file}", None),
        ("GET", "/v1/vector_stores/{store}/files/{file}/content", None),
        ("POST", "/v1/vector_stores/{store}/file_batches", {"file_ids": ["{file}"]}),
        ("GET", "/v1/vector_stores/{store}/file_batches/{batch}", None),
        ("POST", "/v1/vector_stores/{store}/file_batches/{batch}/cancel", {}),
        ("GET", "/v1/vector_stores/{store}/file_batches/{batch}/files", None),
        ("POST", "/v1/vector_stores/{store}/search", {"query": "a secret"}),
        ("POST", "/v1/vector_stores/ours alone/search", {"query": "a secret"}),
        ("POST", "/v1/vector_stores/{own}/files", {"file_id": "{file}"}),
        ("POST", "/v1/vector_stores/{own}/file_batches", {"file_ids": ["{file}"]}),
        ("GET", "/v1/vector_stores/{own}/files/{file}", None),
        ("GET", "/v1/vector_stores/{own}/file_batches/{batch}", None),
        ("POST", "/v1/vector_stores", {"file_ids": ["{file}"]}),
    ],
)
def test_another_organisation_gets_404_and_changes_nothing(
    other_organisation: httpx.Client,
    http: httpx.Client,
    ours: dict[str, str],
    pool: ConnectionPool,
    settings: Settings,
    method: str,
    path: str,
    body: Any,
) -> None:
    own = other_organisation.post("/v1/vector_stores", json={"name": "own"}).json()["id"]
    names = {**ours, "own": own}
    before = _state(http, pool, settings, ours)
    response = other_organisation.request(
        method, path.format(**names), json=None if body is None else _with_names(body, names)
    )
    assert response.status_code == 404, response.text
    assert "secret" not in response.text
    assert _state(http, pool, settings, ours) == before
    assert ours["store"] not in {
        store["id"]
        for store in other_organisation.get("/v1/vector_stores", params={"limit": 100}).json()["data"]
    }
    assert other_organisation.get("/v1/vector_stores", params={"after": ours["store"]}).status_code == 400


def _with_names(body: Any, names: dict[str, str]) -> Any:
    if isinstance(body, dict):
        return {name: _with_names(value, names) for name, value in body.items()}
    if isinstance(body, list):
        return [_with_names(value, names) for value in body]
    return body.format(**names) if isinstance(body, str) else body


def _state(http: httpx.Client, pool: ConnectionPool, settings: Settings, ours: dict[str, str]) -> Any:
    store = f"/v1/vector_stores/{ours['store']}"
    with pool.connection() as connection:
        attached = store_files.get_store_file(connection, settings.organisation, ours["store"], ours["file"])
        jobs = connection.execute(
            "SELECT count(*) FROM jobs WHERE organisation = %s", [OTHER_ORGANISATION]
        ).fetchone()
    found = http.post(f"{store}/search", json={"query": "a secret"}).json()
    return (
        attached,
        jobs,
        found,
        http.get(store).json(),
        http.get(f"{store}/file_batches/{ours['batch']}").json(),
    )
