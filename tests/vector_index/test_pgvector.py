"""What only the pgvector adapter promises: an approximate index that is used, is nearly exact, and keeps its recall under a filter."""

from uuid import uuid4

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.settings import Settings
from cluster.vector_index import Row, open_vector_index, pgvector
from cluster.vector_index.pgvector import PgvectorIndex

ROWS, DIM, QUERIES, K = 20_000, 32, 30, 10


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Clustered, as embeddings are."""
    chance = np.random.default_rng(5)
    centres = chance.normal(size=(200, DIM))
    return (centres[chance.integers(200, size=ROWS)] + 0.4 * chance.normal(size=(ROWS, DIM))).astype(np.float32)


@pytest.fixture(scope="module")
def loaded(settings: Settings, pool: ConnectionPool, vectors: np.ndarray) -> tuple[PgvectorIndex, str]:
    """Enough rows for the approximate index; one in fifty is rare."""
    index, name = open_vector_index(settings, pool), f"t{uuid4().hex[:12]}"
    assert isinstance(index, PgvectorIndex)
    index.ensure(name, dim=DIM)
    rows = (Row(id=f"{n:05}", document=f"d{n % 100}", text="t", attributes={"rare": n % 50 == 0}, vector=v) for n, v in enumerate(vectors))
    assert index.bulk_load("default", "vs", rows, collection=name).written == ROWS
    return index, name


@pytest.mark.parametrize("filter", [None, {"type": "eq", "key": "rare", "value": True}], ids=["unfiltered", "filtered"])
def test_the_approximate_index_finds_nearly_what_the_exact_scan_finds(
    loaded: tuple[PgvectorIndex, str], vectors: np.ndarray, filter: dict[str, object] | None
) -> None:
    index, name = loaded
    found = 0
    for query in vectors[:QUERIES] + np.float32(0.05):
        exact = index.search("default", "vs", collection=name, vector=query, k=K, filter=filter, mode="exact")
        near = index.search("default", "vs", collection=name, vector=query, k=K, filter=filter)
        assert len(near) == len(exact) == K
        found += len({hit.id for hit in exact} & {hit.id for hit in near})
        common = {hit.id: hit.score for hit in exact}
        assert all(hit.score == pytest.approx(common[hit.id], abs=1e-6) for hit in near if hit.id in common)
    assert found / (QUERIES * K) >= 0.95


def test_ann_uses_the_index_and_exact_never_does(loaded: tuple[PgvectorIndex, str], vectors: np.ndarray, pool: ConnectionPool) -> None:
    _, name = loaded
    statements = pgvector.Statements(name, DIM)
    values = {"organisation": "default", "store": "vs", "vector": vectors[0], "k": K, "candidates": 4 * K}
    true = pgvector.sql.SQL("true")
    plans = {}
    with pool.connection() as connection:
        for mode, statement in (("ann", statements.by_vector_ann(true, "cosine")), ("exact", statements.by_vector(true, "cosine"))):
            plans[mode] = str(connection.execute(pgvector.sql.SQL("EXPLAIN ") + statement, values).fetchall())
    assert statements.index_name in plans["ann"]
    assert statements.index_name not in plans["exact"]


def test_optimise_repeats_harmlessly_and_mends_an_index_whose_building_broke_off(
    loaded: tuple[PgvectorIndex, str], pool: ConnectionPool
) -> None:
    index, name = loaded
    state = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"
    with pool.connection() as connection:
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", [f"vectors_{name}_hnsw"])
    index.optimise(name)
    index.optimise(name)
    with pool.connection() as connection:
        assert connection.execute(state, [f"vectors_{name}_hnsw"]).fetchone() == (True,)


@pytest.mark.parametrize(("metric", "best"), [("cosine", "near"), ("dot", "far"), ("euclidean", "near")])
def test_each_metric_ranks_by_its_own_similarity(settings: Settings, pool: ConnectionPool, metric: str, best: str) -> None:
    index, name = open_vector_index(settings, pool), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=2, metric=metric)  # type: ignore[arg-type]
    points = {"near": [1.0, 0.1], "far": [9.0, 9.0]}
    rows = [Row(id=id, document="d", text="t", attributes={}, vector=np.array(point, np.float32)) for id, point in points.items()]
    index.upsert("default", "vs", rows, collection=name)
    hits = index.search("default", "vs", collection=name, vector=np.array([1, 0], np.float32), k=2)
    expected = {"cosine": 1 / np.hypot(1, 0.1), "dot": 9.0, "euclidean": -0.1}[metric]
    assert hits[0].id == best
    assert hits[0].score == pytest.approx(expected)
