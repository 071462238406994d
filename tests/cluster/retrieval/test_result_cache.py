"""A search of an unchanged store is answered from the cache, and never with a result from before a write."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks import chunk_changes
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.documents.vector_stores.store_versions import StoreVersion, VersionedStore, find_versioned_store
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines.contract import Fingerprint
from cluster.retrieval import QueryVectors, Ranker, ResultCache, RetrievalOptions, RetrievedChunk
from cluster.retrieval.result_cache import key_of
from cluster.settings import Settings
from tests import folder_index
from tests.cluster.retrieval.test_retrieve import Asker
from tests.waiting import LONGEST_WAIT_S

WRITERS = 3
#: The module; the package's attribute of this name is the function.
MODULE = sys.modules["cluster.retrieval.asked_search"]


@pytest.fixture(params=["pgvector", "folder"])
def asker(
    request: pytest.FixtureRequest,
    pool: ConnectionPool,
    connection: Connection[Any],
    settings: Settings,
    organisation: str,
    fingerprint: Fingerprint,
    monkeypatch: pytest.MonkeyPatch,
) -> Asker:
    """Searches an empty store, with a cache. The vectors are in our Postgres or in an external index."""
    monkeypatch.setattr(MODULE, "EXTERNAL_UNCHANGED_S", 0.0)
    folder_index.behave(settings)
    outside = settings.model_copy(update={"vector_index": folder_index.NAME})
    indexes = ChunkIndexes(settings if request.param == "pgvector" else outside, pool)
    store = stores.create_store(
        connection, organisation, stores.NewStore(index=indexes.default.name), fingerprint=fingerprint
    )
    indexes.of(store).ensure(store.collection, dim=3)
    asker = Asker(pool=pool, indexes=indexes, store=store, fingerprint=fingerprint)
    asker.cache = ResultCache(1 << 20)
    return asker


def chunk(text: str, *, id: str = "", **attributes: Any) -> ChunkRecord:
    vector = np.array([1, 0, 0], np.float32)
    return ChunkRecord(id=id or text, document="doc", text=text, attributes=attributes, vector=vector)


def write(asker: Asker, *rows: ChunkRecord) -> None:
    store = asker.store
    asker.indexes.of(store).replace_document(
        store.organisation, store.id, "doc", rows, collection=store.collection
    )


def texts(asker: Asker, **options: Any) -> list[str]:
    asked = RetrievalOptions(ranker=Ranker.VECTORS, **options)
    return sorted(chunk.text for chunk in asker.ask("herons", options=asked).chunks)


def hits(asker: Asker) -> tuple[int, int]:
    assert asker.cache is not None
    return asker.cache.stats.hits, asker.cache.stats.misses


def test_an_equal_search_is_answered_from_the_cache_and_another_one_is_not(asker: Asker) -> None:
    write(asker, chunk("a", page=1))
    assert texts(asker) == texts(asker) == ["a"]
    assert hits(asker) == (1, 1)
    for other in (
        {"max_chunks": 3},
        {"mode": "exact"},
        {"score_threshold": 0.1},
        {"filters": {"type": "eq", "key": "page", "value": 1}},
        {"filters": {"type": "eq", "key": "page", "value": 1.0}},
    ):
        assert texts(asker, **other) == ["a"]
    asker.ask("swifts", options=RetrievalOptions(ranker=Ranker.VECTORS))
    asker.ask("herons", options=RetrievalOptions())
    assert hits(asker) == (1, 8)


Change = Callable[[Asker, Connection[Any]], None]


def _attributes(asker: Asker, connection: Connection[Any]) -> None:
    store = asker.store
    chunk_changes.set_attributes(
        connection, store.organisation, store.id, {"a": {"page": 2}}, collection=store.collection
    )


def _deleted(asker: Asker, connection: Connection[Any]) -> None:
    store = asker.store
    chunk_changes.delete_document(
        connection, store.organisation, store.id, "doc", collection=store.collection
    )


def _upsert(asker: Asker, connection: Connection[Any]) -> None:
    del connection
    store = asker.store
    asker.indexes.of(store).upsert(store.organisation, store.id, [chunk("b")], collection=store.collection)


def _words(asker: Asker, connection: Connection[Any]) -> None:
    table = f"vectors_{asker.store.collection}"
    connection.execute(f"UPDATE {table} SET words = NULL WHERE vector_store = %s", [asker.store.id])


@pytest.mark.parametrize("change", [_attributes, _deleted, _upsert, _words])
def test_every_change_of_a_chunk_ends_the_results_of_its_store_and_of_no_other(
    asker: Asker, connection: Connection[Any], change: Change
) -> None:
    write(asker, chunk("a", page=1))
    other = stores.create_store(
        connection, asker.store.organisation, stores.NewStore(name="other"), fingerprint=asker.fingerprint
    )
    texts(asker)
    untouched = find_versioned_store(connection, asker.store.organisation, other.id).version
    change(asker, connection)
    before = hits(asker)
    texts(asker)
    assert hits(asker) == (before[0], before[1] + 1)
    assert find_versioned_store(connection, asker.store.organisation, other.id).version == untouched


def test_a_write_that_changes_nothing_keeps_the_results(asker: Asker) -> None:
    if asker.indexes.of(asker.store).external is not None:
        pytest.skip("an external index is written to again, so its store gets a new version")
    write(asker, chunk("a"))
    texts(asker)
    write(asker, chunk("a"))
    texts(asker)
    assert hits(asker) == (1, 1)


def test_a_search_that_begins_after_a_write_was_answered_never_finds_what_was_before(
    asker: Asker, settings: Settings
) -> None:
    """Each writer replaces its chunk again and again, and records when each write was answered."""
    store, answered, done = asker.store, [0] * WRITERS, threading.Event()
    with open_pool(settings.model_copy(update={"database_pool_size": WRITERS + 1}), access=OWNER) as pool:
        own = ChunkIndexes(asker.indexes._settings, pool).of(store)

        def writer(number: int) -> None:
            while not done.is_set():
                version = answered[number] + 1
                row = replace(chunk(f"{number} {version}", id=f"{number}"), document=f"doc {number}")
                own.replace_document(
                    store.organisation, store.id, row.document, [row], collection=store.collection
                )
                answered[number] = version

        def search_beside_writers() -> None:
            began, searches = time.monotonic(), 0
            while time.monotonic() < began + 2 or searches <= 20 or min(answered) <= 5:
                assert time.monotonic() < began + LONGEST_WAIT_S, (searches, answered)
                least = list(answered)
                found = dict(map(int, text.split()) for text in texts(asker))  # type: ignore[arg-type]
                assert all(found.get(n, 0) >= version for n, version in enumerate(least)), (found, least)
                searches += 1

        with ThreadPoolExecutor() as threads:
            writers = [threads.submit(writer, number) for number in range(WRITERS)]
            try:
                search_beside_writers()
            finally:
                done.set()
            for one in writers:
                one.result()
    assert texts(asker) == texts(asker)
    assert hits(asker)[0] > 0


def test_writers_of_one_store_do_not_wait_for_each_others_commits(
    asker: Asker, connection: Connection[Any], pool: ConnectionPool
) -> None:
    store = asker.store
    key = [store.organisation, store.id]
    with pool.connection() as first, pool.connection() as second:
        second.execute("SET LOCAL lock_timeout = '2s'")
        for _ in range(2):  # the second time, both find slots
            first.execute("SELECT vector_store_changed(%s, %s)", key)
            second.execute("SELECT vector_store_changed(%s, %s)", key)
            before = find_versioned_store(connection, *key).version
            first.commit()
            between = find_versioned_store(connection, *key).version
            second.commit()
            assert before < between < find_versioned_store(connection, *key).version
    statement = "SELECT count(*) FROM vector_store_changes WHERE organisation = %s AND vector_store = %s"
    assert connection.execute(statement, key).fetchone() == (2,)


def test_a_store_that_is_made_again_under_the_same_id_has_another_version(
    asker: Asker, connection: Connection[Any]
) -> None:
    organisation = asker.store.organisation
    one = stores.ensure_store(connection, organisation, "again", fingerprint=asker.fingerprint)
    version = find_versioned_store(connection, organisation, one.id).version
    stores.delete_store(connection, organisation, one.id)
    while delete_store_rows(connection, organisation, one.id):
        pass
    two = stores.ensure_store(connection, organisation, "again", fingerprint=asker.fingerprint)
    assert two.id == one.id
    assert find_versioned_store(connection, organisation, two.id).version > version


def test_what_an_external_index_shows_late_is_not_cached_until_it_is_shown(
    asker: Asker, connection: Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if asker.indexes.of(asker.store).external is None:
        pytest.skip("our Postgres shows every change at once")
    filters = {"type": "eq", "key": "page", "value": 2}
    write(asker, chunk("a", page=1))
    _attributes(asker, connection)
    assert texts(asker, filters=filters) == []  # the index still has the old page
    asker.indexes.empty_outbox(limit_s=10)
    assert texts(asker, filters=filters) == ["a"]
    monkeypatch.setattr(MODULE, "EXTERNAL_UNCHANGED_S", 60.0)
    texts(asker, max_chunks=2)
    before = hits(asker)
    texts(asker, max_chunks=2)
    assert hits(asker) == (before[0], before[1] + 1)


def found(store: VectorStore, changes: int) -> VersionedStore:
    version = StoreVersion(datetime(2026, 1, 1, tzinfo=UTC), changes)
    return VersionedStore(store=store, version=version, unchanged_s=0)


def retrieved(text: str) -> RetrievedChunk:
    return RetrievedChunk(
        id=text[:9], store="vs", file="f", filename="", text=text, score=1, question="q", page=None,
        start=None, end=None, snippet="", keywords=[], attributes={},
    )  # fmt: skip


def test_the_memory_of_the_cache_is_bounded_and_a_newer_version_frees_it(store: VectorStore) -> None:
    cache = ResultCache(20_000)
    keys = [bytes([n]) for n in range(9)]
    for key in keys:
        cache.put(found(store, 1), key, [retrieved("x" * 5_000)])
        assert cache.get(found(store, 1), keys[0]) is not None  # so it is never the oldest
    assert cache.stats.bytes <= 20_000
    assert len(cache) == 3
    cache.put(found(store, 1), b"too large", [retrieved("x" * 30_000)])
    assert cache.get(found(store, 1), b"too large") is None
    assert cache.get(found(store, 2), keys[0]) is None
    assert (len(cache), cache.stats.bytes) == (0, 0)


def test_a_slow_search_does_not_bring_an_older_version_back(store: VectorStore) -> None:
    cache = ResultCache(20_000)
    cache.put(found(store, 2), b"k", [retrieved("new")])
    cache.put(found(store, 1), b"k", [retrieved("old")])
    assert cache.get(found(store, 1), b"k") is None
    (kept,) = cache.get(found(store, 2), b"k") or []
    assert kept.text == "new"


def test_without_memory_nothing_is_kept(store: VectorStore) -> None:
    cache = ResultCache(0)
    cache.put(found(store, 1), b"k", [])
    assert cache.get(found(store, 1), b"k") is None


def test_two_vectors_of_the_same_words_have_two_keys() -> None:
    one, other = (
        key_of(
            ["q"], [QueryVectors(vectors=np.array([[x]], np.float32), fingerprint="f")], RetrievalOptions()
        )
        for x in (1, 2)
    )
    assert one != other
