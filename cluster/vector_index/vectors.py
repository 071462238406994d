"""Which vectors can be stored and asked for. Called by the chunk table and by searches, before an index gets
the vectors.
"""

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InvalidInput
from cluster.vector_index.collections import Collection, Metric


def vector_faults(vectors: NDArray[np.float32], metric: Metric) -> list[str | None]:
    """For each of the vectors, (n, dim), why it can neither be stored nor asked for; None where it can.

    The approximate index stores half precision, so its range is the range of all vectors: within it no metric
    overflows, and a vector that has a direction keeps one in half precision.
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
    """The vector of a query as float32.

    Raises:
        InvalidInput: the collection cannot compare it.
    """
    if vector.shape != (collection.dim,):
        raise InvalidInput(
            f"the query has a vector of shape {vector.shape}, not ({collection.dim},)", param="query"
        )
    (fault,) = vector_faults(vector[None], collection.metric)
    if fault:
        raise InvalidInput(f"the query {fault}", param="query")
    return vector.astype(np.float32, copy=False)
