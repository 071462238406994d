"""A set of ids that needs eight bytes for each id, so that a file may have many millions of rows.

    ids = IdSet()
    ids.add(["a", "b", "a"])        # [2]
    ids.add(["b"])                  # [0]

The set keeps 64-bit hashes. In a file of ten million rows, two different ids have the same hash with a
probability of three in a million. The hash has a random key, so a caller cannot construct two ids with the
same hash.
"""

import secrets
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

HASH_BYTES = 8


class IdSet:
    """Remembers the hashes of ids, and finds ids that were added before."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        #: Sorted arrays of hashes. Each array is at least twice as long as the next array, so there are few
        #: arrays.
        self._levels: list[NDArray[np.uint64]] = []

    def add(self, ids: Sequence[str]) -> list[int]:
        """Add the ids. Return the positions of ids that were in the set before, or that occur earlier in
        ``ids``.
        """
        hashes = self._hashes(ids)
        distinct, first = np.unique(hashes, return_index=True)
        known = np.ones(len(ids), dtype=bool)
        known[first] = False
        for level in self._levels:
            places = np.searchsorted(level, hashes)
            places[places == len(level)] = 0
            known |= level[places] == hashes
        self._levels.append(distinct)
        while len(self._levels) > 1 and len(self._levels[-2]) < 2 * len(self._levels[-1]):
            self._levels[-2:] = [np.union1d(*self._levels[-2:])]
        return [int(place) for place in np.flatnonzero(known)]

    def _hashes(self, ids: Sequence[str]) -> NDArray[np.uint64]:
        data = b"".join(blake2b(id.encode(), digest_size=HASH_BYTES, key=self._key).digest() for id in ids)
        return np.frombuffer(data, dtype=np.uint64)
