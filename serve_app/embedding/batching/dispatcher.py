"""The dispatcher makes batches of waiting inputs, and gives a batch to the engine when the engine is free.

The dispatcher has no timer. Each organisation may have one urgent batch at a time, made of its inputs in the
lane ``interactive``. The engine computes urgent batches before ordinary batches. All other inputs share
ordinary batches. In an ordinary batch, interactive inputs come first, but a share is reserved for ``bulk``
inputs. Bulk inputs that have waited too long come before interactive inputs. docs/decisions/009 gives the
reasons.
``batcher`` uses the dispatcher on its event loop.

    dispatcher = Dispatcher(engine, queue, stats, settle=..., batch_tokens=2048)
    queue.push(item)
    dispatcher.start()
"""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import structlog
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.engines.bert.plan import plan
from cluster.errors import ClusterError, Misconfigured, Permanent, Retryable
from serve_app.embedding.batching.fair_queue import FairQueue, Item, Lane
from serve_app.embedding.batching.stats import Stats

log = structlog.get_logger(__name__)

#: Maximum number of tokens of an urgent batch. Further interactive inputs of the organisation go into
#: ordinary batches.
URGENT_TOKENS = 512
#: Waiting tokens are divided into batches for all free workers, but a batch gets at least this many tokens.
#: Dividing tokens into smaller batches costs more time than it saves.
LEAST_TOKENS = 128
#: Share of an ordinary batch that is reserved for waiting bulk inputs.
BULK_SHARE = 0.25
#: If a bulk input has waited for more than this many seconds, bulk inputs come before interactive inputs.
BULK_MAX_WAIT_S = 5.0
#: If the engine pads inputs, the inputs of this many batches are sorted by length together. This reduces
#: padding to a few per cent.
PADDED_WAVE = 16
#: Weight of the newest batch in the running estimate of tokens per second.
SMOOTHING = 0.2

#: Result of an item: its vector, (dim,) float32; or the error; or None if no caller waited for the item any
#: more.
Result = NDArray[np.float32] | Exception | None


class Dispatcher:
    """Moves items from one queue to one engine."""

    def __init__(
        self,
        engine: Engine,
        queue: FairQueue,
        stats: Stats,
        *,
        settle: Callable[[Item, Result], None],
        batch_tokens: int,
    ) -> None:
        """Create the dispatcher, which calls ``settle`` once for each item, with the result of the item."""
        self._engine = engine
        self._queue = queue
        self._stats = stats
        self._settle = settle
        self._batch_tokens = batch_tokens
        self._sorted: list[list[Item]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._urgent: set[str] = set()
        #: Running estimate of the speed of all workers of the engine together; 0 before the first batch ends.
        self.tokens_per_s = 0.0

    @property
    def waiting_tokens(self) -> int:
        """Number of tokens in the queue. Inputs of cancelled callers count until they are dropped."""
        return (
            self._queue.tokens("interactive")
            + self._queue.tokens("bulk")
            + sum(item.tokens for batch in self._sorted for item in batch)
        )

    def start(self) -> None:
        """Give the engine all urgent batches that may run, and then ordinary batches for its free workers."""
        while batch := self._next_urgent():
            self._spawn(batch, urgent=batch[0].organisation)
        while self._has_free_worker() and (batch := self._next_batch()):
            self._spawn(batch, urgent=None)
        self._count_waiting()

    def _has_free_worker(self) -> bool:
        only_urgent = len(self._running) == len(self._urgent)
        return len(self._running) < self._engine.concurrency or only_urgent

    def _spawn(self, batch: list[Item], urgent: str | None) -> None:
        if urgent is not None:
            self._urgent.add(urgent)
        task = asyncio.get_running_loop().create_task(self._run(batch, urgent=urgent is not None))
        self._running.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            if urgent is not None:
                self._urgent.discard(urgent)
            self.start()

        task.add_done_callback(ended)

    def _next_urgent(self) -> list[Item]:
        if not self._engine.preempts or len(self._urgent) > self._engine.concurrency:
            return []
        for organisation in self._queue.organisations("interactive"):
            if organisation not in self._urgent:
                tokens = min(URGENT_TOKENS, self._share_of(self._queue.tokens("interactive", organisation)))
                if batch := self._wanted(
                    self._queue.take("interactive", tokens=tokens, organisation=organisation)
                ):
                    return batch
        return []

    def _next_batch(self) -> list[Item]:
        while self._sorted:
            if batch := self._wanted(self._sorted.pop(0)):
                return batch
        budget = self._batch_tokens if self._engine.packed else self._batch_tokens * PADDED_WAVE
        budget = min(budget, self._share_of(self.waiting_tokens))
        batch = []
        for lane, tokens in self._shares(budget):
            left = tokens - sum(item.tokens for item in batch)
            if left > 0 or not batch:
                batch += self._wanted(self._queue.take(lane, tokens=left))
        if self._engine.packed or not batch:
            return batch
        self._sorted = [
            [batch[i] for i in part]
            for part in plan([item.tokens for item in batch], budget=self._batch_tokens)
        ]
        return self._sorted.pop(0)

    def _shares(self, budget: int) -> list[tuple[Lane, int]]:
        """Return the lanes in the order in which they fill a batch.

        Each lane comes with the maximum number of tokens of the batch after the inputs of that lane.
        """
        bulk_since = self._queue.oldest("bulk")
        if bulk_since is None:
            return [("interactive", budget)]
        if time.monotonic() - bulk_since > BULK_MAX_WAIT_S:
            return [("bulk", budget), ("interactive", budget)]
        return [("interactive", budget - int(budget * BULK_SHARE)), ("bulk", budget)]

    def _share_of(self, tokens: int) -> int:
        """Return the number of tokens for one free worker if the free workers share the tokens equally; at
        least ``LEAST_TOKENS``.
        """
        free = max(1, self._engine.concurrency - len(self._running))
        return max(LEAST_TOKENS, -(-tokens // free))

    def _wanted(self, items: list[Item]) -> list[Item]:
        wanted = []
        for item in items:
            if item.wanted:
                wanted.append(item)
            else:
                self._stats.dropped_inputs += 1
                self._settle(item, None)
        return wanted

    async def _run(self, batch: list[Item], *, urgent: bool) -> None:
        started = time.monotonic()
        found = await self._compute(batch, urgent=urgent)
        if isinstance(found, Exception):
            _log_failure(batch, found)
            await self._single_out(batch, found)
            return
        self._settle_all(batch, found)
        self._count_batch(batch, time.monotonic() - started)

    async def _compute(self, batch: list[Item], *, urgent: bool = False) -> NDArray[np.float32] | Exception:
        """Return the vectors, (n, dim) float32, or the error of the engine."""
        try:
            return await asyncio.wrap_future(self._engine.submit([item.ids for item in batch], urgent=urgent))
        except Exception as exc:  # noqa: BLE001  returned, because the waiting requests must get the error
            return exc

    async def _single_out(self, batch: list[Item], fault: Exception) -> None:
        """Find the inputs that made the batch fail: compute each half of the batch alone, and search further
        in a half that fails.

        Some errors cannot come from a single input: a retryable error, a refused key or another wrong
        setting, and an unexpected error in both halves. Then there is no search, and every input gets the
        error.
        """
        if isinstance(fault, Retryable | Misconfigured) or len(batch) == 1:
            self._settle_all(batch, fault)
            return
        middle = len(batch) // 2
        halves = [(half, await self._compute(half)) for half in (batch[:middle], batch[middle:])]
        both = all(isinstance(found, Exception) for _, found in halves)
        for half, found in halves:
            if not isinstance(found, Exception) or (both and not isinstance(found, Permanent)):
                self._settle_all(half, found)
            else:
                await self._single_out(half, found)

    def _settle_all(self, batch: list[Item], found: NDArray[np.float32] | Exception) -> None:
        for position, item in enumerate(batch):
            self._settle(item, found if isinstance(found, Exception) else found[position])

    def _count_batch(self, batch: list[Item], seconds: float) -> None:
        tokens = sum(item.tokens for item in batch)
        self._stats.batches += 1
        self._stats.batch_inputs += len(batch)
        self._stats.batch_tokens += tokens
        self._stats.real_tokens += tokens
        self._stats.computed_tokens += (
            tokens if self._engine.packed else len(batch) * max(item.tokens for item in batch)
        )
        self._stats.busy_s += seconds
        rate = tokens * len(self._running) / max(seconds, 1e-6)
        self.tokens_per_s += (rate - self.tokens_per_s) * (SMOOTHING if self.tokens_per_s else 1)

    def _count_waiting(self) -> None:
        for lane in ("interactive", "bulk"):
            self._stats.waiting_tokens[lane] = self._queue.tokens(lane)


def _log_failure(batch: list[Item], fault: Exception) -> None:
    """Log one line for an expected error, and the traceback of an unexpected error."""
    if isinstance(fault, ClusterError):
        log.warning("batch_refused", inputs=len(batch), reason=str(fault))
    else:
        log.error("batch_failed", inputs=len(batch), exc_info=fault)
