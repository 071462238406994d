"""Check the numbers of given vectors, and give the vectors unit length.

matrix = common_matrix([[3.0, 4.0], [0.0, 0.0]], dim=2)      # (2, 2); None if a value has another form
units, unfit = unit_vectors(matrix)
units[0], unfit[1].kind                                      # [0.6, 0.8], FaultKind.ZERO_LENGTH
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.documents.given_vectors.faults import FaultKind, Unfit
from cluster.errors import InvalidInput

#: A vector with a smaller length counts as a vector of length zero.
LEAST_LENGTH = 1e-100
#: A vector whose length differs from 1 by no more than this number is stored unchanged. Other vectors are
#: divided by their length.
UNIT_TOLERANCE = 1e-5
#: The kinds of numpy's number types that a vector from JSON or Parquet can have: floating point, integer,
#: unsigned integer.
NUMBERS = "fiu"
NOT_FINITE = "has a vector with NaN, infinity, null or a length beyond 1e154"
ZERO_LENGTH = "has a vector of length zero, which has no direction"


def unit_vector(numbers: Sequence[float], dim: int) -> NDArray[np.float32]:
    """Convert the vector of a search to (dim,) float32 with unit length.

    Raises:
        InvalidInput: the vector does not have ``dim`` numbers, is not finite, or has length zero.
    """
    try:
        units, unfit = unit_vectors(vector_of(list(numbers), dim)[None, :])
        if unfit:
            raise unfit[0]
    except Unfit as exc:
        raise InvalidInput(f"the request {exc}", param="vector") from exc
    unit: NDArray[np.float32] = units[0]
    return unit


def vector_of(value: Any, dim: int) -> NDArray[np.float64]:
    """Convert a JSON value or an array to a vector, (dim,) float64. The vector has NaN in the place of null.

    Raises:
        Unfit: the value is not a vector of ``dim`` numbers.
    """
    if value is None:
        raise Unfit(FaultKind.DIMENSION, "has no vector")
    if isinstance(value, list):
        if len(value) != dim:
            raise Unfit(FaultKind.DIMENSION, _length(len(value), dim))
        value = _array(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in NUMBERS or value.ndim != 1:
        raise Unfit(FaultKind.DIMENSION, "has a vector that is not a list of numbers")
    if len(value) != dim:
        raise Unfit(FaultKind.DIMENSION, _length(len(value), dim))
    return value.astype(np.float64, copy=False)


def common_matrix(values: Sequence[Any], dim: int) -> NDArray[Any] | None:
    """Return the JSON values as one matrix, (n, dim). This is faster than a call of ``vector_of`` for each
    value.

    Returns None if a value is perhaps not a vector of ``dim`` numbers. The caller then has to check each
    value with ``vector_of``.
    """
    if not all(type(value) is list and len(value) == dim and type(value[0]) is not bool for value in values):
        return None
    try:
        matrix = np.array(values)
    except (ValueError, OverflowError):  # for example, nested lists of unequal lengths
        return None
    return matrix if matrix.dtype.kind in NUMBERS and matrix.ndim == 2 else None


def unit_vectors(matrix: NDArray[Any]) -> tuple[NDArray[np.float32], dict[int, Unfit]]:
    """Return the vectors with unit length, (n, dim) float32. Also return the errors of the vectors that
    cannot get unit length, by the position of the vector.

    Args:
        matrix: (n, dim) numbers.
    """
    exact = matrix.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", exact, exact))
        other = np.abs(lengths - 1) > UNIT_TOLERANCE
        units = matrix.astype(np.float32)
        units[other] = exact[other] / lengths[other, None]
    unfit = {
        int(place): Unfit(FaultKind.NOT_FINITE, NOT_FINITE) for place in np.flatnonzero(~np.isfinite(lengths))
    }
    unfit |= {
        int(place): Unfit(FaultKind.ZERO_LENGTH, ZERO_LENGTH)
        for place in np.flatnonzero(lengths < LEAST_LENGTH)
    }
    return units, unfit


def _length(given: int, dim: int) -> str:
    return f"has a vector of {given:,} numbers; the store's vectors have {dim:,}"


def _array(value: list[Any]) -> Any:
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # for example, nested lists of unequal lengths
        return None
    if array.dtype != object:
        return array
    if all(one is None or type(one) in (int, float) for one in value):  # with null or a large integer
        return np.array([np.nan if one is None else float(one) for one in value])
    return None
