"""The batcher with a model at a provider: requests of one organisation, and a rate limit shared fairly."""

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray
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
from tests.waiting import LONGEST_WAIT_S, Stopwatch

#: Seconds of the simulator's "minute", and of a request.
WINDOW_S, LATENCY_S = 4.0, 0.1
RUN_S = 8.5
#: People of the other organisation who send queries at the same time.
PEOPLE = 2
#: Callers of the organisation that floods the model.
FLOODING = 12
#: Words of one token each.
WORDS = "north south light dark river stone water table paper green black white sound music house".split()
#: A model with short vectors, because the tests are not about their length.
MODEL, DIM = "short", 8
OPTIONS = {"source": f"openai:{MODEL}", "dimensions": DIM}


#: Maximum number of floods of one provider. Other tests on the machine can make queries of a flood slow.
ROUNDS = 3
#: Minimum part of the budget that a flood uses.
USED = 0.9

TextIds = Callable[[Sequence[str]], list[NDArray[np.int32]]]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's key, and a short minute."""
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setattr(accounts, "MINUTE_S", WINDOW_S)
    monkeypatch.setattr(requests, "BACKOFF", Backoff(first_s=0.05, longest_s=0.1, jitter=True))


@contextmanager
def limited(*, requests: int, tokens: int) -> Iterator[Server]:
    """A simulator with limits."""
    provider = Provider({MODEL: DIM}, limits=Limits(requests=requests, tokens=tokens, window_s=WINDOW_S))
    with simulator(provider, latency_s=LATENCY_S) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    """A simulator with the limits of a usual account."""
    with limited(requests=2_000, tokens=100_000) as server:
        yield server


@pytest.fixture
def small_server() -> Iterator[Server]:
    """A simulator with the limits of a free account."""
    with limited(requests=100, tokens=40_000) as server:
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
    settings: Settings, pool: ConnectionPool, server: Server, small_server: Server
) -> None:
    # One after the other, because the time of the queries would also tell how busy the other flood keeps the
    # machine.
    for limited_server in (server, small_server):
        for _ in range(ROUNDS):
            flooded = await _flooded(settings, pool, limited_server)
            assert flooded.over_limit == 0
            assert flooded.recorded_tokens == flooded.answered_tokens < flooded.billed_tokens
            if flooded.hardly_noticed and flooded.used >= USED:
                break
        assert flooded.hardly_noticed, flooded
        assert flooded.used >= USED or flooded.busy


@dataclass(frozen=True, kw_only=True)
class Flooded:
    """What happened while one organisation sent as much as it could."""

    #: p95 of the other organisation's queries without and with the flood, in seconds.
    alone_s: float
    beside_s: float
    #: True if threads waited for a processor most of the time. Callers then cannot use a whole budget.
    busy: bool
    #: Part of the budget's scarcest limit that was used, as the provider counted it.
    used: float
    over_limit: int
    recorded_tokens: int
    answered_tokens: int
    billed_tokens: int

    @property
    def hardly_noticed(self) -> bool:
        """True if queries took at most twice the time. The rest is for transactions on a busy machine."""
        return self.beside_s <= 2 * self.alone_s + 2 * LATENCY_S


async def _flooded(settings: Settings, pool: ConnectionPool, server: Server) -> Flooded:
    """Let one organisation flood the model while another asks, and a fifth of the requests fails."""
    limits = server.provider.limits
    answered, billed = server.provider.answered_tokens[KEY], server.provider.billed_tokens
    engine = remote_engine(
        settings,
        server,
        name=f"remote-{uuid4().hex[:8]}",
        requests_per_minute=limits.requests,
        tokens_per_minute=limits.tokens,
        **OPTIONS,
    )
    batcher = Batcher(engine, batch_tokens=2_048, max_waiting_tokens=10_000_000)
    flooding, other = new_organisation(pool), new_organisation(pool)
    await batcher.embed(engine.tokeniser.ids(["the first request opens connections"]), organisation=other)
    server.faults = Faults(chances={Fault.BUSY: 0.1, Fault.UNAVAILABLE: 0.05, Fault.LOST: 0.05})
    alone = await _queries(batcher, engine.tokeniser.ids, other, seconds=2.5)
    machine = Stopwatch()
    begun, ends = machine.began, machine.began + RUN_S
    flood = [
        asyncio.create_task(_flood(batcher, engine.tokeniser.ids, flooding, number, ends))
        for number in range(FLOODING)
    ]
    beside = await _queries(batcher, engine.tokeniser.ids, other, seconds=RUN_S)
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    sent = [tokens for at, tokens in server.provider.counted if begun <= at < begun + 2 * WINDOW_S]
    used = max(sum(sent) / (2 * limits.tokens), len(sent) / (2 * limits.requests))
    print(f"{limits.tokens:,} tokens: p95 {alone:.3f} s alone, {beside:.3f} s beside; {used:.2f} used")
    async with asyncio.timeout(LONGEST_WAIT_S):
        while batcher._dispatcher._running:
            await asyncio.sleep(0.05)
    engine.close()
    with pool.connection() as connection:
        (recorded,) = connection.execute(
            "SELECT sum(quantity)::bigint FROM usage_events"
            " WHERE kind = 'provider_embedding' AND organisation = ANY(%s)",
            [[flooding, other]],
        ).fetchone() or (0,)
    return Flooded(
        alone_s=alone,
        beside_s=beside,
        busy=machine.waited_s() > RUN_S / 2,
        used=used,
        over_limit=server.provider.over_limit,
        recorded_tokens=recorded,
        answered_tokens=server.provider.answered_tokens[KEY] - answered,
        billed_tokens=server.provider.billed_tokens - billed,
    )


async def _queries(batcher: Batcher, ids: TextIds, organisation: str, *, seconds: float) -> float:
    """The p95 of the queries that several people send one after another, in seconds."""
    taken: list[float] = []
    ends = time.monotonic() + seconds

    async def ask() -> None:
        while time.monotonic() < ends:
            begun = Stopwatch()
            (one,) = ids([f"query {uuid4().hex[:6]} of a person"])
            while True:  # a client repeats what six attempts in a row could not do
                try:
                    await batcher.embed([one], lane="interactive", organisation=organisation)
                    break
                except Retryable:
                    continue
            taken.append(begun.seconds())

    await asyncio.gather(*(ask() for _ in range(PEOPLE)))
    return float(np.quantile(taken, 0.95))


async def _flood(batcher: Batcher, ids: TextIds, organisation: str, number: int, ends: float) -> None:
    """Send different inputs of 400 tokens until the end."""
    draw = random.Random(number)
    while time.monotonic() < ends:
        inputs = ids([" ".join(draw.choices(WORDS, k=400)) for _ in range(8)])
        try:
            await batcher.embed(inputs, lane="bulk", organisation=organisation)
        except Retryable as exc:
            await asyncio.sleep(min(0.5, exc.retry_after_s or 0.5))
