"""What the simulator counts, and Pinecone's limits on what comes in one second.

traffic.busiest("upsert")            # most upserts that any second saw in one namespace
traffic.overruns                     # requests beyond a limit
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

WINDOW_S = 1.0
#: Operations that are limited in each namespace; the others in the whole index.
PER_NAMESPACE = frozenset({"query", "upsert", "update", "delete"})


@dataclass(frozen=True, kw_only=True)
class RateCaps:
    """Limits for one second. The numbers are those of Pinecone's page "Database limits"."""

    #: Requests of one operation: in one namespace for query, upsert, update and delete; else in the index.
    requests: int = 100
    #: List requests in the index.
    lists: int = 200
    #: Bytes of upserts in one namespace.
    upserted_bytes: int = 50_000_000
    #: Vectors deleted by id in one namespace.
    deleted: int = 5_000

    def of(self, operation: str) -> int:
        """Limit on the requests of an operation."""
        return self.lists if operation == "list" else self.requests


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One request as it came."""

    #: Value of ``time.monotonic()``.
    at: float
    operation: str
    namespace: str
    #: Vectors that an upsert writes, or ids that a delete names.
    rows: int
    #: Bytes of the body.
    bytes: int


@dataclass
class Traffic:
    """Every request so far. Safe to use from several threads."""

    caps: RateCaps = field(default_factory=RateCaps)
    arrivals: list[Arrival] = field(default_factory=list)
    #: Requests that came although a limit was reached.
    overruns: list[Arrival] = field(default_factory=list)
    _windows: dict[tuple[str, str], deque[Arrival]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arrive(self, operation: str, namespace: str, *, rows: int, bytes: int) -> bool:
        """Count a request. Returns False if it is beyond a limit."""
        place = namespace if operation in PER_NAMESPACE else ""
        with self._lock:
            one = Arrival(
                at=time.monotonic(), operation=operation, namespace=namespace, rows=rows, bytes=bytes
            )
            self.arrivals.append(one)
            window = self._windows.setdefault((operation, place), deque())
            while window and window[0].at <= one.at - WINDOW_S:
                window.popleft()
            window.append(one)
            within = len(window) <= self.caps.of(operation)
            if operation == "upsert":
                within &= sum(each.bytes for each in window) <= self.caps.upserted_bytes
            if operation == "delete":
                within &= sum(each.rows for each in window) <= self.caps.deleted
            if not within:
                self.overruns.append(one)
            return within

    def busiest(self, operation: str) -> int:
        """Most requests of an operation that came within one second in one place."""
        return max((len(window) for window in self._seconds(operation)), default=0)

    def by_second(self, operation: str) -> dict[tuple[str, int], int]:
        """Number of requests of an operation by namespace and second."""
        counts: dict[tuple[str, int], int] = {}
        for one in self.of(operation):
            place = (one.namespace, int(one.at))
            counts[place] = counts.get(place, 0) + 1
        return counts

    def of(self, operation: str) -> list[Arrival]:
        """All requests of an operation, in their order."""
        with self._lock:
            return [one for one in self.arrivals if one.operation == operation]

    def clear(self) -> None:
        """Forget the requests, but not those of the last second."""
        with self._lock:
            self.arrivals.clear()
            self.overruns.clear()

    def _seconds(self, operation: str) -> Iterator[deque[Arrival]]:
        windows: dict[str, deque[Arrival]] = {}
        for one in self.of(operation):
            place = one.namespace if operation in PER_NAMESPACE else ""
            window = windows.setdefault(place, deque())
            while window and window[0].at <= one.at - WINDOW_S:
                window.popleft()
            window.append(one)
            yield window
