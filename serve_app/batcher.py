"""The dynamic batcher: what waits is taken whenever the model is free, never later and never in smaller pieces than it has to.

Ray Serve's own ``@serve.batch`` closes a batch by a clock, before it knows whether the model is free, so its batches do not
grow under load. Here nothing has a timer: a lone request goes at once, and while the model works the queue grows into the
next batch. Two lanes: ``interactive`` goes first, ``bulk`` keeps a reserved share and overtakes once it has waited long.

    batcher = Batcher(engine)
    vectors = await batcher.embed(ids, lane="interactive")     # (n, dim) float32
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import structlog
from numpy.typing import NDArray

from cluster.engines import Engine
from cluster.errors import Throttled

log = structlog.get_logger(__name__)

Lane = Literal["interactive", "bulk"]

#: Tokens of one batch: long enough to keep the model's matrices full, short enough that who comes next waits little.
BATCH_TOKENS = 2_048
#: Part of a batch that is bulk's while any waits.
BULK_SHARE = 0.25
#: Bulk that has waited this long goes first.
BULK_PATIENCE_S = 5.0
#: Tokens that may wait; beyond it a request is refused at the door and told when to come back.
MAX_WAITING_TOKENS = 1_000_000
#: Weight of the newest batch in the running estimate of tokens a second.
SMOOTHING = 0.2


@dataclass(slots=True)
class _Request:
    """The inputs of one caller, and the vectors they have so far."""

    done: asyncio.Future[None]
    vectors: NDArray[np.float32]
    missing: int
    lane: Lane
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class _Item:
    request: _Request
    position: int
    ids: NDArray[np.int32]


class Batcher:
    """Requests to batches, on one event loop; the engine runs in threads."""

    def __init__(self, engine: Engine, *, batch_tokens: int = BATCH_TOKENS, max_waiting_tokens: int = MAX_WAITING_TOKENS) -> None:
        self._engine = engine
        self._batch_tokens = batch_tokens
        self._max_waiting_tokens = max_waiting_tokens
        self._lanes: dict[Lane, deque[_Item]] = {"interactive": deque(), "bulk": deque()}
        self._waiting_tokens = 0
        self._running: set[asyncio.Task[None]] = set()
        self._tokens_per_s = 0.0

    @property
    def waiting_tokens(self) -> int:
        """Tokens in the queue, those of callers who left included until they are met."""
        return self._waiting_tokens

    async def embed(self, ids: Sequence[NDArray[np.int32]], *, lane: Lane = "interactive") -> NDArray[np.float32]:
        """(n, dim) float32 for inputs already tokenised, in their order.

        A caller who is cancelled costs nothing more from then on.

        Raises:
            Throttled: too much waits already; ``retry_after_s`` says when that will be worked off.
        """
        tokens = sum(map(_cost, ids))
        if self._waiting_tokens and self._waiting_tokens + tokens > self._max_waiting_tokens:
            wait_s = self._waiting_tokens / self._tokens_per_s if self._tokens_per_s else 1.0
            raise Throttled(f"{self._waiting_tokens:,} tokens are waiting already; try again in {wait_s:.0f} s", retry_after_s=wait_s)
        vectors = np.empty((len(ids), self._engine.fingerprint.dim), dtype=np.float32)
        if not len(ids):
            return vectors
        request = _Request(asyncio.get_running_loop().create_future(), vectors, len(ids), lane)
        self._lanes[lane].extend(_Item(request, position, one) for position, one in enumerate(ids))
        self._waiting_tokens += tokens
        self._start()
        await request.done
        return vectors

    def _start(self) -> None:
        """Give the engine as many batches as it works on at once, while there are any."""
        while len(self._running) < self._engine.concurrency and (batch := self._next_batch()):
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    def _next_batch(self) -> list[_Item]:
        interactive, bulk = self._lanes["interactive"], self._lanes["bulk"]
        if bulk and time.monotonic() - bulk[0].request.since > BULK_PATIENCE_S:
            shares = [(bulk, self._batch_tokens)]
        elif bulk:
            reserved = int(self._batch_tokens * BULK_SHARE)
            shares = [(interactive, self._batch_tokens - reserved), (bulk, self._batch_tokens)]
        else:
            shares = [(interactive, self._batch_tokens)]
        batch: list[_Item] = []
        tokens = 0
        for lane, budget in shares:
            while lane and (not batch or tokens + _cost(lane[0].ids) <= budget):
                item = lane.popleft()
                self._waiting_tokens -= _cost(item.ids)
                if not item.request.done.done():  # cancelled or failed: nobody waits for it
                    batch.append(item)
                    tokens += _cost(item.ids)
        return batch

    async def _run(self, batch: list[_Item]) -> None:
        started = time.monotonic()
        try:
            vectors = await asyncio.to_thread(self._engine.embed_ids, [item.ids for item in batch])
        except Exception as exc:  # the batch's edge: logged, and told to those it concerns
            log.exception("batch_failed", inputs=len(batch))
            await self._tell(batch, exc)
            return
        for item, vector in zip(batch, vectors, strict=True):
            _deliver(item, vector)
        rate = sum(_cost(item.ids) for item in batch) * self._engine.concurrency / (time.monotonic() - started)
        self._tokens_per_s += (rate - self._tokens_per_s) * (SMOOTHING if self._tokens_per_s else 1)

    async def _tell(self, batch: list[_Item], exc: Exception) -> None:
        """One input's fault is not its neighbours': each is tried alone."""
        for item in batch:
            if item.request.done.done():
                continue
            if len(batch) == 1:
                item.request.done.set_exception(exc)
                continue
            try:
                (vector,) = await asyncio.to_thread(self._engine.embed_ids, [item.ids])
                _deliver(item, vector)
            except Exception as own:  # noqa: BLE001  handed to the caller whose input it was
                item.request.done.set_exception(own)


def _deliver(item: _Item, vector: NDArray[np.float32]) -> None:
    request = item.request
    request.vectors[item.position] = vector
    request.missing -= 1
    if not request.missing and not request.done.done():
        request.done.set_result(None)


def _cost(ids: NDArray[np.int32]) -> int:
    """Tokens the model reads for it; an empty input costs its special tokens."""
    return len(ids) + 2
