"""Check a provider's answer to a request for embeddings, and put its vectors in the order of the inputs.

answer = read_answer(response.content, inputs=2, dim=1_536)
answer.vectors                                  # (2, 1536) float32, unit length
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from cluster.errors import Misconfigured, Permanent

#: A vector with a smaller length counts as a vector without a direction.
SHORTEST = 1e-6


class BadAnswer(Permanent):
    """Raised if the provider's answer does not have exactly one valid vector for each input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The vectors of n inputs, in the order of the inputs."""

    #: (n, dim) float32, unit length.
    vectors: NDArray[np.float32]


def read_usage(content: bytes) -> int | None:
    """Return the number of tokens that the provider reports; None if the answer has no such number.

    Raises:
        BadAnswer: the answer is not JSON.
    """
    return usage_of(_json(content))


def usage_of(body: object) -> int | None:
    """Do the same as ``read_usage``, for a body that is already parsed."""
    usage = body.get("usage") if isinstance(body, dict) else None
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if type(tokens) is int and tokens >= 0 else None


def read_answer(content: bytes, *, inputs: int, dim: int) -> Answer:
    """Check the answer, and return its vectors.

    Every vector is scaled to unit length, because some servers return vectors of other lengths.

    Args:
        content: body of the response, JSON.
        inputs: number of inputs in the request.
        dim: expected count of numbers in a vector.

    Raises:
        BadAnswer: the answer is not JSON, or a vector is missing, occurs twice, cannot be read, or has NaN,
            infinity or only zeros.
        Misconfigured: the vectors have another length than the model is configured for.
    """
    return check_answer(_json(content), inputs=inputs, dim=dim)


def check_answer(body: object, *, inputs: int, dim: int) -> Answer:
    """Do the same as ``read_answer``, for a body that is already parsed."""
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list) or len(data) != inputs:
        count = len(data) if isinstance(data, list) else "no"
        raise BadAnswer(f"the provider answered with {count} vectors for {inputs:,} inputs")
    vectors = np.empty((inputs, dim), np.float32)
    seen = np.zeros(inputs, np.bool_)
    for item in data:
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int or not 0 <= index < inputs or seen[index]:
            raise BadAnswer(f"the provider answered with the index {index!r}; each of 0 to {inputs - 1} once")
        vector = _vector(item.get("embedding"))
        if vector.shape != (dim,):
            raise Misconfigured(
                f"the provider answered with vectors of {vector.size:,} numbers, and the model is configured "
                f"for {dim:,}; correct its dimensions in CLUSTER_MODELS"
            )
        vectors[index], seen[index] = vector, True
    return Answer(vectors=_unit_length(vectors))


def _json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as exc:
        raise BadAnswer(f"the provider's answer is not JSON: {exc}") from exc


def _vector(value: Any) -> NDArray[np.float32]:
    """Return the numbers of a vector.

    The value is in base64, or a list if the server does not support base64. Any other value gives no numbers.
    """
    try:
        if isinstance(value, str):
            return np.frombuffer(base64.b64decode(value, validate=True), "<f4")
        return np.array(value if isinstance(value, list) else [], np.float32)
    except (ValueError, TypeError, OverflowError, binascii.Error) as exc:
        raise BadAnswer("the provider answered with a vector that is neither base64 nor numbers") from exc


def _unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(lengths[:, 0]) & (lengths[:, 0] > SHORTEST)))
    if len(bad):
        raise BadAnswer(f"the provider's vector of input {bad[0]} holds NaN, infinity or only zeros")
    vectors /= lengths.astype(np.float32)
    return vectors
