"""A filter selects the same chunks at every place, and an approximate search misses few of the nearest."""

from typing import Any

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.bulk_load import bulk_load
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.vector_index.filters import matches, parse_filter
from cluster.vector_index.pgvector.index import PgvectorIndex
from tests.cluster.vector_index.contract import DIM, ORG, STORE
from tests.cluster.vector_index.contract.conftest import MakeRow

ROWS, QUERIES, K = 2_000, 30, 10
RARE = {"type": "eq", "key": "rare", "value": True}


def compare(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": operator, "key": key, "value": value}


def both(*filters: Any) -> dict[str, Any]:
    return {"type": "and", "filters": list(filters)}


def either(*filters: Any) -> dict[str, Any]:
    return {"type": "or", "filters": list(filters)}


FILTERS = [
    compare("eq", "page", 3),
    compare("eq", "page", "3"),
    compare("ne", "page", 3),
    compare("gte", "ratio", 0.3),
    compare("lt", "language", "fr"),
    compare("in", "language", ["de", "東京", 3]),
    compare("nin", "language", ["de", "en"]),
    compare("eq", "draft", False),
    compare("ne", "missing", 1),
    compare("eq", "words", "a"),
    compare("eq", "big", 2**53 + 1),
    both(compare("gt", "page", 1), either(compare("eq", "draft", True), compare("lte", "ratio", 0.1 + 0.2))),
    either(both(compare("eq", "language", "en"), compare("ne", "draft", True)), compare("in", "page", [5])),
]


def test_a_filter_selects_exactly_the_chunks_that_match_it(
    index: ChunkIndex, collection: str, row: MakeRow
) -> None:
    languages = ["de", "en", "fr", "東京", 3, None]
    rows = [
        row(
            f"{n:02}",
            page=n % 7 if n % 5 else str(n % 7),
            ratio=n % 4 / 10 if n % 9 else 0.1 + 0.2,
            draft=[True, False, 0, "true"][n % 4],
            language=languages[n % 6],
            words=["a", "b"],
            big=2**53 + n % 3,
            **({"missing": 1} if n % 8 == 0 else {}),
        )
        for n in range(72)
    ]
    index.upsert(ORG, STORE, rows, collection=collection)
    for given in FILTERS:
        expected = {one.id for one in rows if matches(parse_filter(given), one.attributes)}
        for asked in ({"vector": row("query").vector}, {"text": "text"}):
            hits = index.search(ORG, STORE, collection=collection, k=100, filter=given, **asked)  # type: ignore[arg-type]
            assert {hit.id for hit in hits} == expected, given


@pytest.mark.parametrize("filter", [None, RARE], ids=["unfiltered", "filtered"])
def test_an_approximate_search_finds_nearly_what_an_exact_one_finds(
    index: ChunkIndex, collection: str, pool: ConnectionPool, filter: dict[str, Any] | None
) -> None:
    chance = np.random.default_rng(5)
    vectors = chance.normal(size=(50, DIM))[chance.integers(50, size=ROWS)] + 0.4 * chance.normal(
        size=(ROWS, DIM)
    )
    if index.external is None:  # with an approximate index, which every search in mode ann uses
        vector_index = PgvectorIndex(pool, index_from=ROWS, exact_up_to=0)
        index = ChunkIndex(pool, vector_index, name=index.name)
    rows = (
        ChunkRecord(
            id=f"{n:04}",
            document="d",
            text="t",
            attributes={"rare": n % 20 == 0},
            vector=v.astype(np.float32),
        )
        for n, v in enumerate(vectors)
    )
    assert bulk_load(index, ORG, STORE, rows, collection=collection).written == ROWS
    index.optimise(collection)
    found = 0
    for query in (vectors[:QUERIES] + 0.05).astype(np.float32):
        exact, near = (
            index.search(ORG, STORE, collection=collection, vector=query, k=K, filter=filter, mode=mode)  # type: ignore[arg-type]
            for mode in ("exact", "ann")
        )
        assert len(exact) == len(near) == K
        found += len({hit.id for hit in exact} & {hit.id for hit in near})
    assert found / (QUERIES * K) >= 0.95
