"""The dispatcher of an engine that calls a provider. Each request has inputs of one organisation only.

The organisation of a request pays for the request, perhaps with a key of its own. Each organisation may have
``Engine.concurrency`` requests in flight in each lane. So an organisation with many requests does not delay
other organisations, and queries never wait behind bulk requests. Requests wait inside the engine for the
shared rate limit, which the engine divides fairly between organisations
(docs/decisions/030-one-budget-for-the-cluster.md).

    dispatcher = ProviderDispatcher(engine, queue, stats, settle=...)
    queue.push(item)
    dispatcher.start()
"""

import asyncio
from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cluster.engines import ProviderEngine
from serve_app.embedding.batching.dispatcher import Dispatcher, Result
from serve_app.embedding.batching.fair_queue import FairQueue, Item, Lane
from serve_app.embedding.batching.stats import Stats


class ProviderDispatcher(Dispatcher):
    """Moves items from one queue to one engine at a provider."""

    def __init__(
        self,
        engine: ProviderEngine,
        queue: FairQueue,
        stats: Stats,
        *,
        settle: Callable[[Item, Result], None],
    ) -> None:
        """Create the dispatcher, which calls ``settle`` once for each item, with the result of the item."""
        super().__init__(engine, queue, stats, settle=settle, batch_tokens=engine.limits.tokens)
        self._provider = engine
        #: Number of requests in flight, by lane and organisation.
        self._in_flight: Counter[tuple[Lane, str]] = Counter()

    def start(self) -> None:
        """Send requests to the engine until each organisation has its maximum number of requests in flight or
        nothing left to send.
        """
        lanes: tuple[Lane, ...] = ("interactive", "bulk")
        for lane in lanes:
            for organisation in self._queue.organisations(lane):
                while batch := self._next_request(lane, organisation):
                    self._begin(batch, lane, organisation)
        self._count_waiting()

    def _next_request(self, lane: Lane, organisation: str) -> list[Item]:
        free = self._provider.concurrency - self._in_flight[lane, organisation]
        if free < 1:
            return []
        limits = self._provider.limits
        share = -(-self._queue.tokens(lane, organisation) // free)
        tokens = min(limits.tokens, max(limits.least_tokens, share))
        return self._wanted(
            self._queue.take(lane, tokens=tokens, organisation=organisation, items=limits.inputs)
        )

    def _begin(self, batch: list[Item], lane: Lane, organisation: str) -> None:
        self._in_flight[lane, organisation] += 1
        task = asyncio.get_running_loop().create_task(self._run(batch, urgent=lane == "interactive"))
        self._running.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            self._in_flight[lane, organisation] -= 1
            self.start()

        task.add_done_callback(ended)

    async def _compute(self, batch: list[Item], *, urgent: bool = False) -> NDArray[np.float32] | Exception:
        try:
            future = self._provider.submit(
                [item.ids for item in batch], urgent=urgent, organisation=batch[0].organisation
            )
            return await asyncio.wrap_future(future)
        except Exception as exc:  # noqa: BLE001  returned, because the waiting requests must get the error
            return exc
