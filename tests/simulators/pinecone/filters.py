"""Pinecone's metadata and its language of filters.

matches({"page": {"$gte": 3}}, {"page": 4})  # True
"""

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from tests.simulators.pinecone.refusal import Refusal

MAX_METADATA_BYTES = 40 * 1024
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
#: Maximum number of values of one ``$in`` or ``$nin``.
MAX_VALUES = 10_000


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Refuse metadata that Pinecone does not store."""
    if len(json.dumps(metadata, separators=(",", ":"), ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise Refusal(400, f"metadata size exceeds the limit of {MAX_METADATA_BYTES} bytes per vector")
    for name, value in metadata.items():
        if name.startswith("$"):
            raise Refusal(400, f"metadata key {name!r} must not begin with $")
        strings = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if not strings and not isinstance(value, str | int | float | bool):
            raise Refusal(
                400, f"metadata value must be a string, number, boolean or list of strings, got {value!r}"
            )


def stored(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata as Pinecone stores it: numbers are float64."""
    return {name: float(value) if is_number(value) else value for name, value in metadata.items()}


def check_filter(filter: Mapping[str, Any]) -> None:
    """Refuse a filter that Pinecone does not understand."""
    for name, condition in filter.items():
        if name in {"$and", "$or"}:
            if not isinstance(condition, list) or not condition:
                raise Refusal(400, f"{name} needs a list of filters")
            for one in condition:
                check_filter(one)
        elif name.startswith("$"):
            raise Refusal(400, f"{name} is no operator that may stand alone")
        elif isinstance(condition, dict):
            for sign, value in condition.items():
                _check_comparison(sign, value)
        elif not isinstance(condition, str | int | float | bool):
            raise Refusal(400, f"{condition!r} cannot be compared")


def _check_comparison(sign: str, value: Any) -> None:
    if sign in ORDERS:
        valid = is_number(value)
    elif sign in {"$in", "$nin"}:
        valid = (
            isinstance(value, list)
            and 0 < len(value) <= MAX_VALUES
            and all(isinstance(one, str) or is_number(one) for one in value)
        )
    elif sign in {"$eq", "$ne"}:
        valid = isinstance(value, str | int | float | bool)
    elif sign == "$exists":
        valid = isinstance(value, bool)
    else:
        raise Refusal(400, f"{sign} is not a valid operator")
    if not valid:
        raise Refusal(400, f"the {sign} operator must not be followed by {value!r}")


def matches(filter: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """True if metadata that is stored passes a valid filter."""
    return all(_condition(name, condition, metadata) for name, condition in filter.items())


def _condition(name: str, condition: Any, metadata: Mapping[str, Any]) -> bool:
    if name == "$and":
        return all(matches(one, metadata) for one in condition)
    if name == "$or":
        return any(matches(one, metadata) for one in condition)
    comparisons = condition if isinstance(condition, dict) else {"$eq": condition}
    return all(_compare(sign, value, metadata.get(name)) for sign, value in comparisons.items())


def _compare(sign: str, value: Any, found: Any) -> bool:
    if sign == "$exists":
        return (found is not None) == value
    if found is None:
        return False
    if sign in ORDERS:
        return is_number(found) and ORDERS[sign](found, value)
    values = value if isinstance(value, list) else [value]
    among = any(same(one, other) for one in _each(found) for other in values)
    return among if sign in {"$eq", "$in"} else not among


def _each(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]


def same(one: Any, other: Any) -> bool:
    """Return True for equal values; a boolean never equals a number."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def is_number(value: Any) -> bool:
    """True for a JSON number."""
    return isinstance(value, int | float) and not isinstance(value, bool)
