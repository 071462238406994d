"""The batcher alone, on the real engine: order, growth under load, fairness, and faults that stay with their owner."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.errors import InvalidInput, Throttled
from serve_app.batcher import Batcher
from tests.serve_app.conftest import Server

Ids = Sequence[NDArray[np.int32]]


class Watched:
    """The real engine, with its calls on record and a gate before each."""

    concurrency = 1

    def __init__(self, engine: Engine) -> None:
        self.engine, self.fingerprint, self.tokeniser = engine, engine.fingerprint, engine.tokeniser
        self.calls: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def embed_ids(self, ids: Ids) -> NDArray[np.float32]:
        """As the engine, once the gate is open."""
        self.calls.append(len(ids))
        assert self.gate.wait(30)
        return self.engine.embed_ids(ids)

    def ids(self, *texts: str) -> Ids:
        """Token ids of the texts."""
        return self.tokeniser.ids(texts)


@pytest.fixture
def watched(server: Server) -> Watched:
    """On the server's engine."""
    return Watched(server.service.engine)


def batcher_on(watched: Watched, **options: int) -> Batcher:
    """A batcher on it."""
    return Batcher(watched, **options)  # type: ignore[arg-type]


async def started(watched: Watched, calls: int) -> None:
    """Until the engine has been called so often."""
    while len(watched.calls) < calls:
        await asyncio.sleep(0.001)


async def test_vectors_come_back_to_their_callers_in_order(watched: Watched) -> None:
    batcher = batcher_on(watched)
    texts = [[f"caller {caller} text {n}" * (n + 1) for n in range(5)] for caller in range(8)]
    found = await asyncio.gather(*(batcher.embed(watched.ids(*mine)) for mine in texts))
    for mine, vectors in zip(texts, found, strict=True):
        assert np.allclose(vectors, watched.engine.embed(mine).vectors, atol=1e-6)
    assert batcher.waiting_tokens == 0


async def test_batches_grow_while_the_model_is_busy(watched: Watched) -> None:
    batcher = batcher_on(watched)
    watched.gate.clear()
    callers = [asyncio.create_task(batcher.embed(watched.ids("a")))]
    await started(watched, 1)
    callers += [asyncio.create_task(batcher.embed(watched.ids(f"b {n}"))) for n in range(40)]
    await asyncio.sleep(0.01)
    watched.gate.set()
    await asyncio.gather(*callers)
    assert watched.calls == [1, 40]


async def test_a_batch_keeps_to_its_tokens(watched: Watched) -> None:
    await batcher_on(watched, batch_tokens=64).embed(watched.ids(*["one two three"] * 50), lane="bulk")
    assert max(watched.calls) <= 64 // 5
    assert sum(watched.calls) == 50


async def test_neither_lane_starves_the_other(watched: Watched) -> None:
    batcher = batcher_on(watched, batch_tokens=40)
    order: list[str] = []

    async def ask(name: str, texts: int, lane: str) -> None:
        await batcher.embed(watched.ids(*["one two"] * texts), lane=lane)  # type: ignore[arg-type]
        order.append(name)

    watched.gate.clear()
    tasks = [asyncio.create_task(ask("first", 1, "interactive"))]
    await started(watched, 1)
    tasks += [asyncio.create_task(ask("bulk", 20, "bulk")), asyncio.create_task(ask("person", 1, "interactive"))]
    tasks += [asyncio.create_task(ask(f"crowd {n}", 1, "interactive")) for n in range(100)]
    await asyncio.sleep(0.01)
    watched.gate.set()
    await asyncio.gather(*tasks)
    assert order[1] == "person"
    assert order.index("bulk") < len(order) - 1


async def test_a_caller_who_left_costs_nothing_more(watched: Watched) -> None:
    batcher = batcher_on(watched)
    watched.gate.clear()
    first = asyncio.create_task(batcher.embed(watched.ids("a")))
    await started(watched, 1)
    gone = asyncio.create_task(batcher.embed(watched.ids(*["left"] * 30)))
    stays = asyncio.create_task(batcher.embed(watched.ids("stays")))
    await asyncio.sleep(0.01)
    gone.cancel()
    watched.gate.set()
    await asyncio.gather(first, stays)
    assert watched.calls == [1, 1]
    assert batcher.waiting_tokens == 0


async def test_one_bad_input_fails_its_caller_alone(watched: Watched) -> None:
    batcher = batcher_on(watched)
    watched.gate.clear()
    first = asyncio.create_task(batcher.embed(watched.ids("a")))
    await started(watched, 1)
    good = asyncio.create_task(batcher.embed(watched.ids("good")))
    bad = asyncio.create_task(batcher.embed([np.array([10**6], np.int32)]))
    await asyncio.sleep(0.01)
    watched.gate.set()
    assert (await first).shape == (await good).shape == (1, 384)
    with pytest.raises(InvalidInput):
        await bad


async def test_a_full_queue_refuses_and_says_when_to_come_back(watched: Watched) -> None:
    batcher = batcher_on(watched, max_waiting_tokens=100)
    watched.gate.clear()
    running = asyncio.create_task(batcher.embed(watched.ids("a")))
    await started(watched, 1)
    waiting = asyncio.create_task(batcher.embed(watched.ids(*["word"] * 30)))
    await asyncio.sleep(0.01)
    with pytest.raises(Throttled) as refused:
        await batcher.embed(watched.ids(*["word"] * 10))
    assert refused.value.retry_after_s is not None
    watched.gate.set()
    await asyncio.gather(running, waiting)
    assert (await batcher.embed(watched.ids("again"))).shape == (1, 384)
