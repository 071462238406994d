"""Check whether vectors can be stored and searched for.

The vectors of chunks and queries are checked before a vector index gets the vectors.
"""

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InvalidInput
from cluster.vector_index.collections import Collection, Metric


def vector_faults(vectors: NDArray[np.float32], metric: Metric) -> list[str | None]:
    """Return for each row of ``vectors``, (n, dim), why the vector cannot be used; None if it is valid.

    The approximate index stores half precision, so all vectors must be in the range of half precision. In
    this range no metric overflows. A vector that half precision would round to zero is refused under cosine.
    """
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    finite, some = np.isfinite(half).all(axis=1), half.any(axis=1)
    faults: list[str | None] = [None] * len(vectors)
    for i in np.flatnonzero(~finite):
        faults[i] = "has a vector with NaN, infinity, or a number beyond 65,504"
    for i in np.flatnonzero(finite & ~some) if metric == "cosine" else ():
        faults[i] = "has a vector of length zero, which has no direction"
    return faults


def query_vector(vector: NDArray[np.float32], collection: Collection) -> NDArray[np.float32]:
    """Return the vector of a query as float32.

    Raises:
        InvalidInput: the vector cannot be compared with the vectors of the collection.
    """
    if vector.shape != (collection.dim,):
        raise InvalidInput(
            f"the query has a vector of shape {vector.shape}, not ({collection.dim},)", param="query"
        )
    (fault,) = vector_faults(vector[None], collection.metric)
    if fault:
        raise InvalidInput(f"the query {fault}", param="query")
    return vector.astype(np.float32, copy=False)
