"""One server with three models, one of them at a provider: embeddings, a store, a worker and a search."""

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.engines.openai import requests
from cluster.retrying import Backoff
from cluster.settings import Settings
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_settings
from tests.data_jobs.running_consumer import consuming
from tests.hashing_engine import KIND, hashing_kind
from tests.serve_app.conftest import MODEL, Server, serving
from tests.serve_app.test_several_models import ReplicaEmbedder, attached, ended, store_of, with_models
from tests.simulators.openai import Fault, Provider, simulator, vector_of
from tests.simulators.openai import Server as Simulator
from tests.simulators.openai.faults import Faults
from tests.waiting import LONGEST_WAIT_S, until

HASHED, REMOTE = "hashed", "small-at-provider"
PUMP = "Only the operator on duty may stop the pump."


@pytest.fixture(scope="module")
def provider() -> Iterator[Simulator]:
    """The provider, with the operator's key."""
    with pytest.MonkeyPatch.context() as patch, simulator(Provider(keys={KEY})) as server:
        patch.setenv(KEY_ENV, KEY)
        patch.setattr(requests, "BACKOFF", Backoff(first_s=0.01, longest_s=0.02, jitter=True))
        patch.setattr(requests, "LONGEST_PAUSE_S", 0.5)
        yield server


@pytest.fixture(scope="module")
def three_settings(settings: Settings, provider: Simulator) -> Iterator[Settings]:
    """Settings with the packaged model, a model of another kind, and one at the provider."""
    with hashing_kind():
        local = with_models(settings, {HASHED: f"{KIND}:64"})
        yield remote_settings(local, provider.url, name=REMOTE, price_per_million_tokens=0.02)


@pytest.fixture(scope="module")
def three(three_settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """Run a server with these three models."""
    with serving(three_settings) as server:
        yield server


@pytest.fixture(scope="module")
def client(three: Server) -> Iterator[OpenAI]:
    """Open OpenAI's unmodified client for this server."""
    with OpenAI(base_url=f"{three.url}/v1", api_key="none needed", max_retries=0) as client:
        yield client


def test_it_is_listed_and_starting_sent_nothing(three: Server, provider: Simulator) -> None:
    with httpx.Client(base_url=three.url, timeout=LONGEST_WAIT_S) as http:
        page = http.get("/v1/models").text
        listed = [one for one in http.get("/v1/models").json()["data"] if one["kind"] != "agent"]
        shown = {model["id"]: model["dimensions"] for model in listed}
    assert shown == {MODEL: 384, HASHED: 64, REMOTE: 1_536}
    assert provider.url not in page
    assert KEY not in page
    assert provider.provider.accepted == []


def test_requests_get_the_providers_vectors(client: OpenAI) -> None:
    texts = [PUMP, "北京市 🙂"]
    made = client.embeddings.create(model=REMOTE, input=texts, encoding_format="float")
    vectors = [vector_of(text, 1_536) for text in texts]
    np.testing.assert_allclose([one.embedding for one in made.data], vectors, atol=1e-6)
    (short,) = client.embeddings.create(model=REMOTE, input=PUMP, dimensions=512).data
    whole = vectors[0][:512]
    np.testing.assert_allclose(short.embedding, whole / np.linalg.norm(whole), atol=1e-6)


def test_each_store_is_filled_and_searched_with_its_own_model(
    client: OpenAI, three: Server, three_settings: Settings, pool: ConnectionPool, provider: Simulator
) -> None:
    stores = {name: store_of(client, name) for name in (MODEL, HASHED, REMOTE)}
    files = {name: attached(client, store, PUMP) for name, store in stores.items()}
    provider.faults = Faults([Fault.BUSY_WITH_MILLISECONDS, Fault.LOST])
    with consuming(three_settings, pool, embed=ReplicaEmbedder(three)):
        for name, store in stores.items():
            assert ended(client, store, files[name]).status == "completed"
    chunking: Any = client.vector_stores.files.retrieve(files[REMOTE], vector_store_id=stores[REMOTE])
    assert chunking.chunking["max_chunk_size_tokens"] == 512
    options: Any = {"ranker": "none"}
    for store in stores.values():
        (hit,) = client.vector_stores.search(
            store, query=PUMP, ranking_options=options, extra_body={"mode": "exact"}
        )
        assert (hit.content[0].text, hit.score) == (PUMP, pytest.approx(1.0, abs=1e-4))


def test_a_job_waits_for_a_provider_that_is_away_and_says_until_when(
    client: OpenAI, three: Server, three_settings: Settings, pool: ConnectionPool, provider: Simulator
) -> None:
    store = store_of(client, REMOTE)
    provider.faults = Faults(chances={Fault.BUSY_WITH_RETRY_AFTER: 1.0})
    file = attached(client, store, "another text about the pump")
    with (
        httpx.Client(base_url=three.url, timeout=LONGEST_WAIT_S) as http,
        consuming(three_settings, pool, embed=ReplicaEmbedder(three)),
    ):
        path = f"/v1/vector_stores/{store}/files/{file}"
        job = http.get(path).json()["job_id"]
        waiting = until(
            lambda: http.get(f"/v1/jobs/{job}").json()["waiting"],
            lambda waiting: waiting is not None and waiting["reason"] == "provider",
        )
        assert waiting["until"] is not None
        provider.faults = Faults()
        assert ended(client, store, file).status == "completed"


def test_a_refused_key_ends_the_job_with_a_sentence(
    client: OpenAI, three: Server, three_settings: Settings, pool: ConnectionPool, provider: Simulator
) -> None:
    store = store_of(client, REMOTE)
    file = attached(client, store, "a text that no key pays for")
    provider.faults = Faults(chances={Fault.NO_MONEY: 1.0})
    with consuming(three_settings, pool, embed=ReplicaEmbedder(three)):
        failed = ended(client, store, file)
    assert failed.status == "failed"
    assert "money or quota" in failed.last_error.message
    assert KEY_ENV in failed.last_error.message
    with pytest.raises(openai.InternalServerError) as refused:
        client.embeddings.create(model=REMOTE, input="a text that no key pays for")
    assert KEY not in str(refused.value)
    provider.faults = Faults()
