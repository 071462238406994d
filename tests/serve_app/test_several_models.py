"""One server with three models: every store is filled and searched with its own model, and with no other
model.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import openai
import pytest
from numpy.typing import NDArray
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from data_jobs.worker.chunk_embedder import Ids
from serve_app.deployment import Embedder
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_settings
from tests.data_jobs.running_consumer import consuming
from tests.hashing_engine import KIND, hashing_kind
from tests.serve_app.conftest import MODEL, PROMPTED, Server, serving
from tests.serve_app.test_deployment import replica
from tests.simulators.openai import Provider, simulator
from tests.simulators.openai import Server as SimulatedProvider
from tests.waiting import LONGEST_WAIT_S, until

PUMP, HERON = (
    "Only the operator on duty may stop the pump.",
    "Herons stand still for hours before they strike.",
)
QUESTION = "who may stop the pump"
HASHED = "hashed"
#: A model at a provider.
REMOTE = f"remote-{uuid4().hex[:8]}"
#: Name of a model. Its vectors have as many dimensions as those of the weights that take the name later.
SWAPPED = "swapped"


class ReplicaEmbedder:
    """Calls a replica's method as a worker does, without Ray between the two."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        del urgent
        return await Embedder.embed_ids(
            replica(self.server), ids, fingerprint=fingerprint, organisation=organisation, lane="bulk"
        )


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    """A provider of embeddings that speaks OpenAI's protocol over TCP."""
    with simulator(Provider(keys={KEY})) as server:
        yield server


@pytest.fixture(scope="module")
def three_settings(settings: Settings, prompted: Path, provider: SimulatedProvider) -> Iterator[Settings]:
    """Settings with the packaged model, a second local model, a remote one, and two of another kind."""
    models = {PROMPTED: str(prompted), HASHED: f"{KIND}:64", SWAPPED: f"{KIND}:384"}
    with hashing_kind(), pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY_ENV, KEY)
        yield remote_settings(with_models(settings, models), provider.url, name=REMOTE, dimensions=256)


@pytest.fixture(scope="module")
def three(three_settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """Run a server with these models."""
    with serving(three_settings) as server:
        yield server


@pytest.fixture(scope="module")
def client(three: Server) -> Iterator[OpenAI]:
    """Open OpenAI's unmodified client for this server."""
    with OpenAI(base_url=f"{three.url}/v1", api_key="none needed", max_retries=0) as client:
        yield client


def with_models(settings: Settings, models: dict[str, str]) -> Settings:
    """The settings with these further models."""
    table = Table({name: ModelSetting(source=source) for name, source in models.items()})
    return settings.model_copy(update={"models": table})


def store_of(client: OpenAI, model: str | None = None) -> str:
    """Id of a new store with this model."""
    extra = {} if model is None else {"embedding_model": model}
    return client.vector_stores.create(name=f"of {model} {uuid4()}", extra_body=extra).id


def attached(client: OpenAI, store: str, text: str) -> str:
    """Id of a new file with this text that is attached to the store."""
    file = client.files.create(file=(f"{uuid4()}.txt", text.encode()), purpose="assistants")
    client.vector_stores.files.create(store, file_id=file.id)
    return file.id


def ended(client: OpenAI, store: str, file: str) -> Any:
    """The attached file once its job has ended."""
    return until(
        lambda: client.vector_stores.files.retrieve(file, vector_store_id=store),
        lambda file: file.status != "in_progress",
    )


def cosines(client: OpenAI, store: str) -> dict[str, float]:
    """Score of each text that the store holds, by vectors alone."""
    options: Any = {"ranker": "none"}
    found = client.vector_stores.search(
        store, query=QUESTION, ranking_options=options, extra_body={"mode": "exact"}
    )
    return {hit.content[0].text: hit.score for hit in found}


def test_every_model_is_listed_with_its_kind_and_without_its_source(
    three: Server, prompted: Path, provider: SimulatedProvider
) -> None:
    with httpx.Client(base_url=three.url, timeout=LONGEST_WAIT_S) as http:
        page = http.get("/v1/models").text
        one = http.get(f"/v1/models/{PROMPTED}").text
    shown = {
        model["id"]: (model["kind"], model["dimensions"])
        for model in json.loads(page)["data"]
        if model["kind"] != "agent"  # agents of other tests
    }
    assert shown == {
        MODEL: ("local", 384), PROMPTED: ("local", 384), HASHED: (KIND, 64), SWAPPED: (KIND, 384),
        REMOTE: ("openai", 256),
    }  # fmt: skip
    for hidden in (str(prompted.parent), provider.url, KEY_ENV, KEY):
        assert hidden not in page + one


def test_a_store_shows_its_model_in_every_answer(client: OpenAI) -> None:
    store = store_of(client, PROMPTED)
    shown = [
        client.vector_stores.retrieve(store),
        next(one for one in client.vector_stores.list(limit=100) if one.id == store),
        client.vector_stores.update(store, name="renamed"),
        client.vector_stores.retrieve(store_of(client)),
    ]
    names = [(one.model_extra or {})["embedding_model"] for one in shown]
    assert names == [PROMPTED, PROMPTED, PROMPTED, MODEL]
    with pytest.raises(openai.NotFoundError, match="`nothing` does not exist here") as refusal:
        store_of(client, "nothing")
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "embedding_model")


def test_three_stores_are_filled_and_searched_each_with_its_own_model(
    client: OpenAI,
    three: Server,
    three_settings: Settings,
    provider: SimulatedProvider,
    pool: ConnectionPool,
) -> None:
    stores = {name: store_of(client, name) for name in (MODEL, PROMPTED, REMOTE)}
    files = {
        name: [attached(client, store, text) for text in (PUMP, HERON)] for name, store in stores.items()
    }
    with consuming(three_settings, pool, embed=ReplicaEmbedder(three)):
        for name, store in stores.items():
            for file in files[name]:
                assert ended(client, store, file).status == "completed"
    accepted = {text for _, _, texts, _ in provider.provider.accepted for text in texts}
    assert accepted == {PUMP, HERON}
    for name, store in stores.items():
        engine = three.service.models[name].engine
        document, query = (engine.prompts.get(kind, "") for kind in ("document", "query"))
        vectors = engine.embed([f"{query}{QUESTION}", f"{document}{PUMP}", f"{document}{HERON}"]).vectors  # type: ignore[attr-defined]
        expected = dict(zip((PUMP, HERON), vectors[1:] @ vectors[0], strict=True))
        assert cosines(client, store) == pytest.approx(
            {text: max(0.0, cos) for text, cos in expected.items()}, abs=1e-5
        )


def test_models_swapped_behind_a_worker_are_refused_and_nothing_is_written(
    client: OpenAI,
    three: Server,
    three_settings: Settings,
    settings: Settings,
    prompted: Path,
    pool: ConnectionPool,
) -> None:
    store = store_of(client, SWAPPED)
    file = attached(client, store, PUMP)
    with serving(with_models(settings, {SWAPPED: str(prompted)})) as swapped:
        with consuming(three_settings, pool, embed=ReplicaEmbedder(swapped)):
            failed = ended(client, store, file)
        with httpx.Client(base_url=swapped.url, timeout=LONGEST_WAIT_S) as http:
            search = http.post(f"/v1/vector_stores/{store}/search", json={"query": QUESTION})
    fingerprint = three.service.models[SWAPPED].engine.fingerprint.id
    assert failed.status == "failed"
    assert fingerprint in failed.last_error.message
    assert "nothing was computed" in failed.last_error.message
    assert cosines(client, store) == {}
    assert (search.status_code, fingerprint in search.json()["error"]["message"]) == (409, True)


def test_a_store_whose_model_is_no_longer_configured_says_what_to_set_and_can_be_deleted(
    client: OpenAI, settings: Settings, pool: ConnectionPool
) -> None:
    store = store_of(client, HASHED)
    file = attached(client, store, PUMP)
    path = f"/v1/vector_stores/{store}"
    with serving(settings) as without, httpx.Client(base_url=without.url, timeout=LONGEST_WAIT_S) as http:
        refused = [
            http.post(f"{path}/files", json={"file_id": file}),
            http.post(f"{path}/file_batches", json={"file_ids": [file]}),
            http.post("/upload", files={"file": ("a.txt", HERON)}, data={"vector_store": store}),
            http.post(
                "/v1/files",
                files={"file": ("b.txt", HERON)},
                data={"purpose": "assistants", "vector_store_id": store},
            ),
            http.post(f"{path}/search", json={"query": QUESTION}),
        ]
        for answer in refused:
            assert answer.status_code == 409, answer.text
            message = answer.json()["error"]["message"]
            assert f"no model named {HASHED} is configured" in message
            assert "add it to CLUSTER_MODELS" in message
        assert http.get(path).json()["embedding_model"] == HASHED
        assert store in {one["id"] for one in http.get("/v1/vector_stores?limit=100").json()["data"]}
        (listed,) = http.get(f"{path}/files").json()["data"]
        assert listed["id"] == file
        assert http.post(path, json={"name": "kept"}).json()["name"] == "kept"
        assert http.delete(path).json()["deleted"]
