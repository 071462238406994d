"""The batcher on the real engine: order, growth under load, fairness, no double work, isolated faults."""

import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.errors import InvalidInput, Throttled, Unavailable
from serve_app.embedding.batching import Batcher, Lane
from serve_app.embedding.batching.dispatcher import URGENT_TOKENS
from tests.serve_app.conftest import Server
from tests.waiting import LONGEST_WAIT_S

Ids = Sequence[NDArray[np.int32]]


class RecordingEngine:
    """The real engine with one worker; it records its batches, and a gate holds each ordinary one back."""

    concurrency = 1

    def __init__(self, engine: Engine, *, preempts: bool = False, packed: bool = True) -> None:
        self.engine, self.fingerprint, self.tokeniser = engine, engine.fingerprint, engine.tokeniser
        self.preempts, self.packed = preempts, packed
        self.calls: list[int] = []
        self.lengths: list[list[int]] = []
        self.urgent: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        #: Error that every batch raises after the gate.
        self.fault: Exception | None = None
        self._worker = ThreadPoolExecutor(1)

    def submit(self, batch: Ids, *, urgent: bool = False) -> "Future[NDArray[np.float32]]":
        """Compute like the engine, once the gate is open."""
        if urgent:
            self.urgent.append(len(batch))
            return self.engine.submit(batch, urgent=True)
        return self._worker.submit(self._run, batch)

    def _run(self, batch: Ids) -> NDArray[np.float32]:
        self.calls.append(len(batch))
        self.lengths.append([len(one) for one in batch])
        assert self.gate.wait(LONGEST_WAIT_S)
        if self.fault is not None:
            raise self.fault
        return self.engine.submit(batch).result()

    def ids(self, *texts: str) -> Ids:
        """Token ids of the texts."""
        return self.tokeniser.ids(texts)


@pytest.fixture
def watched(server: Server) -> RecordingEngine:
    """A recording engine whose batches are all ordinary."""
    return RecordingEngine(server.service.models.default.engine)


@pytest.fixture
def preempting(server: Server) -> RecordingEngine:
    """A recording engine with urgent batches, as on a CPU."""
    return RecordingEngine(server.service.models.default.engine, preempts=True)


def batcher_on(watched: RecordingEngine, **options: Any) -> Batcher:
    """A batcher on the engine."""
    return Batcher(watched, **{"batch_tokens": 2_048, "max_waiting_tokens": 1_000_000, **options})  # type: ignore[arg-type]


def several(watched: RecordingEngine, name: str, count: int) -> Ids:
    """This many different inputs of five tokens."""
    numbers = [watched.ids(f"{n}")[0][:1] for n in range(10, 100)]
    (word,) = watched.ids(name)
    return [
        np.concatenate([word[:1], numbers[n // 90 % 90], numbers[n % 90]]).astype(np.int32)
        for n in range(count)
    ]


async def started(watched: RecordingEngine, calls: int) -> None:
    """Wait until the engine has had this many calls."""
    while len(watched.calls) < calls:
        await asyncio.sleep(0.001)


async def closed_behind(watched: RecordingEngine, batcher: Batcher) -> "asyncio.Task[NDArray[np.float32]]":
    """A request that keeps the engine busy until the gate opens."""
    watched.gate.clear()
    first = asyncio.create_task(batcher.embed(watched.ids("first"), lane="bulk"))
    await started(watched, 1)
    return first


async def test_vectors_come_back_to_their_callers_in_order(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched)
    texts = [[f"caller {caller} text {n}" * (n + 1) for n in range(5)] for caller in range(8)]
    found = await asyncio.gather(*(batcher.embed(watched.ids(*mine)) for mine in texts))
    for mine, vectors in zip(texts, found, strict=True):
        assert np.allclose(vectors, watched.engine.embed(mine).vectors, atol=1e-6)
    assert batcher.waiting_tokens == 0


async def test_batches_grow_while_the_model_is_busy(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched)
    first = await closed_behind(watched, batcher)
    callers = [asyncio.create_task(batcher.embed(watched.ids(f"b {n}"))) for n in range(40)]
    await asyncio.sleep(0.01)
    watched.gate.set()
    await asyncio.gather(first, *callers)
    assert watched.calls == [1, 40]


async def test_a_batch_has_at_most_its_budget_of_tokens(watched: RecordingEngine) -> None:
    await batcher_on(watched, batch_tokens=64).embed(several(watched, "a", 50), lane="bulk")
    assert max(watched.calls) <= 64 // 5
    assert sum(watched.calls) == 50


async def test_padded_batches_hold_inputs_of_similar_length(server: Server) -> None:
    padded = RecordingEngine(server.service.models.default.engine, packed=False)
    batcher = batcher_on(padded, batch_tokens=512)
    draw = np.random.default_rng(1)
    first = await closed_behind(padded, batcher)
    waiting = [
        asyncio.create_task(batcher.embed([draw.integers(1000, 2000, size=int(n)).astype(np.int32)]))
        for n in draw.integers(1, 200, 150)
    ]
    await asyncio.sleep(0.01)
    padded.gate.set()
    await asyncio.gather(first, *waiting)
    assert 1 < batcher.stats.computed_tokens / batcher.stats.real_tokens < 1.15


async def test_a_query_does_not_wait_for_a_bulk_batch_that_has_begun(preempting: RecordingEngine) -> None:
    batcher = batcher_on(preempting)
    bulk = await closed_behind(preempting, batcher)
    assert (await asyncio.wait_for(batcher.embed(preempting.ids("a query")), LONGEST_WAIT_S)).shape == (
        1,
        384,
    )
    assert not bulk.done()
    assert preempting.urgent == [1]
    preempting.gate.set()
    await bulk


async def test_an_organisation_has_one_urgent_batch_at_a_time_and_a_small_one(
    preempting: RecordingEngine,
) -> None:
    batcher = batcher_on(preempting)
    bulk = await closed_behind(preempting, batcher)
    flood = [asyncio.create_task(batcher.embed(several(preempting, "flood", 400), organisation="loud"))]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(batcher.embed(preempting.ids("a query"), organisation="quiet"))
    await asyncio.wait_for(quiet, LONGEST_WAIT_S)
    assert max(preempting.urgent) <= URGENT_TOKENS // 5
    preempting.gate.set()
    await asyncio.gather(bulk, *flood)


async def test_inputs_beyond_the_urgent_batch_go_into_ordinary_batches(
    preempting: RecordingEngine,
) -> None:
    await batcher_on(preempting).embed(several(preempting, "flood", 400), organisation="loud")
    assert sum(preempting.urgent) + sum(preempting.calls) == 400
    assert sum(preempting.calls) >= 400 - URGENT_TOKENS // 5


async def test_neither_lane_starves_the_other(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched, batch_tokens=40)
    order: list[str] = []

    async def ask(name: str, ids: Ids, lane: Lane) -> None:
        await batcher.embed(ids, lane=lane)
        order.append(name)

    first = await closed_behind(watched, batcher)
    tasks = [asyncio.create_task(ask("bulk", several(watched, "bulk", 20), "bulk"))]
    tasks += [
        asyncio.create_task(ask(f"person {n}", [ids], "interactive"))
        for n, ids in enumerate(several(watched, "crowd", 100))
    ]
    await asyncio.sleep(0.01)
    watched.gate.set()
    await asyncio.gather(first, *tasks)
    assert order[0] == "person 0"
    assert order.index("bulk") < len(order) - 1


async def test_organisations_share_the_model_by_their_weights(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched, batch_tokens=40, weights={"gold": 3.0})
    served: list[str] = []

    async def ask(organisation: str, n: int) -> None:
        await batcher.embed([several(watched, organisation, 100)[n]], lane="bulk", organisation=organisation)
        served.append(organisation)

    first = await closed_behind(watched, batcher)
    tasks = [asyncio.create_task(ask("loud", n)) for n in range(100)]
    tasks += [asyncio.create_task(ask(name, n)) for n in range(30) for name in ("gold", "small")]
    await asyncio.sleep(0.01)
    watched.gate.set()
    await asyncio.gather(first, *tasks)
    early = served[:50]
    assert abs(early.count("loud") - early.count("small")) <= 8
    assert 2 * early.count("small") < early.count("gold") <= 4 * early.count("small")


async def test_inputs_of_a_cancelled_caller_are_not_computed(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched)
    first = await closed_behind(watched, batcher)
    gone = asyncio.create_task(batcher.embed(several(watched, "left", 30)))
    stays = asyncio.create_task(batcher.embed(watched.ids("stays")))
    await asyncio.sleep(0.01)
    gone.cancel()
    watched.gate.set()
    await asyncio.gather(first, stays)
    assert watched.calls == [1, 1]
    assert batcher.waiting_tokens == 0
    assert batcher.stats.dropped_inputs == 30


async def test_one_bad_input_fails_its_caller_alone(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched)
    first = await closed_behind(watched, batcher)
    good = asyncio.create_task(batcher.embed(watched.ids("good")))
    bad = asyncio.create_task(batcher.embed([np.array([10**6], np.int32)]))
    await asyncio.sleep(0.01)
    watched.gate.set()
    assert (await first).shape == (await good).shape == (1, 384)
    with pytest.raises(InvalidInput):
        await bad


async def test_one_bad_input_costs_a_few_calls_and_not_one_for_each_neighbour(
    watched: RecordingEngine,
) -> None:
    batcher = batcher_on(watched)
    first = await closed_behind(watched, batcher)
    good = [asyncio.create_task(batcher.embed([one], lane="bulk")) for one in several(watched, "good", 100)]
    bad = asyncio.create_task(batcher.embed([np.array([10**6], np.int32)], lane="bulk"))
    await asyncio.sleep(0.01)
    watched.gate.set()
    await asyncio.gather(first, *good)
    with pytest.raises(InvalidInput):
        await bad
    assert len(watched.calls) <= 2 + 2 * math.ceil(math.log2(101))


@pytest.mark.parametrize(
    ("fault", "calls"), [(Unavailable("the GPU does not compute any more"), 1), (RuntimeError("broken"), 3)]
)
async def test_a_fault_of_the_engine_reaches_every_caller_without_a_call_for_each_input(
    watched: RecordingEngine, fault: Exception, calls: int
) -> None:
    batcher = batcher_on(watched)
    first = await closed_behind(watched, batcher)
    callers = [asyncio.create_task(batcher.embed([one], lane="bulk")) for one in several(watched, "any", 40)]
    await asyncio.sleep(0.01)
    watched.fault = fault
    watched.gate.set()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert found == [fault] * 40
    assert len(watched.calls) == 1 + calls
    watched.fault = None
    assert (await batcher.embed(watched.ids("again"))).shape == (1, 384)
    first.cancel()


async def test_a_full_queue_refuses_only_the_organisation_that_filled_it(
    watched: RecordingEngine,
) -> None:
    batcher = batcher_on(watched, max_waiting_tokens=100)
    first = await closed_behind(watched, batcher)
    waiting = asyncio.create_task(batcher.embed(several(watched, "loud", 19), organisation="loud"))
    await asyncio.sleep(0.01)
    with pytest.raises(Throttled) as refused:
        await batcher.embed(several(watched, "more", 5), organisation="loud")
    assert refused.value.retry_after_s is not None
    other = asyncio.create_task(batcher.embed(several(watched, "quiet", 9), organisation="quiet"))
    await asyncio.sleep(0.01)
    watched.gate.set()
    await asyncio.gather(first, waiting, other)
    assert (await batcher.embed(watched.ids("again"), organisation="loud")).shape == (1, 384)


async def test_a_request_that_cannot_meet_its_deadline_is_refused_early_or_ended(
    watched: RecordingEngine,
) -> None:
    batcher = batcher_on(watched)
    await batcher.embed(several(watched, "speed", 200), lane="bulk")
    first = await closed_behind(watched, batcher)
    waiting = asyncio.create_task(batcher.embed(several(watched, "queue", 8_000), lane="bulk"))
    await asyncio.sleep(0.2)
    with pytest.raises(Throttled, match="longer than") as refused:
        await batcher.embed(several(watched, "hurry", 1), lane="bulk", deadline_s=0.5)
    assert refused.value.retry_after_s is not None
    waiting.cancel()
    with pytest.raises(Throttled, match=r"within the request's 0\.1 s"):
        await batcher.embed(watched.ids("query"), deadline_s=0.1)
    watched.gate.set()
    await first
    await batcher.embed(watched.ids("after"))
    assert sum(watched.calls[1:]) == 2


async def test_equal_inputs_are_computed_once_in_a_request_in_flight_and_afterwards(
    watched: RecordingEngine,
) -> None:
    batcher = batcher_on(watched, cache_bytes=1 << 20)
    first = await closed_behind(watched, batcher)
    in_flight = [
        asyncio.create_task(batcher.embed(watched.ids("same", "same", f"own {n}"))) for n in range(3)
    ]
    await asyncio.sleep(0.01)
    watched.gate.set()
    found = await asyncio.gather(*in_flight)
    await first
    again = await batcher.embed(watched.ids("own 1", "new", "same"))
    assert watched.calls == [1, 4, 1]
    assert np.array_equal(again[2], found[0][0])
    assert np.allclose(again, watched.engine.embed(["own 1", "new", "same"]).vectors, atol=1e-6)


async def test_no_organisation_can_tell_what_another_has_embedded(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched, cache_bytes=1 << 20)
    for organisation in ("one", "two"):
        await batcher.embed(watched.ids("secret"), organisation=organisation)
    assert watched.calls == [1, 1]
    assert batcher.stats.cache_hits == 0


async def test_an_interactive_input_that_also_waits_as_bulk_is_computed_first(
    watched: RecordingEngine,
) -> None:
    batcher = batcher_on(watched, batch_tokens=20)
    first = await closed_behind(watched, batcher)
    texts = several(watched, "bulk", 60)
    bulk = asyncio.create_task(batcher.embed(texts, lane="bulk"))
    await asyncio.sleep(0.01)
    person = asyncio.create_task(batcher.embed([texts[-1]], lane="interactive"))
    await asyncio.sleep(0.01)
    watched.gate.set()
    await person
    assert not bulk.done()
    assert len(watched.calls) <= 4
    await asyncio.gather(first, bulk)
    assert sum(watched.calls) == 61


async def test_the_cache_keeps_its_size_and_removes_the_oldest(watched: RecordingEngine) -> None:
    batcher = batcher_on(watched, cache_bytes=3 * (384 * 4 + 300))
    for text in ("a", "b", "c", "a", "d", "a", "b"):
        await batcher.embed(watched.ids(text))
    assert batcher.stats.cache_hits == 2
    assert batcher.stats.cache_misses == 5
