"""A batch for a model at a provider is answered and counted once, and stops at a wrong key."""

from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.batches.batch_files import end_abandoned
from cluster.engines import Engine, Registry, open_engine
from cluster.settings import Settings
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_settings
from tests.data_jobs.batch_client import BatchClient, ids, request
from tests.data_jobs.running_consumer import consuming
from tests.simulators.openai import Fault, Provider, Server, simulator
from tests.simulators.openai.faults import Faults

REQUESTS = 40


@pytest.fixture
def provider() -> Iterator[Server]:
    """A provider that is busy at the first request."""
    with simulator(Provider(keys={KEY}), Faults([Fault.BUSY_WITH_MILLISECONDS])) as server:
        yield server


@pytest.fixture
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture
def client(
    settings: Settings,
    pool: ConnectionPool,
    engine: Engine,
    organisation: str,
    provider: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[BatchClient]:
    monkeypatch.setenv(KEY_ENV, KEY)
    ours = remote_settings(settings, provider.url)
    with consuming(ours, pool, engine):
        yield BatchClient(ours, pool, engine, organisation)


def test_a_remote_batch_is_answered_and_counted_once(client: BatchClient, provider: Server) -> None:
    lines = [request(f"{number}", f"text {number}", model="remote") for number in range(REQUESTS)]
    lines.insert(7, request("empty", "", model="remote"))
    ended = client.ended_batch(client.create(lines).id)

    output, error = client.files(ended)
    assert (ids(output), ids(error)) == ([f"{number}" for number in range(REQUESTS)], ["empty"])
    assert len(output[0]["response"]["body"]["data"][0]["embedding"]) == 1536
    answered = sum(provider.provider.answered_tokens.values())
    assert [used for used in client.usage() if used[1] == "job"] == [("remote", "job", answered)]


def test_a_wrong_key_fails_the_batch_with_a_sentence_and_without_the_key(
    client: BatchClient, provider: Server
) -> None:
    provider.provider.keys = {"another"}
    batch = client.create([request("a", model="remote")])
    client.ended(batch.job)
    with client.pool.connection() as connection:
        end_abandoned(connection, client.blobs, max_line_bytes=1_000_000)
    ended = client.batch(batch.id)

    assert ended.status == "failed"
    (error,) = ended.errors
    assert KEY_ENV in error.message
    assert "401" in error.message
    assert KEY not in error.message
    assert [line["error"]["code"] for line in client.files(ended)[1]] == ["batch_failed"]
