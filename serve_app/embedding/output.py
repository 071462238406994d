"""Convert vectors to the type and the wire format of a request.

``int8`` and ``uint8`` divide the range [-r, r] into 255 steps, with r = 4 / sqrt(dim). This r is four
standard deviations of the numbers of a unit vector. The range depends only on the dimension, so vectors of
different calls can be compared. A range computed from the vectors of each call would not allow this
comparison. ``binary`` and ``ubinary`` keep the sign of each number. A byte holds eight signs, with the first
sign in the highest bit; ``binary`` subtracts 128 from each byte. sentence-transformers'
``quantize_embeddings`` and the providers with these two types encode the signs in the same way.

    numbers = as_dtype(vectors, "int8")             # (n, dim) int8
    json = encoded(numbers[0], "base64")
"""

import base64
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

OutputDtype = Literal["float", "float16", "int8", "uint8", "binary", "ubinary"]
EncodingFormat = Literal["float", "base64"]
EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
#: The type and the wire format of the numbers for each type name of Cohere and Jina.
TYPES: dict[EmbeddingType, tuple[OutputDtype, EncodingFormat]] = {
    "float": ("float", "float"),
    "int8": ("int8", "float"),
    "uint8": ("uint8", "float"),
    "binary": ("binary", "float"),
    "ubinary": ("ubinary", "float"),
    "base64": ("float", "base64"),
}

#: The 8-bit types cover this many standard deviations of a unit vector's numbers on each side of zero.
DEVIATIONS = 4.0


def int8_range(dim: int) -> float:
    """Return the number that becomes 127 in the type int8."""
    return DEVIATIONS / float(np.sqrt(dim))


def cut(vectors: NDArray[np.float32], dimensions: int | None) -> NDArray[np.float32]:
    """Cut (n, dim) float32 to (n, dimensions), scaled to unit length. Return the vectors unchanged if
    ``dimensions`` is None or dim.
    """
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    return unit_length(vectors[:, :dimensions])


def unit_length(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide each vector of (n, dim) float32 by its length; a zero vector stays zero."""
    lengths: NDArray[np.float32] = np.linalg.norm(vectors, axis=1, keepdims=True).astype(np.float32)
    return np.divide(vectors, np.maximum(lengths, np.finfo(np.float32).tiny))


def as_dtype(vectors: NDArray[np.float32], dtype: OutputDtype) -> NDArray[Any]:
    """Convert to (n, dim) numbers, or (n, ceil(dim / 8)) for binary types; floats are little-endian."""
    match dtype:
        case "float":
            return np.ascontiguousarray(vectors, dtype="<f4")
        case "float16":
            return vectors.astype("<f2")
        case "int8":
            return _steps(vectors).astype(np.int8)
        case "uint8":
            return (_steps(vectors) + 128).astype(np.uint8)
        case "ubinary":
            return np.packbits(vectors > 0, axis=1)
        case "binary":
            return (np.packbits(vectors > 0, axis=1).astype(np.int16) - 128).astype(np.int8)


def encoded(vector: NDArray[Any], format: EncodingFormat) -> Any:
    """Return one vector for JSON: its bytes in base64, or the array, which orjson writes directly."""
    if format == "base64":
        return base64.b64encode(vector.tobytes()).decode()
    # Half precision becomes float32, because orjson cannot write arrays of half precision on every platform.
    return vector.astype(np.float32) if vector.dtype == np.float16 else vector


def _steps(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    steps: NDArray[np.float32] = np.rint(vectors * (127 / int8_range(vectors.shape[1]))).clip(-127, 127)
    return steps
