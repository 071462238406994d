"""The records of one index, by namespace. Writes have numbers, and become visible after a delay."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.simulators.pinecone.filters import matches


@dataclass(frozen=True, kw_only=True)
class StoredRecord:
    """One record."""

    vector: NDArray[np.float32]
    metadata: Mapping[str, Any]


Records = dict[str, StoredRecord]
#: Changes the records of a namespace.
Change = Callable[[Records], None]


@dataclass
class Namespace:
    """The visible records of a namespace, and the writes that are not visible yet."""

    records: Records = field(default_factory=dict)
    #: Writes that are not visible yet: the time at which each becomes visible, its number, and its change.
    pending: deque[tuple[float, int, Change]] = field(default_factory=deque)
    #: Number of the last write that is visible.
    reconciled: int = 0
    #: All vectors, in the order of ``records``; None after a change.
    matrix: NDArray[np.float32] | None = None

    def settle(self) -> None:
        """Make the writes visible whose time has come."""
        now = time.monotonic()
        while self.pending and self.pending[0][0] <= now:
            _, self.reconciled, change = self.pending.popleft()
            change(self.records)
            self.matrix = None


class Storage:
    """The records of an index. Safe to use from several threads.

    Args:
        metric: ``cosine``, ``dotproduct`` or ``euclidean``.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        #: Seconds until a write is visible.
        self.delay_s = 0.0
        self._namespaces: dict[str, Namespace] = {}
        self._last_number = 0
        self._lock = threading.Lock()

    def write(self, namespace: str, change: Change) -> int:
        """Carry out a write, and return its number."""
        with self._lock:
            self._last_number += 1
            place = self._namespaces.setdefault(namespace, Namespace())
            place.pending.append((time.monotonic() + self.delay_s, self._last_number, change))
            return self._last_number

    def read(self, namespace: str) -> tuple[Records, int]:
        """The visible records of a namespace, and the number of the last write that is visible."""
        with self._lock:
            place = self._visible(namespace)
            return dict(place.records), place.reconciled

    def exists(self, namespace: str) -> bool:
        """True if the namespace has a record, or was written to and is not visible yet."""
        with self._lock:
            place = self._visible(namespace)
            return bool(place.records or place.pending)

    def counts(self) -> dict[str, int]:
        """Number of visible records by namespace."""
        with self._lock:
            counts = {name: len(self._visible(name).records) for name in list(self._namespaces)}
            return {name: count for name, count in counts.items() if count}

    def nearest(
        self, namespace: str, vector: NDArray[np.float32], k: int, filter: Mapping[str, Any]
    ) -> tuple[list[tuple[str, float, StoredRecord]], int]:
        """The best records with their scores, and the number of the last write that is visible."""
        with self._lock:
            place = self._visible(namespace)
            if place.matrix is None and place.records:
                place.matrix = np.stack([one.vector for one in place.records.values()])
            records, matrix, reconciled = list(place.records.items()), place.matrix, place.reconciled
        if matrix is None:
            return [], reconciled
        passing = [at for at, (_, one) in enumerate(records) if matches(filter, one.metadata)]
        scores = self._scores(matrix[passing].astype(np.float64), vector.astype(np.float64))
        order = np.argsort(scores if self.metric == "euclidean" else -scores, kind="stable")[:k]
        best = [(records[passing[at]][0], float(scores[at]), records[passing[at]][1]) for at in order]
        return best, reconciled

    def _scores(self, matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.metric == "euclidean":
            squares: NDArray[np.float64] = ((matrix - vector) ** 2).sum(axis=1)
            return squares
        products: NDArray[np.float64] = matrix @ vector
        if self.metric == "cosine":
            products /= np.linalg.norm(matrix, axis=1) * np.linalg.norm(vector)
        return products

    def _visible(self, namespace: str) -> Namespace:
        place = self._namespaces.setdefault(namespace, Namespace())
        place.settle()
        return place


def putting(written: Records) -> Change:
    """A change that inserts or replaces records."""
    return lambda records: records.update(written)


def merging(id: str, vector: NDArray[np.float32] | None, metadata: Mapping[str, Any]) -> Change:
    """A change of one record, if it is there. Metadata that it does not name stays."""

    def change(records: Records) -> None:
        if (old := records.get(id)) is not None:
            kept = old.vector if vector is None else vector
            records[id] = replace(old, vector=kept, metadata={**old.metadata, **metadata})

    return change


def removing(ids: list[str] | None = None, filter: Mapping[str, Any] | None = None) -> Change:
    """A change that deletes the records with these ids, or those that pass the filter, or all."""

    def change(records: Records) -> None:
        if ids is not None:
            for id in ids:
                records.pop(id, None)
        elif filter is not None:
            for id in [id for id, one in records.items() if matches(filter, one.metadata)]:
                del records[id]
        else:
            records.clear()

    return change
