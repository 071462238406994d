"""A batch for a model at a provider is answered and counted once, and stops at a wrong key."""

import re
from collections.abc import Callable, Iterator

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
    assert [used for used in client.usage() if used[1] == "batch"] == [("remote", "batch", answered)]


def wrong_key(provider: Server) -> None:
    provider.provider.keys = {"another"}


def no_right(provider: Server) -> None:
    provider.faults = Faults(chances={Fault.FORBIDDEN: 1.0})


def no_model(provider: Server) -> None:
    provider.provider.models.clear()


def no_money(provider: Server) -> None:
    provider.faults = Faults(chances={Fault.NO_MONEY: 1.0})


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (wrong_key, r"refuses the key in {key} with HTTP 401 .*; set a valid key"),
        (no_right, r"refuses the key in {key} with HTTP 403 .*; give the key the right to embed, or use"),
        (no_model, r"refuses the key in {key} with HTTP 404 .*; correct the model's name or base_url"),
        (no_money, r"the account of the key in {key} at .* has no money or quota left .*; add some, or use"),
    ],
    ids=["401", "403", "404", "insufficient_quota"],
)
def test_a_refusal_stops_the_job_at_once_and_says_whose_key_it_is(
    client: BatchClient, provider: Server, refuse: Callable[[Server], None], said: str
) -> None:
    provider.faults = Faults()
    refuse(provider)
    sent = list[str]()
    provider.observe = sent.append
    batch = client.create([request("a", model="remote")])
    client.ended(batch.job)
    with client.pool.connection() as connection:
        end_abandoned(connection, client.blobs, max_line_bytes=1_000_000)
    ended = client.batch(batch.id)

    assert (ended.status, len(sent)) == ("failed", 1)
    (error,) = ended.errors
    assert re.search(said.format(key=KEY_ENV), error.message)
    assert KEY not in error.message
    assert [line["error"]["code"] for line in client.files(ended)[1]] == ["batch_failed"]
