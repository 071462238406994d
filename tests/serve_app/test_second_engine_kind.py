"""A second kind of engine works everywhere: list of models, embeddings, workers, stores and search."""

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.vector_stores.stores import get_store
from cluster.settings import Settings
from serve_app.deployment import Embedder
from tests.data_jobs.running_consumer import consuming
from tests.hashing_engine import NAME, HashingEngine, hashing_settings
from tests.serve_app.conftest import Server, serving
from tests.serve_app.test_deployment import replica
from tests.waiting import LONGEST_WAIT_S, until

PUMP = "Only the operator on duty may stop the pump."


@pytest.fixture(scope="module")
def only_hashing(settings: Settings) -> Iterator[Settings]:
    """Settings whose only model has no weights and no folder."""
    with hashing_settings(settings) as changed:
        yield changed


@pytest.fixture(scope="module")
def hashing_server(only_hashing: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of that model alone."""
    with serving(only_hashing) as server:
        yield server


@pytest.fixture(scope="module")
def hashing(hashing_server: Server) -> Iterator[httpx.Client]:
    """Requests to it."""
    with httpx.Client(base_url=hashing_server.url, timeout=LONGEST_WAIT_S) as client:
        yield client


def test_it_is_listed_with_its_limits_and_embeds_by_its_name(
    hashing: httpx.Client, hashing_server: Server
) -> None:
    engine = hashing_server.service.models.default.engine
    (listed,) = (one for one in hashing.get("/v1/models").json()["data"] if one["kind"] != "agent")
    assert (listed["id"], listed["dimensions"], listed["max_input_tokens"]) == (NAME, 64, 256)
    assert listed["fingerprint"] == engine.fingerprint.id
    answer = hashing.post("/v1/embeddings", json={"model": NAME, "input": [PUMP, "herons"]}).json()
    vectors = np.array([item["embedding"] for item in answer["data"]], np.float32)
    np.testing.assert_allclose(vectors, engine.embed([PUMP, "herons"]).vectors, atol=1e-6)
    assert answer["usage"]["total_tokens"] == 9 + 2 + 1 + 2
    unknown = hashing.post("/v1/embeddings", json={"model": "all-MiniLM-L6-v2", "input": PUMP})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


def test_a_store_is_made_filled_by_a_worker_and_searched_with_it(
    hashing: httpx.Client, hashing_server: Server, only_hashing: Settings, pool: ConnectionPool
) -> None:
    engine = hashing_server.service.models.default.engine
    store = hashing.post("/v1/vector_stores", json={"name": "hashed"}).json()["id"]
    with pool.connection() as connection:
        made = get_store(connection, only_hashing.organisation, store)
    assert (made.fingerprint.model, made.fingerprint) == (NAME, engine.fingerprint)
    file = hashing.post(
        "/v1/files", files={"file": ("pump.txt", f"{PUMP}\n")}, data={"purpose": "assistants"}
    ).json()["id"]
    path = f"/v1/vector_stores/{store}/files"
    attached = hashing.post(path, json={"file_id": file, "priority": "high"}).json()
    assert attached["chunking"]["max_chunk_size_tokens"] == engine.tokeniser.max_content_tokens
    with consuming(only_hashing, pool, engine):
        until(
            lambda: hashing.get(f"{path}/{file}").json(),
            lambda file: file["status"] != "in_progress",
        )
    body = {"query": "who may stop the pump", "ranking_options": {"ranker": "none"}, "mode": "exact"}
    (hit,) = hashing.post(f"/v1/vector_stores/{store}/search", json=body).json()["data"]
    query, chunk = engine.embed([body["query"], PUMP]).vectors  # type: ignore[list-item]
    assert hit["content"][0]["text"] == PUMP
    assert hit["score"] == pytest.approx(float(query @ chunk), abs=1e-5)


async def test_a_worker_reaches_it_by_its_fingerprint(hashing_server: Server) -> None:
    engine = hashing_server.service.models.default.engine
    ids = engine.tokeniser.ids([PUMP])
    vectors = await Embedder.embed_ids(
        replica(hashing_server), ids, fingerprint=engine.fingerprint.id, organisation="default"
    )
    np.testing.assert_allclose(vectors, engine.embed_ids(ids), atol=1e-6)


def test_an_engine_that_bills_is_not_warmed_up(
    only_hashing: Settings, pool: ConnectionPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    monkeypatch.setattr(HashingEngine, "billed", True)
    monkeypatch.setattr(HashingEngine, "embed", lambda *_: called.append("embed"))
    monkeypatch.setattr(HashingEngine, "embed_ids", lambda *_: called.append("embed_ids"))
    with serving(only_hashing):
        pass
    assert called == []
