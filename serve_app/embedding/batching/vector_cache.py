"""Vectors computed before, for inputs that are the same to the last token.

The key is everything that decides the vector besides the engine, of which each cache has one: the token ids the model
reads (a prompt is among them; ``dimensions`` and output types are applied after). The organisation is part of it too, so that
nobody can learn by the clock whether another has embedded a text.

    cache = VectorCache(64 * MIB)
    cache.put(key_of("acme", ids), vector)
"""

from collections import OrderedDict
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

#: What an entry costs beyond its numbers: key, array object, links.
OVERHEAD_BYTES = 300


def key_of(organisation: str, ids: NDArray[np.int32]) -> bytes:
    """32 bytes that differ where the organisation or any token differs (BLAKE2b, RFC 7693)."""
    digest = blake2b(organisation.encode(), digest_size=32)
    digest.update(b"\0")
    digest.update(ids.tobytes())
    return digest.digest()


class VectorCache:
    """Least recently used go first. One thread only."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._vectors: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """(dim,) float32, or None."""
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, key: bytes, vector: NDArray[np.float32]) -> None:
        """Keep a copy, if the cache holds anything at all."""
        cost = vector.nbytes + OVERHEAD_BYTES
        if cost > self._most or key in self._vectors:
            return
        self._vectors[key] = vector.copy()
        self._bytes += cost
        while self._bytes > self._most:
            _, oldest = self._vectors.popitem(last=False)
            self._bytes -= oldest.nbytes + OVERHEAD_BYTES

    def __len__(self) -> int:
        return len(self._vectors)
