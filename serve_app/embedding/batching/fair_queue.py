"""Inputs that wait for the model, taken so that no organisation can make another wait for more than its own share.

Within a lane each organisation has a line of its own and a virtual time, which advances by the tokens it was served over
its weight; who is furthest behind goes next. One that comes back from idleness starts at the present, so it can't save
up. This is start-time fair queueing (Goyal, Vin, Cheng 1996, doi:10.1145/248156.248171) with tokens as the length.

Filled by ``batcher`` and emptied by ``dispatcher``, on one event loop.

    queue.push(item)
    batch = queue.take("interactive", tokens=512)
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Lane = Literal["interactive", "bulk"]


@dataclass(slots=True, eq=False)
class Request:
    """One caller's inputs, and the vectors they have so far."""

    done: asyncio.Future[None]
    #: (n, dim) float32, filled as batches end.
    vectors: NDArray[np.float32]
    #: Vectors it does not have yet.
    missing: int = 0


@dataclass(slots=True, eq=False)
class Item:
    """One input the model has to read, and everybody who waits for it."""

    ids: NDArray[np.int32]
    #: Tokens the model reads for it.
    tokens: int
    organisation: str
    lane: Lane
    key: bytes
    #: The requests and the row of each that its vector goes to.
    waiters: list[tuple[Request, int]]
    since: float = field(default_factory=time.monotonic)
    #: True once it left the queue: an item can stand in both lanes, when a person asks for what a bulk job asked for before.
    taken: bool = False

    @property
    def wanted(self) -> bool:
        """False when all who asked have left or given up."""
        return any(not request.done.done() for request, _ in self.waiters)


@dataclass(slots=True, eq=False)
class _Line:
    items: deque[Item] = field(default_factory=deque)
    tokens: int = 0
    virtual_time: float = 0.0

    def pop(self) -> None:
        """Take the first away."""
        self.tokens -= self.items.popleft().tokens


class FairQueue:
    """Both lanes. Lines exist only while something waits in them or they are ahead of the present."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._lanes: dict[Lane, dict[str, _Line]] = {"interactive": {}, "bulk": {}}
        self._now: dict[Lane, float] = {"interactive": 0.0, "bulk": 0.0}

    def push(self, item: Item, lane: Lane | None = None) -> None:
        """Put the item at the end of its organisation's line."""
        lane = lane or item.lane
        line = self._lanes[lane].setdefault(item.organisation, _Line())
        if not line.items:
            line.virtual_time = max(line.virtual_time, self._now[lane])
        line.items.append(item)
        line.tokens += item.tokens

    def take(self, lane: Lane, *, tokens: int, organisation: str | None = None) -> list[Item]:
        """The next items of the lane: at least one that is wanted if any waits, else as many as the tokens allow.

        Among them may be such that nobody wants any more; they count for nothing.

        Args:
            lane: where to take from.
            tokens: most tokens of all of them together.
            organisation: only this one's.
        """
        lines = self._lanes[lane]
        names = lines if organisation is None else [organisation]
        turns = [(lines[name].virtual_time, name) for name in names if name in lines and lines[name].items]
        heapq.heapify(turns)
        taken: list[Item] = []
        left = tokens
        while turns:
            time_, name = turns[0]
            line = lines[name]
            item = line.items[0]
            if item.taken or not item.wanted:
                line.pop()
                if not item.taken:
                    item.taken = True
                    taken.append(item)
            elif left < tokens and item.tokens > left:
                break
            else:
                line.pop()
                item.taken = True
                taken.append(item)
                left -= item.tokens
                self._now[lane] = max(self._now[lane], time_)
                line.virtual_time += item.tokens / self._weight(name)
            if line.items:
                heapq.heapreplace(turns, (line.virtual_time, name))
            else:
                heapq.heappop(turns)
        self._forget(lane)
        return taken

    def _forget(self, lane: Lane) -> None:
        lines = self._lanes[lane]
        for name in [
            name for name, line in lines.items() if not line.items and line.virtual_time <= self._now[lane]
        ]:
            del lines[name]

    def _weight(self, organisation: str) -> float:
        return self._weights.get(organisation, 1.0)

    def organisations(self, lane: Lane) -> list[str]:
        """Those who wait in the lane, the one furthest behind first."""
        lines = self._lanes[lane]
        return sorted(
            (name for name, line in lines.items() if line.items), key=lambda name: lines[name].virtual_time
        )

    def oldest(self, lane: Lane) -> float | None:
        """When the item that has waited longest came, as ``time.monotonic``; None when nothing waits."""
        return min((line.items[0].since for line in self._lanes[lane].values() if line.items), default=None)

    def tokens(self, lane: Lane, organisation: str | None = None) -> int:
        """Tokens that wait in the lane, of all or of one organisation."""
        return sum(line.tokens for name, line in self._lanes[lane].items() if organisation in (None, name))

    def ahead(self, lane: Lane, organisation: str, tokens: int) -> float:
        """Tokens served before the last of so many new ones of the organisation, if nobody else comes."""
        line = self._lanes[lane].get(organisation)
        own = (line.tokens if line else 0) + tokens
        share = own / self._weight(organisation)
        others = ((name, other.tokens) for name, other in self._lanes[lane].items() if name != organisation)
        before = own - tokens + sum(min(waiting, share * self._weight(name)) for name, waiting in others)
        return before + self.ahead("interactive", organisation, 0) if lane == "bulk" else before
