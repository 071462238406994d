"""pgvector searches use an approximate index, are nearly exact, and keep their recall under a filter."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.database import open_pool, snapshot
from cluster.database.row_access import OWNER
from cluster.documents.chunks.bulk_load import bulk_load
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import ChunkIndex
from cluster.settings import Settings
from cluster.vector_index.pgvector.index import PgvectorIndex

ROWS, DIM, QUERIES, K = 20_000, 32, 30, 10
RARE = {"type": "eq", "key": "rare", "value": True}


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    """Clustered vectors, because embeddings are clustered."""
    chance = np.random.default_rng(5)
    centres = chance.normal(size=(200, DIM))
    return (centres[chance.integers(200, size=ROWS)] + 0.4 * chance.normal(size=(ROWS, DIM))).astype(
        np.float32
    )


@pytest.fixture(scope="module")
def loaded(pool: ConnectionPool, vectors: np.ndarray) -> tuple[ChunkIndex, str]:
    """A collection with enough chunks for the approximate index; one chunk in fifty has the attribute
    ``rare``.
    """
    index, name = ChunkIndex(pool, PgvectorIndex(pool, exact_up_to=0)), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=DIM)
    rows = (
        ChunkRecord(
            id=f"{n:05}", document=f"d{n % 100}", text="t", attributes={"rare": n % 50 == 0}, vector=v
        )
        for n, v in enumerate(vectors)
    )
    assert bulk_load(index, "default", "vs", rows, collection=name).written == ROWS
    return index, name


@pytest.mark.parametrize("filter", [None, RARE], ids=["unfiltered", "filtered"])
def test_the_approximate_index_finds_nearly_what_the_exact_scan_finds(
    loaded: tuple[ChunkIndex, str], vectors: np.ndarray, filter: dict[str, object] | None
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


def test_every_ann_search_uses_the_index_and_no_exact_one_does(
    loaded: tuple[ChunkIndex, str], vectors: np.ndarray, settings: Settings
) -> None:
    _, name = loaded
    turns = 15  # after ten, Postgres may keep a plan for all values
    with open_pool(settings.model_copy(update={"database_pool_size": 1}), access=OWNER) as one:
        index = ChunkIndex(one, PgvectorIndex(one))
        for mode, expected in (("ann", turns), ("exact", 0)):
            before = scans(one, name)
            for n in range(turns):
                index.search("default", "vs", collection=name, vector=vectors[n], k=K, mode=mode)  # type: ignore[arg-type]
            assert scans(one, name) - before == expected


def test_a_transaction_that_is_prepared_before_the_vector_is_known_finds_the_same(
    loaded: tuple[ChunkIndex, str], vectors: np.ndarray, pool: ConnectionPool
) -> None:
    index, name = loaded
    options = {"collection": index.collection(name), "k": K}
    pgvector = PgvectorIndex(pool, exact_up_to=0)
    with snapshot(pool) as connection:
        search = partial(pgvector.search_within, connection, "default", "vs", vector=vectors[3], **options)
        at_once = search()
        assert pgvector.prepare_within(connection, mode="ann", **options)
        assert not pgvector.prepare_within(connection, mode="exact", **options)
        assert len(at_once) == K
        assert search(prepared=True) == at_once


def test_a_search_that_few_chunks_can_answer_compares_them_all(
    loaded: tuple[ChunkIndex, str], vectors: np.ndarray, settings: Settings
) -> None:
    _, name = loaded
    near = [
        ChunkRecord(id=f"{n:02}", document="d", text="t", attributes={}, vector=vectors[n]) for n in range(50)
    ]
    with open_pool(settings.model_copy(update={"database_pool_size": 1}), access=OWNER) as one:
        index = ChunkIndex(one, PgvectorIndex(one))
        index.upsert("other", "vs", near, collection=name)
        before = scans(one, name)
        for query in -vectors[:5]:  # far from all of them, and near to thousands of the others
            exact = index.search("other", "vs", collection=name, vector=query, k=K, mode="exact")
            assert index.search("other", "vs", collection=name, vector=query, k=K) == exact
            assert (
                len(index.search("default", "vs", collection=name, vector=query, k=K, filter=RARE))
                == len(exact)
                == K
            )
        assert scans(one, name) == before


def test_optimise_can_be_repeated_and_replaces_an_index_whose_build_was_interrupted(
    loaded: tuple[ChunkIndex, str], pool: ConnectionPool
) -> None:
    index, name = loaded
    broken = index_oid(pool, name)
    with pool.connection() as connection:
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s", [broken])
    index.optimise(name)
    mended = index_oid(pool, name)
    assert mended not in (None, broken)
    index.optimise(name)
    assert index_oid(pool, name) == mended


def test_several_sessions_may_optimise_at_once(loaded: tuple[ChunkIndex, str], pool: ConnectionPool) -> None:
    index, name = loaded
    with pool.connection() as connection:
        connection.execute(f"DROP INDEX vectors_{name}_hnsw")
    with ThreadPoolExecutor(3) as threads:
        turns = [threads.submit(index.optimise, name) for _ in range(6)]
    for turn in turns:
        turn.result()
    assert index_oid(pool, name) is not None


@pytest.fixture
def small(pool: ConnectionPool) -> Iterator[tuple[ChunkIndex, str]]:
    """A collection that gets its approximate index at 100 chunks."""
    index, name = ChunkIndex(pool, PgvectorIndex(pool, index_from=100)), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=4)
    yield index, name
    with pool.connection() as connection:
        connection.execute(f"DROP TABLE vectors_{name}")


def test_a_load_keeps_the_index_of_other_stores_unless_it_is_larger_than_they_are(
    small: tuple[ChunkIndex, str], pool: ConnectionPool
) -> None:
    index, name = small

    def load(store: str, count: int) -> int | None:
        chance = np.random.default_rng(count)
        rows = (
            ChunkRecord(id=str(n), document="d", text="t", attributes={}, vector=chance.normal(size=4))
            for n in range(count)
        )
        assert bulk_load(index, "default", store, rows, collection=name).written == count
        return index_oid(pool, name)

    assert load("a", 99) is None
    first = load("b", 1_500)
    assert first is not None
    assert load("c", 50) == first
    assert load("d", 2_500) not in (None, first)


def test_vectors_too_long_for_the_index_are_searched_exactly(pool: ConnectionPool) -> None:
    index, name = ChunkIndex(pool, PgvectorIndex(pool, index_from=1)), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=4_001)
    vectors = np.eye(3, 4_001, dtype=np.float32)
    rows = [
        ChunkRecord(id=str(n), document="d", text="t", attributes={}, vector=vector)
        for n, vector in enumerate(vectors)
    ]
    bulk_load(index, "default", "vs", rows, collection=name)
    assert index.search("default", "vs", collection=name, vector=vectors[1], k=1)[0].id == "1"
    assert index_oid(pool, name) is None


@pytest.mark.parametrize(("metric", "best"), [("cosine", "near"), ("dot", "far"), ("euclidean", "near")])
def test_each_metric_ranks_by_its_own_similarity(
    settings: Settings, pool: ConnectionPool, metric: str, best: str
) -> None:
    index, name = open_chunk_index(settings, pool), f"t{uuid4().hex[:12]}"
    index.ensure(name, dim=2, metric=metric)  # type: ignore[arg-type]
    points = {"near": [1.0, 0.1], "far": [9.0, 9.0]}
    rows = [
        ChunkRecord(id=id, document="d", text="t", attributes={}, vector=np.array(point, np.float32))
        for id, point in points.items()
    ]
    index.upsert("default", "vs", rows, collection=name)
    hits = index.search("default", "vs", collection=name, vector=np.array([1, 0], np.float32), k=2)
    expected = {"cosine": 1 / np.hypot(1, 0.1), "dot": 9.0, "euclidean": -0.1}[metric]
    assert hits[0].id == best
    assert hits[0].score == pytest.approx(expected)


def scans(pool: ConnectionPool, collection: str) -> int:
    """Number of scans of the approximate index; complete where the pool has one connection."""
    with pool.connection() as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
    with pool.connection() as connection:
        row = connection.execute(
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = %s",
            [f"vectors_{collection}_hnsw"],
        ).fetchone()
    assert row is not None
    return int(row[0])


def index_oid(pool: ConnectionPool, collection: str) -> int | None:
    """The oid of the approximate index; None where there is no valid one."""
    with pool.connection() as connection:
        row = connection.execute(
            "SELECT indexrelid FROM pg_index WHERE indexrelid = to_regclass(%s) AND indisvalid",
            [f"vectors_{collection}_hnsw"],
        ).fetchone()
    return int(row[0]) if row else None
