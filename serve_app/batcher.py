"""The dynamic batcher: what waits is taken whenever the model is free, never later and never in smaller pieces than it has to.

Ray Serve's own ``@serve.batch`` closes a batch by a clock, before it knows whether the model is free, so its batches do not
grow under load. Here nothing has a timer: a lone request goes at once, and while the model works the queue grows into the
next batch.

Each organisation may have one urgent batch at a time, of what it sent to the ``interactive`` lane; the engine runs it ahead of
everything else. All the rest shares ordinary batches: interactive first, ``bulk`` with a reserved share, and first once it
has waited long. Between organisations the queue is fair by tokens. An input computed before comes from the cache, and one
that is in flight already is computed once.

    batcher = Batcher(engine)
    vectors = await batcher.embed(ids, lane="interactive", organisation="acme")     # (n, dim) float32
"""

import asyncio
import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
import structlog
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.engines.plan import plan
from cluster.errors import Throttled
from serve_app.fair_queue import FairQueue, Item, Lane, Request
from serve_app.stats import Stats
from serve_app.vector_cache import VectorCache, key_of

log = structlog.get_logger(__name__)

#: Tokens of one batch: long enough to keep the model's matrices full, short enough that who comes next waits little.
BATCH_TOKENS = 2_048
#: Tokens of an urgent batch: an organisation's further interactive inputs share the ordinary batches with everybody's.
URGENT_TOKENS = 512
#: Fewer tokens than this are not divided between free workers: smaller matrices cost more than they save.
LEAST_TOKENS = 128
#: Part of an ordinary batch that is bulk's while any waits.
BULK_SHARE = 0.25
#: Bulk that has waited this long goes first.
BULK_PATIENCE_S = 5.0
#: Batches sorted by length together where the engine pads: padding falls to a few per cent.
PADDED_WAVE = 16
#: Weight of the newest batch in the running estimate of tokens a second.
SMOOTHING = 0.2


class Batcher:
    """Requests to batches, on one event loop; the engine runs in threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        batch_tokens: int = BATCH_TOKENS,
        max_waiting_tokens: int = 1_000_000,
        cache_bytes: int = 0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.stats = Stats()
        self._engine = engine
        self._special_tokens = engine.tokeniser.special_tokens
        self._batch_tokens = batch_tokens
        self._max_waiting_tokens = max_waiting_tokens
        self._queue = FairQueue(weights or {})
        self._cache = VectorCache(cache_bytes)
        self._in_flight: dict[bytes, Item] = {}
        self._sorted: list[list[Item]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._urgent: set[str] = set()
        self._tokens_per_s = 0.0

    async def embed(
        self, ids: Sequence[NDArray[np.int32]], *, lane: Lane = "interactive", organisation: str = "default", deadline_s: float = math.inf
    ) -> NDArray[np.float32]:
        """(n, dim) float32 for inputs already tokenised, in their order.

        A caller who is cancelled costs nothing more from then on.

        Args:
            ids: token ids of each input, special tokens left out.
            lane: whether somebody waits for the answer.
            organisation: who pays with its share of the model.
            deadline_s: seconds after which the answer is of no use.

        Raises:
            Throttled: too much waits already, or the deadline can't be met; ``retry_after_s`` says when it could be.
        """
        request = Request(asyncio.get_running_loop().create_future(), np.empty((len(ids), self._engine.fingerprint.dim), np.float32))
        missing = self._from_cache(request, ids, organisation)
        self.stats.organisation_tokens[organisation] += sum(map(len, ids)) + len(ids) * self._special_tokens
        self._admit(missing, lane, organisation, deadline_s)
        for position, key, one in missing:
            self._wait_for(request, position, key, one, lane, organisation)
        self._start()
        if missing:
            await self._finished(request, deadline_s)
        return request.vectors

    def _from_cache(
        self, request: Request, ids: Sequence[NDArray[np.int32]], organisation: str
    ) -> list[tuple[int, bytes, NDArray[np.int32]]]:
        missing = []
        for position, one in enumerate(ids):
            key = key_of(organisation, one)
            if (vector := self._cache.get(key)) is None:
                missing.append((position, key, one))
            else:
                request.vectors[position] = vector
        request.missing = len(missing)
        self.stats.cache_hits += len(ids) - len(missing)
        self.stats.cache_misses += len(missing)
        return missing

    def _admit(self, missing: list[tuple[int, bytes, NDArray[np.int32]]], lane: Lane, organisation: str, deadline_s: float) -> None:
        """Refuse what the queue cannot hold or the deadline does not allow.

        An organisation is refused for what waits of its own: another's flood leaves it its share of the queue.
        """
        tokens = sum(self._cost(one) for _, key, one in missing if key not in self._in_flight)
        waiting = self.waiting_tokens
        if not tokens or not waiting:
            return
        own = self._queue.tokens("interactive", organisation) + self._queue.tokens("bulk", organisation)
        share = self._max_waiting_tokens / len(
            {organisation, *self._queue.organisations("interactive"), *self._queue.organisations("bulk")}
        )
        rate = self._tokens_per_s or math.inf
        wait_s = self._queue.ahead(lane, organisation, tokens) / rate
        if waiting + tokens > self._max_waiting_tokens and own + tokens > share:
            self._refuse(f"{waiting:,} tokens are waiting already", max(1.0, wait_s))
        if wait_s + tokens / rate > deadline_s:
            self._refuse(f"this would take {wait_s + tokens / rate:.1f} s, longer than the {deadline_s:.1f} s the request has", wait_s)

    def _refuse(self, reason: str, retry_after_s: float) -> None:
        self.stats.refused_requests += 1
        raise Throttled(f"{reason}; try again in {max(1, math.ceil(retry_after_s))} s", retry_after_s=retry_after_s)

    def _wait_for(self, request: Request, position: int, key: bytes, ids: NDArray[np.int32], lane: Lane, organisation: str) -> None:
        item = self._in_flight.get(key)
        if item is None:
            self._in_flight[key] = item = Item(ids, self._cost(ids), organisation, lane, key, [(request, position)])
            self._queue.push(item, lane)
            return
        item.waiters.append((request, position))
        self.stats.joined_in_flight += 1
        if lane == "interactive" and item.lane == "bulk" and not item.taken:
            item.lane = lane
            self._queue.push(item, lane)

    async def _finished(self, request: Request, deadline_s: float) -> None:
        if math.isinf(deadline_s):
            await request.done
            return
        # A timer of the loop costs a tenth of ``asyncio.timeout``.
        timer = asyncio.get_running_loop().call_later(deadline_s, self._give_up, request, deadline_s)
        try:
            await request.done
        finally:
            timer.cancel()

    def _give_up(self, request: Request, deadline_s: float) -> None:
        if not request.done.done():
            wait_s = self.waiting_tokens / (self._tokens_per_s or math.inf)
            reason = f"not finished within the {deadline_s:.1f} s the request had"
            request.done.set_exception(Throttled(reason, retry_after_s=max(1.0, wait_s)))

    def _start(self) -> None:
        """Give the engine as many batches as it works on at once, while there are any; urgent ones at any time."""
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
        # Where nothing in it can wait, an ordinary batch steps back for nobody either.
        ahead = self._engine.preempts and all(item.lane == "interactive" for item in batch)
        task = asyncio.get_running_loop().create_task(self._run(batch, urgent=ahead))
        self._running.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            if urgent is not None:
                self._urgent.discard(urgent)
            self._start()

        task.add_done_callback(ended)

    def _next_urgent(self) -> list[Item]:
        if not self._engine.preempts or len(self._urgent) > self._engine.concurrency:
            return []
        for organisation in self._queue.organisations("interactive"):
            if organisation not in self._urgent:
                tokens = min(URGENT_TOKENS, self._share_of(self._queue.tokens("interactive", organisation)))
                if batch := self._wanted(self._queue.take("interactive", tokens=tokens, organisation=organisation)):
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
        self._sorted = [[batch[i] for i in part] for part in plan([item.tokens for item in batch], budget=self._batch_tokens)]
        return self._sorted.pop(0)

    def _shares(self, budget: int) -> list[tuple[Lane, int]]:
        """Lanes in the order they are taken from, and the tokens a batch may hold after each."""
        bulk_since = self._queue.oldest("bulk")
        if bulk_since is None:
            return [("interactive", budget)]
        if time.monotonic() - bulk_since > BULK_PATIENCE_S:
            return [("bulk", budget), ("interactive", budget)]
        return [("interactive", budget - int(budget * BULK_SHARE)), ("bulk", budget)]

    def _share_of(self, tokens: int) -> int:
        """So much that free workers get about equal parts of what waits."""
        free = max(1, self._engine.concurrency - len(self._running))
        return max(LEAST_TOKENS, -(-tokens // free))

    def _wanted(self, items: list[Item]) -> list[Item]:
        wanted = []
        for item in items:
            if item.wanted:
                wanted.append(item)
            else:
                self._in_flight.pop(item.key, None)
                self.stats.dropped_inputs += 1
        return wanted

    async def _run(self, batch: list[Item], *, urgent: bool) -> None:
        started = time.monotonic()
        try:
            vectors = await asyncio.wrap_future(self._engine.submit([item.ids for item in batch], urgent=urgent))
        except Exception as exc:  # the batch's edge: logged, and told to those it concerns
            log.exception("batch_failed", inputs=len(batch))
            await self._each_alone(batch, exc)
        else:
            for item, vector in zip(batch, vectors, strict=True):
                self._deliver(item, vector)
            self._count_batch(batch, time.monotonic() - started)

    async def _each_alone(self, batch: list[Item], exc: Exception) -> None:
        """One input's fault is not its neighbours'."""
        for item in batch:
            if len(batch) == 1:
                self._fail(item, exc)
                continue
            try:
                (vector,) = await asyncio.wrap_future(self._engine.submit([item.ids]))
            except Exception as own:  # noqa: BLE001  handed to the callers whose input it was
                self._fail(item, own)
            else:
                self._deliver(item, vector)

    def _deliver(self, item: Item, vector: NDArray[np.float32]) -> None:
        del self._in_flight[item.key]
        self._cache.put(item.key, vector)
        for request, position in item.waiters:
            request.vectors[position] = vector
            request.missing -= 1
            if not request.missing and not request.done.done():
                request.done.set_result(None)

    def _fail(self, item: Item, exc: Exception) -> None:
        del self._in_flight[item.key]
        for request, _ in item.waiters:
            if not request.done.done():
                request.done.set_exception(exc)

    def _count_batch(self, batch: list[Item], seconds: float) -> None:
        tokens = sum(item.tokens for item in batch)
        self.stats.batches += 1
        self.stats.batch_inputs += len(batch)
        self.stats.batch_tokens += tokens
        self.stats.real_tokens += tokens
        self.stats.computed_tokens += tokens if self._engine.packed else len(batch) * max(item.tokens for item in batch)
        self.stats.busy_s += seconds
        rate = tokens * len(self._running) / max(seconds, 1e-6)
        self._tokens_per_s += (rate - self._tokens_per_s) * (SMOOTHING if self._tokens_per_s else 1)

    def _count_waiting(self) -> None:
        for lane in ("interactive", "bulk"):
            self.stats.waiting_tokens[lane] = self._queue.tokens(lane)

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue, those of callers who left included until they are met."""
        return self._queue.tokens("interactive") + self._queue.tokens("bulk") + sum(item.tokens for batch in self._sorted for item in batch)

    def _cost(self, ids: NDArray[np.int32]) -> int:
        return len(ids) + self._special_tokens
