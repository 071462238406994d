"""One rate as one replica knows it: the replica's slices of the limit, and the last answer of Postgres.

``leased_rates`` uses this module. All times are seconds on the clock ``time.monotonic``.
"""

from collections import deque
from dataclasses import dataclass, field
from uuid import UUID, uuid4

#: Seconds for which a replica uses a slice. The whole slice counts from its last use on, so this has to be
#: short.
LEASE_S = 0.25
#: Seconds after which Postgres regards a slice as used if its replica reports nothing, because it has died.
HELD_S = 5.0
#: Seconds for which the last answer of Postgres is exact enough for the headers of an answer.
FRESH_S = 1.0
#: Minimum and maximum seconds between two questions to Postgres about a rate without room.
MIN_RECHECK_S, MAX_RECHECK_S = 0.02, 0.25
#: Seconds whose amounts become one slice, if the replica keeps the limits alone.
ALONE_SLICE_S = 0.5


@dataclass(kw_only=True, eq=False, slots=True)
class Slice:
    """A part of a rate's limit that one replica may use."""

    id: UUID
    used: int
    #: Time of the last use.
    at: float
    #: The amount that may still be used.
    left: int = 0
    #: Time until which the slice may be used.
    ends_at: float = float("-inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceRequest:
    """What a replica reports and asks about one rate."""

    rate: str
    limit: int
    #: Id of the new slice.
    id: UUID
    #: The amount that is missing for the smallest request that waits; 0 if no request waits.
    smallest: int
    #: The amount of the largest request that waits; 0 if no request waits.
    largest: int
    #: The amount that is missing for all requests that wait; 0 if no request waits.
    needed: int
    #: Ended slices, which this request reports.
    ended: tuple[Slice, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceGrant:
    """Postgres' answer to one ``SliceRequest``."""

    #: The amount of the new slice.
    amount: int
    #: The amount that no replica holds and that was not used within the last window.
    room: int
    #: Seconds until the whole limit is free.
    reset_s: float
    #: Seconds until the next amount is free.
    next_s: float
    #: Seconds until there is room for the largest request that waits.
    wait_s: float


@dataclass(eq=False, slots=True)
class LeasedRate:
    """One rate as one replica knows it."""

    name: str
    limit: int
    window_s: float
    #: The amounts for which requests wait.
    wanted: list[int] = field(default_factory=list)
    #: Slices that may be used, in the order of their ends.
    _slices: deque[Slice] = field(default_factory=deque)
    #: Ended slices that were not reported to Postgres yet.
    _ended: list[Slice] = field(default_factory=list)
    #: Ended slices that were reported; Postgres has not confirmed the report yet.
    _reported: tuple[Slice, ...] = ()
    #: Ended slices that were used within the last window.
    _history: deque[Slice] = field(default_factory=deque)
    #: Time at which this replica last used the rate.
    _used_at: float = float("-inf")
    #: The room in the last answer of Postgres.
    _room: int = 0
    #: Time of the last answer of Postgres.
    _answered_at: float = float("-inf")
    #: Time at which the whole limit is free, as the last answer said.
    _reset_at: float = float("-inf")
    #: Time from which this replica asks Postgres again, although the last answer had no room.
    _recheck_at: float = float("-inf")
    #: Time at which there is room for the largest request that waited for the last answer.
    _free_at: float = float("-inf")

    def holds(self, amount: int, now: float) -> bool:
        """Return True if the replica's slices have the amount. The amount 0 needs no slice, but an answer of
        Postgres that is at most a second old.
        """
        if amount == 0:
            return now - self._answered_at < FRESH_S
        return amount <= self._left(now)

    def use(self, amount: int, now: float) -> None:
        """Take the amount from the slices. Call this only if ``holds`` returned True."""
        if amount:
            self._used_at = now
        for slice in self._slices:
            part = min(amount, slice.left)
            if part:
                slice.left -= part
                slice.used += part
                slice.at = now
                amount -= part

    def known_wait_s(self, amount: int, now: float) -> float | None:
        """Return the seconds until there is room; None if it is not known that there is no room now."""
        if amount == 0 or now >= self._recheck_at or amount <= self._room + self._left(now):
            return None
        return max(self._free_at - now, MIN_RECHECK_S)

    def has_ended_slices(self, now: float) -> bool:
        """End slices whose time is over. Return True if an ended slice was not reported to Postgres yet."""
        self._end_slices(now)
        return bool(self._ended)

    def end_all_slices(self) -> None:
        """End all slices, because the process ends or Postgres does not answer."""
        self._end_slices(float("inf"))

    def ask(self, now: float) -> SliceRequest:
        """Return the question that reports ended slices and asks for a new slice."""
        self._end_slices(now)
        left = self._left(now)
        self._reported = tuple(one for one in self._ended if now - one.at < self.window_s or not one.used)
        self._ended.clear()
        amounts = [amount for amount in self.wanted if amount]
        self.wanted = []
        return SliceRequest(
            rate=self.name,
            limit=self.limit,
            id=uuid4(),
            smallest=max(1, min(amounts) - left) if amounts else 0,
            largest=max(amounts, default=0),
            needed=max(1, sum(amounts) - left) if amounts else 0,
            ended=self._reported,
        )

    def answered(self, answer: SliceGrant, id: UUID, began: float, now: float) -> None:
        """Take over the granted slice.

        Args:
            id: id of the slice.
            began: time at which the question was sent.
            now: the current time.
        """
        self._reported = ()
        if answer.amount:
            self._slices.append(
                Slice(
                    id=id,
                    used=0,
                    at=began,
                    left=answer.amount,
                    ends_at=now + LEASE_S if now < began + HELD_S / 2 else now,
                )
            )
        self._room, self._answered_at = answer.room, now
        self._reset_at = now + min(answer.reset_s, self.window_s)
        self._free_at = now + min(answer.wait_s, self.window_s)
        self._recheck_at = now + min(max(answer.next_s, MIN_RECHECK_S), MAX_RECHECK_S)

    def not_answered(self) -> None:
        """Report the same slices again next time, because Postgres may not have stored the report."""
        self._ended.extend(self._reported)
        self._reported = ()

    def remaining(self, now: float) -> tuple[int, float]:
        """Return the amount that is still allowed, and the seconds until the whole limit is free."""
        reset_at = max(self._reset_at, self._used_at + self.window_s)
        if now >= reset_at:
            return self.limit, 0.0
        return min(max(self._room + self._left(now), 0), self.limit), reset_at - now

    def wait_alone_s(self, amount: int, now: float) -> float | None:
        """Return the seconds until this replica alone has room for the amount; None if it has room now."""
        self.end_all_slices()
        missing = sum(one.used for one in self._history if now - one.at < self.window_s) + amount - self.limit
        for one in self._history:
            if missing > 0 and now - one.at < self.window_s:
                missing -= one.used
                if missing <= 0:
                    return max(one.at + self.window_s - now, MIN_RECHECK_S)
        return None if missing <= 0 else self.window_s

    def use_alone(self, amount: int, now: float) -> None:
        """Record an amount that this replica admits without Postgres."""
        if not amount:
            return
        last = self._ended[-1] if self._ended and self._history else None
        if last is None or last is not self._history[-1] or now - last.at > ALONE_SLICE_S:
            last = Slice(id=uuid4(), used=0, at=now)
            self._ended.append(last)
            self._remember(last)
        last.used += amount
        last.at = self._used_at = now
        self._room = self.limit - sum(one.used for one in self._history if now - one.at < self.window_s)

    def _left(self, now: float) -> int:
        return sum(slice.left for slice in self._slices if now < slice.ends_at)

    def _end_slices(self, now: float) -> None:
        """End slices whose time is over, and slices that are used up."""
        kept: deque[Slice] = deque()
        for slice in self._slices:
            if slice.left and now < slice.ends_at:
                kept.append(slice)
                continue
            self._ended.append(slice)
            if slice.used:
                self._remember(slice)
        self._slices = kept

    def _remember(self, slice: Slice) -> None:
        self._history.append(slice)
        while slice.at - self._history[0].at >= self.window_s:
            self._history.popleft()
