"""Convert attributes to Pinecone's metadata, and filters to Pinecone's filters.

Every record that passes our filter also passes the filter in Pinecone's language, but more records may pass.
The search (``chunk_search``) tests every hit in Postgres, and drops the additional records. More records pass
only if

- the filter orders strings, because Pinecone orders numbers only; or
- the record has a value that is not in its metadata, because Pinecone cannot hold the value exactly or the
  metadata would be too large. The metadata lists the names of these attributes (``INEXACT``).

    metadata_of({"page": 3, "tags": ["a"], "$x": 1})      # {"page": 3, "~$x": 1}
    filter_of(parse_filter({"type": "ne", "key": "page", "value": 3}))

Pinecone's metadata holds strings, float64 numbers, booleans and lists of strings. Lists, objects and nulls
are left out, because our filters treat them as missing. Records without the attribute pass ``ne`` and
``nin``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from cluster.vector_index.filters import MAX_KEY_LENGTH, Comparison, Compound, Filter, Scalar

#: Name of the list of attributes whose values are not in the metadata, because Pinecone cannot hold the
#: values exactly or the metadata would be too large.
INEXACT = "~"
#: Pinecone refuses names that begin with this sign.
RESERVED = "$"
#: float64 holds every whole number up to this one exactly.
LARGEST_EXACT = 2**53
#: Maximum bytes of a record's metadata. Pinecone's limit is 40 KB.
MAX_METADATA_BYTES = 40_000
#: Pinecone's names of the operators that compare the order of numbers.
ORDER_SIGNS = {"gt": "$gt", "gte": "$gte", "lt": "$lt", "lte": "$lte"}
#: The same operators, but each includes the bound itself. They are used if the bound had to be rounded.
WIDER_SIGNS = {"gt": "$gte", "gte": "$gte", "lt": "$lte", "lte": "$lte"}


def metadata_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata for a chunk with these attributes."""
    kept = {
        key: value
        for key, value in attributes.items()
        if isinstance(value, str | int | float) and len(key) <= MAX_KEY_LENGTH
    }
    inexact = {key for key, value in kept.items() if not _is_exact(value)}
    sizes = {key: len(orjson.dumps({_name(key): kept[key]})) for key in kept if key not in inexact}
    total = sum(sizes.values()) + sum(len(key) * 4 + 3 for key in kept)
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= MAX_METADATA_BYTES:
            break
        inexact.add(key)
        total -= sizes[key]
    metadata = {_name(key): value for key, value in kept.items() if key not in inexact}
    return {**metadata, INEXACT: sorted(inexact)} if inexact else metadata


def filter_of(filter: Filter) -> dict[str, Any] | None:
    """Return Pinecone's filter; None if every record may pass."""
    condition = _condition(filter)
    if condition is None:
        return None
    return {"$or": [condition, {INEXACT: {"$in": sorted(_keys(filter))}}]}


def _condition(filter: Filter) -> dict[str, Any] | None:
    """Return a condition that is true for every record that has only exact values and passes the filter.

    Return None if the condition would be true for every record.
    """
    if isinstance(filter, Comparison):
        return _comparison(filter)
    parts = [_condition(part) for part in filter.filters]
    conditions = [part for part in parts if part is not None]
    if filter.operator == "or":
        return _any(conditions) if len(conditions) == len(parts) else None
    if len(conditions) < 2:
        return conditions[0] if conditions else None
    return {"$and": conditions}


def _comparison(filter: Comparison) -> dict[str, Any] | None:
    name = _name(filter.key)
    if filter.operator in ORDER_SIGNS:
        return _order(name, filter)
    booleans = [value for value in filter.values if isinstance(value, bool)]
    strings = [value for value in filter.values if isinstance(value, str)]
    numbers = [value for value in filter.values if not isinstance(value, bool | str)]
    if filter.operator in {"eq", "in"}:
        return _any(
            [{name: _among(group)} for group in (strings, _rounded(numbers)) if group]
            + _each(name, "$eq", booleans)
        )
    # Pinecone rounds an inexact number. The rounded number might exclude a record that passes the filter, so
    # the number is left out.
    exact = [number for number in numbers if _is_exact(number)]
    others = [{name: {"$nin": group}} for group in (strings, exact) if group] + _each(name, "$ne", booleans)
    if not others:
        return None
    unequal = {"$and": others} if len(others) > 1 else others[0]
    return {"$or": [unequal, {name: {"$exists": False}}]}


def _order(name: str, filter: Comparison) -> dict[str, Any]:
    (bound,) = filter.values
    if isinstance(bound, str):
        return {name: {"$exists": True}}
    if _is_exact(bound):
        return {name: {ORDER_SIGNS[filter.operator]: bound}}
    return {name: {WIDER_SIGNS[filter.operator]: float(bound)}}


def _among(group: Sequence[Scalar]) -> dict[str, Any]:
    return {"$eq": group[0]} if len(group) == 1 else {"$in": list(group)}


def _each(name: str, sign: str, values: Sequence[Scalar]) -> list[dict[str, Any]]:
    """Return one condition for each boolean, because ``$in`` takes strings and numbers only."""
    return [{name: {sign: value}} for value in values]


def _rounded(numbers: Sequence[Any]) -> list[Any]:
    return [number if _is_exact(number) else float(number) for number in numbers]


def _any(conditions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return conditions[0] if len(conditions) == 1 else {"$or": list(conditions)}


def _is_exact(value: Scalar) -> bool:
    """Return True if Pinecone can hold the value exactly."""
    return not isinstance(value, int) or isinstance(value, bool) or abs(value) <= LARGEST_EXACT


def _keys(filter: Filter) -> set[str]:
    if isinstance(filter, Compound):
        return set().union(*(_keys(part) for part in filter.filters))
    return {filter.key}


def _name(key: str) -> str:
    """Return the name of an attribute in the metadata."""
    return f"{INEXACT}{key}" if key.startswith((RESERVED, INEXACT)) else key
