"""Filters in Pinecone's language lose no record, and pass other records only if Pinecone cannot compare
exactly.
"""

import operator
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.vector_index.filters import matches, parse_filter
from cluster.vector_index.pinecone.metadata import INEXACT, MAX_METADATA_BYTES, filter_of, metadata_of

SIGNS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


def passes(metadata: Mapping[str, Any], given: Mapping[str, Any], *, missing_passes_ne: bool) -> bool:
    """Return the result of a filter as Pinecone's documentation defines it."""
    results = []
    for name, value in given.items():
        if name in ("$and", "$or"):
            parts = [passes(metadata, part, missing_passes_ne=missing_passes_ne) for part in value]
            results.append(all(parts) if name == "$and" else any(parts))
            continue
        ((sign, bound),) = value.items()
        stored = _as_pinecone(metadata.get(name))
        bound = [_as_pinecone(one) for one in bound] if isinstance(bound, list) else _as_pinecone(bound)
        if sign in ("$in", "$nin"):
            assert not any(isinstance(one, bool) for one in bound), "$in takes strings and numbers"
        if sign == "$exists":
            results.append((stored is not None) == bound)
        elif sign in SIGNS:
            assert type(bound) is float, "Pinecone orders numbers only"
            results.append(type(stored) is float and SIGNS[sign](stored, bound))
        else:
            values = bound if isinstance(bound, list) else [bound]
            mine = stored if isinstance(stored, list) else [stored]
            among = any(type(one) is type(other) and one == other for one in mine for other in values)
            negative = sign in ("$ne", "$nin")
            results.append(missing_passes_ne if negative and stored is None else among != negative)
    return all(results)


def _as_pinecone(value: Any) -> Any:
    """Convert numbers to float64, as Pinecone stores them."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


KEYS = st.sampled_from(["a", "b", "$a", "~", "~a"])
NUMBERS = st.sampled_from(
    [0, 1, 1.0, -1, 0.1, 2**53, 2**53 + 1, 2**53 + 2, float(2**53), 1e23, 10**23, 10**30]
)
VALUES = st.one_of(NUMBERS, st.booleans(), st.sampled_from(["", "1", "x", "y", "true"]))
STORED = st.one_of(VALUES, st.none(), st.lists(VALUES, max_size=2), st.just({"k": 1}))


def comparisons() -> st.SearchStrategy[dict[str, Any]]:
    one = st.fixed_dictionaries({"type": st.sampled_from(["eq", "ne"]), "key": KEYS, "value": VALUES})
    order = st.fixed_dictionaries(
        {
            "type": st.sampled_from(["gt", "gte", "lt", "lte"]),
            "key": KEYS,
            "value": VALUES.filter(lambda v: not isinstance(v, bool)),
        }
    )
    several = st.fixed_dictionaries(
        {
            "type": st.sampled_from(["in", "nin"]),
            "key": KEYS,
            "value": st.lists(VALUES, min_size=1, max_size=4),
        }
    )
    return st.one_of(one, order, several)


FILTERS = st.recursive(
    comparisons(),
    lambda parts: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(parts, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


def _is_exact(given: dict[str, Any], metadata: Mapping[str, Any]) -> bool:
    """True if Pinecone can answer exactly: no order of strings, and no number that float64 rounds."""
    if "filters" in given:
        return all(_is_exact(part, metadata) for part in given["filters"])
    values = given["value"] if isinstance(given["value"], list) else [given["value"]]
    rounded = any(isinstance(one, int) and not isinstance(one, bool) and abs(one) > 2**53 for one in values)
    string_order = given["type"] in ("gt", "gte", "lt", "lte") and isinstance(values[0], str)
    return not rounded and not string_order and given["key"] not in metadata.get(INEXACT, [])


@given(
    attributes=st.dictionaries(KEYS, STORED, max_size=3),
    given_filter=FILTERS,
    missing_passes_ne=st.booleans(),
)
def test_pinecones_filter_loses_nothing_and_is_exact_where_pinecone_can_be(
    attributes: dict[str, Any], given_filter: dict[str, Any], missing_passes_ne: bool
) -> None:
    parsed, metadata = parse_filter(given_filter), metadata_of(attributes)
    theirs = filter_of(parsed)
    found = theirs is None or passes(metadata, theirs, missing_passes_ne=missing_passes_ne)
    ours = matches(parsed, attributes)
    assert found or not ours
    if _is_exact(given_filter, metadata):
        assert found == ours


@pytest.mark.parametrize(
    ("attributes", "metadata"),
    [
        (
            {"page": 3, "title": "a", "new": True, "score": 0.5},
            {"page": 3, "title": "a", "new": True, "score": 0.5},
        ),
        ({"tags": ["a"], "none": None, "object": {"a": 1}}, {}),
        ({"$a": 1, "~": 2, "~b": 3, "k" * 65: 4}, {"~$a": 1, "~~": 2, "~~b": 3}),
        ({"id": 2**53 + 1, "page": 1}, {"page": 1, "~": ["id"]}),
    ],
)
def test_metadata_hold_what_filters_can_match(attributes: dict[str, Any], metadata: dict[str, Any]) -> None:
    assert metadata_of(attributes) == metadata


def test_metadata_stay_within_pinecones_limit_and_name_what_is_left_out() -> None:
    attributes = {"long": "ä" * 30_000, "half": "x" * 20_000, "short": "y", **{f"n{i}": i for i in range(50)}}
    metadata = metadata_of(attributes)
    assert metadata[INEXACT] == ["long"]
    assert (metadata["half"], metadata["short"], metadata["n49"]) == ("x" * 20_000, "y", 49)
    assert len(orjson.dumps(metadata)) <= MAX_METADATA_BYTES
