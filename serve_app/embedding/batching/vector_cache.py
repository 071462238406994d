"""A cache of vectors, for inputs that have the same tokens as an earlier input.

Each cache belongs to one engine. The key is made from the token ids that the model reads, prompt included;
``dimensions`` and output types are applied to the vector later. The key also includes the organisation,
because response times would otherwise reveal which texts other organisations have embedded.

    cache = VectorCache(64 * MIB)
    cache.put(key_of("acme", ids), vector)
"""

from collections import OrderedDict
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

#: Memory of an entry besides the numbers of the vector, in bytes: key, array object, links.
OVERHEAD_BYTES = 300


def key_of(organisation: str, ids: NDArray[np.int32]) -> bytes:
    """Return 32 bytes that identify the organisation and the tokens (BLAKE2b, RFC 7693)."""
    digest = blake2b(organisation.encode(), digest_size=32)
    digest.update(b"\0")
    digest.update(ids.tobytes())
    return digest.digest()


class VectorCache:
    """A cache that removes the least recently used vectors first. Use it in one thread only."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._bytes = 0
        self._vectors: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """Return the vector with this key, (dim,) float32; None if the cache does not have the vector."""
        vector = self._vectors.get(key)
        if vector is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, key: bytes, vector: NDArray[np.float32]) -> None:
        """Keep a copy of the vector, unless the cache has the key already or the vector is larger than the
        whole cache.
        """
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
