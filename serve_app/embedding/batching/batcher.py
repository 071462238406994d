"""The dynamic batcher turns requests into vectors, in batches that grow while the model is busy.

Ray Serve's own ``@serve.batch`` closes a batch after a fixed time, even if the model is still busy, so
batches do not grow under load. Here, a single request starts at once if the model is free. While the model
computes, further inputs wait for the next batch (``dispatcher``), with fair shares for organisations
(``fair_queue``). The cache answers inputs that were computed before. Equal inputs in flight are computed
once. A request that cannot meet its deadline is refused at once.

    batcher = Batcher(engine, batch_tokens=2048, max_waiting_tokens=1_000_000)
    vectors = await batcher.embed(ids, lane="interactive", organisation="acme")     # (n, dim) float32
"""

import asyncio
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Engine, ProviderEngine
from cluster.errors import Throttled
from serve_app.embedding.batching.dispatcher import Dispatcher, Result
from serve_app.embedding.batching.fair_queue import FairQueue, Item, Lane, PendingRequest
from serve_app.embedding.batching.provider_dispatcher import ProviderDispatcher
from serve_app.embedding.batching.stats import Stats
from serve_app.embedding.batching.vector_cache import VectorCache, key_of


class Batcher:
    """The batcher of one engine. The batcher runs on one event loop; the engine computes in threads."""

    def __init__(
        self,
        engine: Engine,
        *,
        batch_tokens: int,
        max_waiting_tokens: int,
        cache_bytes: int = 0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """Create the batcher, with an empty queue.

        Args:
            engine: computes the batches.
            batch_tokens: see the setting ``replica_batch_tokens``; an engine at a provider has its own limit.
            max_waiting_tokens: see the setting of this name.
            cache_bytes: see the setting ``vector_cache_bytes``.
            weights: each organisation's share of the model; 1 for an organisation that is not listed.
        """
        self.stats = Stats()
        self._engine = engine
        self._special_tokens = engine.tokeniser.special_tokens
        self._max_waiting_tokens = max_waiting_tokens
        self._queue = FairQueue({} if weights is None else weights)
        self._cache = VectorCache(cache_bytes)
        self._in_flight: dict[bytes, Item] = {}
        self._dispatcher: Dispatcher = (
            ProviderDispatcher(engine, self._queue, self.stats, settle=self._settle)
            if isinstance(engine, ProviderEngine)
            else Dispatcher(engine, self._queue, self.stats, settle=self._settle, batch_tokens=batch_tokens)
        )

    async def embed(
        self,
        ids: Sequence[NDArray[np.int32]],
        *,
        lane: Lane = "interactive",
        organisation: str = "default",
        deadline_s: float = math.inf,
    ) -> NDArray[np.float32]:
        """Return the vectors of tokenised inputs, (n, dim) float32, in the order of the inputs.

        If the caller is cancelled, its waiting inputs are not computed, unless another request needs them.

        Args:
            ids: token ids of each input, without special tokens.
            lane: ``interactive`` if a person waits for the answer.
            organisation: the organisation whose share of the model is used for the inputs.
            deadline_s: seconds from now after which the answer is useless.

        Raises:
            Throttled: the queue is full, or the deadline cannot be met; ``retry_after_s`` says when to try
                again.
            Exception: the error of the engine.
        """
        request = PendingRequest(
            asyncio.get_running_loop().create_future(),
            np.empty((len(ids), self._engine.fingerprint.dim), np.float32),
        )
        missing = self._from_cache(request, ids, organisation)
        self._admit(missing, lane, organisation, deadline_s)
        self.stats.organisation_tokens[organisation] += sum(map(len, ids)) + len(ids) * self._special_tokens
        for position, key, one in missing:
            self._wait_for(request, position, key, one, lane, organisation)
        self._dispatcher.start()
        if missing:
            await self._finished(request, deadline_s)
        return request.vectors

    def _from_cache(
        self, request: PendingRequest, ids: Sequence[NDArray[np.int32]], organisation: str
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

    def _admit(
        self,
        missing: list[tuple[int, bytes, NDArray[np.int32]]],
        lane: Lane,
        organisation: str,
        deadline_s: float,
    ) -> None:
        """Refuse inputs that do not fit into the queue or that would miss the deadline.

        An empty queue accepts all inputs. A full queue refuses an organisation only if the organisation's own
        inputs exceed its share of the queue.

        Raises:
            Throttled: the inputs are refused.
        """
        tokens = sum(self._cost(one) for _, key, one in missing if key not in self._in_flight)
        waiting = self.waiting_tokens
        if not tokens or not waiting:
            return
        own = self._queue.tokens("interactive", organisation) + self._queue.tokens("bulk", organisation)
        share = self._max_waiting_tokens / len(
            {organisation, *self._queue.organisations("interactive"), *self._queue.organisations("bulk")}
        )
        rate = self._dispatcher.tokens_per_s or math.inf
        wait_s = self._queue.ahead(lane, organisation, tokens) / rate
        if waiting + tokens > self._max_waiting_tokens and own + tokens > share:
            self._refuse(f"{waiting:,} tokens wait already", max(1.0, wait_s))
        if wait_s + tokens / rate > deadline_s:
            self._refuse(
                f"this would take {wait_s + tokens / rate:.1f} s, longer than the request's {deadline_s:.1f} "
                "s",
                wait_s,
            )

    def _refuse(self, reason: str, retry_after_s: float) -> None:
        self.stats.refused_requests += 1
        raise Throttled(
            f"{reason}; try again in {max(1, math.ceil(retry_after_s))} s", retry_after_s=retry_after_s
        )

    def _wait_for(
        self,
        request: PendingRequest,
        position: int,
        key: bytes,
        ids: NDArray[np.int32],
        lane: Lane,
        organisation: str,
    ) -> None:
        item = self._in_flight.get(key)
        if item is None:
            self._in_flight[key] = item = Item(
                ids, self._cost(ids), organisation, lane, key, [(request, position)]
            )
            self._queue.push(item, lane)
            return
        item.waiters.append((request, position))
        self.stats.joined_in_flight += 1
        if lane == "interactive" and item.lane == "bulk" and not item.taken:
            item.lane = lane
            self._queue.push(item, lane)

    async def _finished(self, request: PendingRequest, deadline_s: float) -> None:
        if math.isinf(deadline_s):
            await request.done
            return
        # ``call_later`` is used because it costs a tenth of the time of ``asyncio.timeout``.
        timer = asyncio.get_running_loop().call_later(deadline_s, self._give_up, request, deadline_s)
        try:
            await request.done
        finally:
            timer.cancel()

    def _give_up(self, request: PendingRequest, deadline_s: float) -> None:
        if not request.done.done():
            wait_s = self.waiting_tokens / (self._dispatcher.tokens_per_s or math.inf)
            reason = f"not finished within the request's {deadline_s:.1f} s"
            request.done.set_exception(Throttled(reason, retry_after_s=max(1.0, wait_s)))

    def _settle(self, item: Item, result: Result) -> None:
        del self._in_flight[item.key]
        if isinstance(result, Exception):
            for request, _ in item.waiters:
                if not request.done.done():
                    request.done.set_exception(result)
        elif result is not None:
            self._cache.put(item.key, result)
            for request, position in item.waiters:
                request.vectors[position] = result
                request.missing -= 1
                if not request.missing and not request.done.done():
                    request.done.set_result(None)

    @property
    def waiting_tokens(self) -> int:
        """Number of tokens in the queue. Inputs of cancelled callers count until they are dropped."""
        return self._dispatcher.waiting_tokens

    def _cost(self, ids: NDArray[np.int32]) -> int:
        return len(ids) + self._special_tokens
