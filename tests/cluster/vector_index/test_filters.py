"""The SQL of a filter selects exactly the chunks that ``matches`` accepts; invalid filters are refused."""

from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.errors import InvalidInput
from cluster.settings import Settings
from cluster.vector_index.filters import MAX_CONDITIONS, MAX_DEPTH, matches, parse_filter

VECTOR = np.ones(2, np.float32)
KEYS = ("a", "b", "missing")
NUMBERS: tuple[Any, ...] = (
    0,
    -0.0,
    1,
    2,
    1.0,
    1.5,
    -3,
    0.3,
    0.1 + 0.2,
    10**23,
    1e23,
    2**53,
    2**53 + 1,
    float(2**53),
    5e-324,
    1e300,
)
VALUES: tuple[Any, ...] = (*NUMBERS, "", "1", "a", "B", "ä", "\uffff", "\U00010000", "a%'\"\\", True, False)

values = st.sampled_from(VALUES)
ordered = values.filter(lambda value: not isinstance(value, bool))
keys = st.sampled_from(KEYS)
comparisons = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["eq", "ne"]), "key": keys, "value": values}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["gt", "gte", "lt", "lte"]), "key": keys, "value": ordered}
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["in", "nin"]),
            "key": keys,
            "value": st.lists(values, min_size=1, max_size=3),
        }
    ),
)
filters = st.recursive(
    comparisons,
    lambda parts: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(parts, min_size=1, max_size=3)}
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def rows() -> list[ChunkRecord]:
    """A chunk for each pair of values, and for values that are not scalars."""
    pairs = [{"a": a, "b": b} for a in VALUES for b in VALUES[::4]] + [
        {},
        {"a": None},
        {"a": ["a"]},
        {"a": {"b": 1}},
    ]
    return [
        ChunkRecord(id=f"{n:04}", document="d", text="t", attributes=pair, vector=VECTOR)
        for n, pair in enumerate(pairs)
    ]


@pytest.fixture(scope="module")
def filled(settings: Settings, pool: ConnectionPool, rows: list[ChunkRecord]) -> tuple[ChunkIndex, str]:
    """A chunk index with these chunks, and the name of their collection."""
    index, name = open_chunk_index(settings, pool), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=2)
    index.upsert("default", "vs", rows, collection=name)
    return index, name


@hypothesis_settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_filter=filters)
def test_the_database_selects_what_the_filter_means(
    filled: tuple[ChunkIndex, str], rows: list[ChunkRecord], given_filter: dict[str, Any]
) -> None:
    index, name = filled
    found = index.search("default", "vs", collection=name, vector=VECTOR, k=1_000, filter=given_filter)
    parsed = parse_filter(given_filter)
    assert {hit.id for hit in found} == {row.id for row in rows if matches(parsed, row.attributes)}


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"type": "eq", "key": "n", "value": 1}, True),
        ({"type": "eq", "key": "n", "value": True}, False),
        ({"type": "eq", "key": "n", "value": "1"}, False),
        ({"type": "ne", "key": "missing", "value": 1}, True),
        ({"type": "nin", "key": "missing", "value": [1]}, True),
        ({"type": "lt", "key": "missing", "value": 1}, False),
        ({"type": "lt", "key": "s", "value": 5}, False),
        ({"type": "gte", "key": "n", "value": 1.0}, True),
    ],
)
def test_comparisons_have_the_documented_meaning(filter: dict[str, Any], expected: bool) -> None:
    assert matches(parse_filter(filter), {"n": 1, "s": "x"}) is expected


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("page = 3", "must be an object"),
        ({"type": "like", "key": "a", "value": "x"}, r"filters.type must be one of .*, not 'like'"),
        ({"type": "eq", "key": "a"}, "filters.value"),
        ({"type": "eq", "key": "a", "value": None}, "filters.value"),
        ({"type": "eq", "key": "a", "value": float("nan")}, "filters.value"),
        ({"type": "eq", "key": "", "value": 1}, "filters.key"),
        ({"type": "eq", "key": "a", "value": 1, "boost": 2}, "unknown field 'boost'"),
        ({"type": "eq", "key": "a", "value": "\0"}, "filters.value"),
        ({"type": "eq", "key": "a", "value": "\ud800"}, "filters.value"),
        ({"type": "in", "key": "a", "value": ["x", []]}, r"filters.value\[1\]"),
        ({"type": "gt", "key": "a", "value": True}, "no order"),
        ({"type": "in", "key": "a", "value": "abc"}, "must be a list"),
        ({"type": "and", "filters": []}, "at least one"),
        (
            {"type": "or", "filters": [{"type": "eq", "key": "a", "value": 1}, {"type": "x"}]},
            r"filters.filters\[1\].type",
        ),
    ],
)
def test_an_invalid_filter_is_refused_with_the_place_of_the_fault(wrong: Any, complaint: str) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        parse_filter(wrong)


def test_depth_and_number_of_conditions_are_bounded() -> None:
    leaf = {"type": "eq", "key": "a", "value": 1}
    deep: dict[str, Any] = leaf
    for _ in range(MAX_DEPTH):
        deep = {"type": "and", "filters": [deep]}
    with pytest.raises(InvalidInput, match="nested deeper"):
        parse_filter(deep)
    with pytest.raises(InvalidInput, match="more than"):
        parse_filter({"type": "or", "filters": [leaf] * MAX_CONDITIONS})
    half = {"type": "in", "key": "a", "value": [1] * (MAX_CONDITIONS // 2)}
    with pytest.raises(InvalidInput, match="more than"):
        parse_filter({"type": "or", "filters": [half, half]})


def test_a_filter_of_the_largest_size_is_answered(
    filled: tuple[ChunkIndex, str], rows: list[ChunkRecord]
) -> None:
    index, name = filled
    longest = {"type": "nin", "key": "a", "value": [f"{n}" * 100 for n in range(MAX_CONDITIONS - 2)]}
    widest = {"type": "and", "filters": [{"type": "eq", "key": "missing", "value": 1}] * (MAX_CONDITIONS - 1)}
    assert len(index.search("default", "vs", collection=name, vector=VECTOR, k=1_000, filter=longest)) == len(
        rows
    )
    assert index.search("default", "vs", collection=name, vector=VECTOR, k=1_000, filter=widest) == []
