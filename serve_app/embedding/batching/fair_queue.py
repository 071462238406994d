"""The queue of inputs that wait for the model. Each organisation gets its share, even if other organisations
send many more inputs.

Within a lane, each organisation has its own line of inputs. Each line has a virtual time, which advances by
the organisation's served tokens divided by its weight. The line with the lowest virtual time is served next.
An organisation that was idle starts at the current virtual time, so it gains no advantage from idle time.
This is start-time fair queueing (Goyal, Vin, Cheng 1996, doi:10.1145/248156.248171), with the number of
tokens as the length of a packet.

``batcher`` fills the queue and ``dispatcher`` empties it, on one event loop.

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
class PendingRequest:
    """One caller's request, with the vectors that have been computed."""

    done: asyncio.Future[None]
    #: (n, dim) float32; rows are filled when batches end.
    vectors: NDArray[np.float32]
    #: Number of vectors that are not computed yet.
    missing: int = 0


@dataclass(slots=True, eq=False)
class Item:
    """One input for the model, with all requests that wait for the vector of the input."""

    ids: NDArray[np.int32]
    #: Number of tokens that the model reads for this input, special tokens included.
    tokens: int
    organisation: str
    lane: Lane
    key: bytes
    #: The requests that wait for this input, each with the row of its vector.
    waiters: list[tuple[PendingRequest, int]]
    since: float = field(default_factory=time.monotonic)
    #: True after the item has left the queue. An item is in both lanes if an interactive request needs an
    #: input that a bulk request waits for.
    taken: bool = False

    @property
    def wanted(self) -> bool:
        """False if no request waits for this input any more, because all were cancelled, timed out or
        failed.
        """
        return any(not request.done.done() for request, _ in self.waiters)


@dataclass(slots=True, eq=False)
class _Line:
    items: deque[Item] = field(default_factory=deque)
    tokens: int = 0
    virtual_time: float = 0.0

    def pop(self) -> None:
        """Remove the first item."""
        self.tokens -= self.items.popleft().tokens


class FairQueue:
    """The queue, with both lanes. The empty line of an organisation is deleted as soon as the virtual time of
    the line is not ahead of the virtual time of the lane.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = weights
        self._lanes: dict[Lane, dict[str, _Line]] = {"interactive": {}, "bulk": {}}
        self._now: dict[Lane, float] = {"interactive": 0.0, "bulk": 0.0}

    def push(self, item: Item, lane: Lane | None = None) -> None:
        """Append the item to the line of its organisation, in this lane or by default in the item's lane."""
        lane = lane or item.lane
        line = self._lanes[lane].setdefault(item.organisation, _Line())
        if not line.items:
            line.virtual_time = max(line.virtual_time, self._now[lane])
        line.items.append(item)
        line.tokens += item.tokens

    def take(
        self, lane: Lane, *, tokens: int, organisation: str | None = None, items: int | None = None
    ) -> list[Item]:
        """Take the next items of the lane up to the limits. The first item that is still wanted is taken even
        if the item has more than ``tokens`` tokens.

        The result may contain items that are no longer wanted. The tokens of these items do not count.

        Args:
            lane: the lane to take from.
            tokens: maximum number of tokens of all taken items together.
            organisation: take only items of this organisation; None: take items of all organisations.
            items: maximum number of items, including items that are no longer wanted; None: no limit.
        """
        lines = self._lanes[lane]
        names = lines if organisation is None else [organisation]
        turns = [(lines[name].virtual_time, name) for name in names if name in lines and lines[name].items]
        heapq.heapify(turns)
        taken: list[Item] = []
        left = tokens
        while turns and (items is None or len(taken) < items):
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
        """Return the organisations with items in the lane, in the order in which they are served."""
        lines = self._lanes[lane]
        return sorted(
            (name for name, line in lines.items() if line.items), key=lambda name: lines[name].virtual_time
        )

    def oldest(self, lane: Lane) -> float | None:
        """Return the arrival (``time.monotonic``) of the lane's oldest item; None if the lane is empty."""
        return min((line.items[0].since for line in self._lanes[lane].values() if line.items), default=None)

    def tokens(self, lane: Lane, organisation: str | None = None) -> int:
        """Return the number of tokens in the lane, of one organisation or (None) of all organisations."""
        return sum(line.tokens for name, line in self._lanes[lane].items() if organisation in (None, name))

    def ahead(self, lane: Lane, organisation: str, tokens: int) -> float:
        """Return how many tokens are served before ``tokens`` new tokens of the organisation, if no other
        items arrive. For the lane ``bulk``, this includes the interactive tokens that are served first.
        """
        line = self._lanes[lane].get(organisation)
        own = (line.tokens if line else 0) + tokens
        share = own / self._weight(organisation)
        others = ((name, other.tokens) for name, other in self._lanes[lane].items() if name != organisation)
        before = own - tokens + sum(min(waiting, share * self._weight(name)) for name, waiting in others)
        return before + self.ahead("interactive", organisation, 0) if lane == "bulk" else before
