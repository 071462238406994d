"""Make the simulator's answer to a request for embeddings."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.simulators.openai.faults import Fault
from tests.simulators.openai.provider import vector_of


def embeddings(
    texts: list[str], dim: int, tokens: int, fault: Fault | None, model: str, *, floats: bool
) -> dict[str, Any]:
    """Return the answer to a request for embeddings, with the fault in it."""
    vectors = [vector_of(text, dim) for text in texts]
    if fault == Fault.NAN:
        vectors[-1][0] = np.nan
    if fault == Fault.LONG:
        vectors = [3 * vector for vector in vectors]
    if fault == Fault.WRONG_DIMENSION:
        vectors = [vector[:-1] for vector in vectors]
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, floats=floats)}
        for index, vector in enumerate(vectors)
    ]
    if fault == Fault.SHUFFLED:
        data.reverse()
    if fault == Fault.MISSING:
        del data[-1]
    if fault == Fault.TWICE:
        data[-1]["index"] = 0
    usage = {} if fault == Fault.NO_USAGE else {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}}
    return {"object": "list", "data": data, "model": model, **usage}


def _encoded(vector: NDArray[np.float32], *, floats: bool) -> str | list[float]:
    return vector.tolist() if floats else base64.b64encode(vector.astype("<f4").tobytes()).decode()
