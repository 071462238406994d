"""The batcher with a model at a provider: requests of one organisation, and a rate limit shared fairly."""

import asyncio
import time
from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.engines.openai import accounts, requests
from cluster.errors import Retryable
from cluster.retrying import Backoff
from cluster.settings import Settings
from serve_app.embedding.batching import Batcher, Lane
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_engine
from tests.conftest import new_organisation
from tests.simulators.openai import Fault, Limits, Provider, Server, simulator, vector_of
from tests.simulators.openai.faults import Faults

#: Seconds of the simulator's "minute", its tokens, and seconds of a request.
WINDOW_S, TOKENS, LATENCY_S = 4.0, 300_000, 0.1
RUN_S = 8.5
#: A model with short vectors, because the tests are not about their length.
MODEL, DIM = "short", 8
OPTIONS = {"source": f"openai:{MODEL}", "dimensions": DIM}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's key, and a short minute."""
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setattr(accounts, "MINUTE_S", WINDOW_S)
    monkeypatch.setattr(requests, "BACKOFF", Backoff(first_s=0.05, longest_s=0.1, jitter=True))


@pytest.fixture
def server() -> Iterator[Server]:
    """A simulator with limits."""
    provider = Provider({MODEL: DIM}, limits=Limits(requests=2_000, tokens=TOKENS, window_s=WINDOW_S))
    with simulator(provider, latency_s=LATENCY_S) as server:
        yield server


async def test_a_request_has_inputs_of_one_organisation(
    settings: Settings, pool: ConnectionPool, server: Server
) -> None:
    server.provider.limits = Limits()
    engine = remote_engine(settings, server, name=f"remote-{uuid4().hex[:8]}", **OPTIONS)
    batcher = Batcher(engine, batch_tokens=16, max_waiting_tokens=1_000_000)
    texts = {
        organisation: [f"{organisation} {number}" for number in range(600)]
        for organisation in (new_organisation(pool), new_organisation(pool))
    }
    lanes: dict[str, Lane] = dict(zip(texts, ("interactive", "bulk"), strict=True))
    made = await asyncio.gather(
        *(
            batcher.embed(engine.tokeniser.ids(own), lane=lanes[organisation], organisation=organisation)
            for organisation, own in texts.items()
        )
    )
    for own, vectors in zip(texts.values(), made, strict=True):
        np.testing.assert_allclose(vectors[::50], [vector_of(text, DIM) for text in own[::50]], atol=1e-6)
    sent = [inputs for _, _, inputs, _ in server.provider.accepted]
    assert all(len({text.split()[0] for text in inputs}) == 1 for inputs in sent)
    assert len(sent) < 40
    engine.close()


async def test_one_organisation_floods_and_the_other_hardly_notices(
    settings: Settings, pool: ConnectionPool, server: Server
) -> None:
    engine = remote_engine(
        settings,
        server,
        name=f"remote-{uuid4().hex[:8]}",
        requests_per_minute=2_000,
        tokens_per_minute=TOKENS,
        **OPTIONS,
    )
    batcher = Batcher(engine, batch_tokens=2_048, max_waiting_tokens=10_000_000)
    flooding, other = new_organisation(pool), new_organisation(pool)
    server.faults = Faults(chances={Fault.BUSY: 0.1, Fault.UNAVAILABLE: 0.05, Fault.LOST: 0.05})
    alone = await _queries(batcher, engine.tokeniser.ids, other, seconds=2.0)
    begun, ends = time.monotonic(), time.monotonic() + RUN_S
    flood = [asyncio.create_task(_flood(batcher, flooding, number, ends)) for number in range(32)]
    beside = await _queries(batcher, engine.tokeniser.ids, other, seconds=RUN_S)
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    sent = sum(tokens for at, tokens in server.provider.counted if begun <= at < begun + 2 * WINDOW_S)
    used = sent / (2 * TOKENS)
    print(f"p95 alone {alone:.3f} s, beside {beside:.3f} s; {used:.2f} of the budget used")
    async with asyncio.timeout(30):
        while batcher._dispatcher._running:
            await asyncio.sleep(0.05)
    engine.close()
    with pool.connection() as connection:
        recorded = connection.execute(
            "SELECT sum(quantity)::bigint FROM usage_events"
            " WHERE kind = 'provider_embedding' AND organisation = ANY(%s)",
            [[flooding, other]],
        ).fetchone()
    assert recorded is not None
    assert server.provider.over_limit == 0
    assert used >= 0.9
    assert beside <= 2 * alone
    assert recorded[0] == server.provider.answered_tokens[KEY] < server.provider.billed_tokens


async def _queries(batcher: Batcher, ids: object, organisation: str, *, seconds: float) -> float:
    """The p95 of queries that one person sends one after another, in seconds."""
    taken: list[float] = []
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        begun = time.monotonic()
        (one,) = ids([f"query {uuid4().hex[:6]} of a person"])  # type: ignore[operator]
        while True:  # a client repeats what six attempts in a row could not do
            try:
                await batcher.embed([one], lane="interactive", organisation=organisation)
                break
            except Retryable:
                continue
        taken.append(time.monotonic() - begun)
    return float(np.quantile(taken, 0.95))


async def _flood(batcher: Batcher, organisation: str, number: int, ends: float) -> None:
    """Send different inputs of 400 tokens until the end."""
    draw = np.random.default_rng(number)
    while time.monotonic() < ends:
        inputs = [draw.integers(1_000, 30_000, 400).astype(np.int32) for _ in range(8)]
        try:
            await batcher.embed(inputs, lane="bulk", organisation=organisation)
        except Retryable as exc:
            await asyncio.sleep(min(0.5, exc.retry_after_s or 0.5))
