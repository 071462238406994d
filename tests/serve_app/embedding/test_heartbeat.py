"""The health check of a replica fails for as long as its engine does not compute."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.engines import Registry, describe
from cluster.engines.local import LocalEngine
from cluster.engines.weights import open_model_folder
from cluster.errors import Unavailable
from cluster.settings import Settings
from serve_app.embedding.heartbeat import Heartbeat
from tests.hashing_engine import NAME, SOURCE, HashingEngine, Ids, hashing_kind


@pytest.fixture
def engine() -> LocalEngine:
    """An engine that the test may break."""
    settings = Settings(engine_threads=1)
    return LocalEngine(open_model_folder(Registry(settings).default), settings)


@pytest.fixture
def stuck(engine: LocalEngine) -> Iterator[LocalEngine]:
    """An engine whose only thread waits for ever, as for a lost GPU."""
    released = threading.Event()
    engine._workers.submit(released.wait)
    yield engine
    released.set()


async def test_a_working_engine_passes_every_check(engine: LocalEngine) -> None:
    heartbeat = Heartbeat(engine)

    await heartbeat.check()
    await heartbeat.check()


async def test_a_stuck_engine_fails_every_check_and_its_queue_does_not_grow(stuck: LocalEngine) -> None:
    heartbeat = Heartbeat(stuck, timeout_s=0.05)

    for _ in range(3):
        with pytest.raises(Unavailable, match=r"has not embedded a word within 0\.05 s"):
            await heartbeat.check()

    assert stuck._workers._work_queue.qsize() == 1


async def test_an_engine_that_raises_fails_the_check_and_one_that_recovers_passes(
    engine: LocalEngine,
) -> None:
    heartbeat = Heartbeat(engine)
    encoder = engine._encoder
    engine._encoder = None  # type: ignore[assignment]

    for _ in range(2):
        with pytest.raises(AttributeError):
            await heartbeat.check()
    engine._encoder = encoder

    await heartbeat.check()


async def test_an_engine_that_bills_is_never_asked() -> None:
    asked: list[object] = []

    class Billed(HashingEngine):
        billed = True

        def submit(self, batch: Sequence[Ids], *, urgent: bool = False) -> "Future[NDArray[np.float32]]":
            asked.append(batch)
            return super().submit(batch, urgent=urgent)

    with hashing_kind():
        engine = Billed(describe(Registry(Settings(model=NAME, models={NAME: SOURCE})).default))
    heartbeat = Heartbeat(engine)

    await heartbeat.check()
    await heartbeat.check()

    assert asked == []
    engine.billed = False
    await heartbeat.check()
    assert len(asked) == 1
