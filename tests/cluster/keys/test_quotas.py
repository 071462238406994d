"""An organisation or a key stores no more than its quota, with any number of writers at the same time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from psycopg import Connection, sql
from psycopg_pool import ConnectionPool

from cluster.blobs import Blob
from cluster.database import single_statements, translated
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.files import create_file
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import NewStore, VectorStore, create_store
from cluster.engines.contract import Fingerprint
from cluster.errors import ClusterError, QuotaExceeded, Throttled
from cluster.jobs.kinds import INDEX_FILE
from cluster.jobs.queue import submit
from cluster.keys.api_keys import ApiKey, NewKey, change_limits, create_key
from cluster.organisations.caller import Caller, CallerKind, acting_as
from cluster.organisations.organisations import StorageLimits
from cluster.organisations.rows import change_organisation
from cluster.settings import Settings
from tests.conftest import new_organisation

WRITERS = 8


@pytest.fixture
def index(keyed: Settings, keyed_pool: ConnectionPool) -> ChunkIndex:
    """The index in Postgres."""
    return open_chunk_index(keyed, keyed_pool)


@pytest.fixture
def owner(keyed_pool: ConnectionPool) -> str:
    """An organisation of the database with keys."""
    return new_organisation(keyed_pool)


@pytest.fixture
def keyed_connection(keyed_pool: ConnectionPool) -> Iterator[Connection[Any]]:
    """A connection that commits each statement."""
    with single_statements(keyed_pool) as connection:
        yield connection


def store_of(
    pool: ConnectionPool, organisation: str, index: ChunkIndex, fingerprint: Fingerprint
) -> VectorStore:
    """A new store of the current caller."""
    with pool.connection() as connection:
        store = create_store(connection, organisation, NewStore(name="s"), fingerprint=fingerprint)
    index.ensure(store.collection, dim=fingerprint.dim)
    return store


def add(index: ChunkIndex, store: VectorStore, count: int) -> bool:
    """Store new vectors; False if a quota refuses them."""
    try:
        add_or_raise(index, store, count)
    except QuotaExceeded:
        return False
    return True


def add_or_raise(index: ChunkIndex, store: VectorStore, count: int) -> None:
    """Store new vectors."""
    vector = np.ones(store.fingerprint.dim, np.float32)
    rows = [
        ChunkRecord(id=uuid4().hex, document="doc", text="text", attributes={}, vector=vector)
        for _ in range(count)
    ]
    with translated():
        index.upsert(store.organisation, store.id, rows, collection=store.collection)


def delete_chunks(connection: Connection[Any], store: VectorStore) -> None:
    """Delete all chunks of the store."""
    connection.execute(
        sql.SQL("DELETE FROM {} WHERE organisation = %s AND vector_store = %s").format(
            sql.Identifier(f"vectors_{store.collection}")
        ),
        [store.organisation, store.id],
    )


def accepted(work: Callable[[], Any]) -> bool:
    """False if a quota refuses the work."""
    try:
        work()
    except Throttled:
        return False
    return True


def key_of(connection: Connection[Any], organisation: str, **limits: int) -> tuple[ApiKey, Caller]:
    """A key with limits, and a request with this key."""
    key = create_key(connection, organisation, NewKey(name="limited", **limits)).key  # type: ignore[arg-type]
    caller = Caller(kind=CallerKind.KEY, id=key.id, organisation=organisation, request="req_1")
    return key, caller


def at_once(work: Callable[[], bool]) -> int:
    """How many of ``WRITERS`` calls at the same time return True."""
    with ThreadPoolExecutor(WRITERS) as threads:
        return sum(threads.map(lambda _: work(), range(WRITERS)))


def test_vectors_of_an_organisation_are_exact_under_concurrent_writers(
    keyed_pool: ConnectionPool, owner: str, index: ChunkIndex, fingerprint: Fingerprint
) -> None:
    store = store_of(keyed_pool, owner, index, fingerprint)
    assert add(index, store, 3), "vectors from before the limit count, too"
    with keyed_pool.connection() as connection:
        change_organisation(connection, owner, {"vectors_limit": 12})
    assert at_once(lambda: add(index, store, 2)) == 4
    assert add(index, store, 1)
    refusal = f"organisation {owner} stores 12 vectors of at most 12 .vectors_limit., and .* add 7"
    with pytest.raises(QuotaExceeded, match=refusal):
        add_or_raise(index, store, 7)
    with keyed_pool.connection() as connection:
        change_organisation(connection, owner, {"vectors_limit": 13})
    assert add(index, store, 1), "a raised limit needs no new count"
    with keyed_pool.connection() as connection:
        kept = connection.execute(
            "SELECT vectors FROM vector_quotas WHERE organisation = %s", [owner]
        ).fetchone()
        assert kept == (13,)
        delete_chunks(connection, store)
        change_organisation(connection, owner, {"vectors_limit": None})
    assert add(index, store, 20)


def test_vectors_of_a_key_are_those_of_the_stores_that_it_created(
    keyed_pool: ConnectionPool,
    keyed_connection: Connection[Any],
    owner: str,
    index: ChunkIndex,
    fingerprint: Fingerprint,
) -> None:
    key, caller = key_of(keyed_connection, owner)
    with acting_as(caller):
        own = store_of(keyed_pool, owner, index, fingerprint)
    other = store_of(keyed_pool, owner, index, fingerprint)
    assert add(index, own, 2)
    assert add(index, other, 9)
    change_limits(keyed_connection, owner, key.id, {"vectors_limit": 4})
    assert not add(index, own, 3)
    assert add(index, own, 2)
    assert add(index, other, 9)
    delete_chunks(keyed_connection, own)
    assert add(index, own, 4), "deleted vectors make room"


def test_unfinished_jobs_are_exact_for_organisation_and_key(
    keyed_pool: ConnectionPool, keyed_connection: Connection[Any], owner: str
) -> None:
    _, caller = key_of(keyed_connection, owner, jobs_limit=3)
    _, other = key_of(keyed_connection, owner)
    change_organisation(keyed_connection, owner, {"jobs_limit": 5})

    def ask(caller: Caller) -> bool:
        def one() -> None:
            with keyed_pool.connection() as connection, acting_as(caller):
                submit(connection, owner, INDEX_FILE, {})

        return accepted(one)

    assert at_once(lambda: ask(caller)) == 3
    refusal = "the API key key_.* has 3 unfinished jobs of at most 3"
    with acting_as(caller), pytest.raises(Throttled, match=refusal):
        submit(keyed_connection, owner, INDEX_FILE, {})
    assert at_once(lambda: ask(other)) == 2
    submit(keyed_connection, owner, INDEX_FILE, {})  # the cluster's own jobs are always accepted


def test_files_and_bytes_of_a_key_are_exact(
    keyed_pool: ConnectionPool, keyed_connection: Connection[Any], owner: str
) -> None:
    _, caller = key_of(keyed_connection, owner, files_limit=3, bytes_limit=1_000)

    def upload(caller: Caller, bytes: int = 10) -> bool:
        def one() -> None:
            with keyed_pool.connection() as connection, acting_as(caller):
                blob = Blob(sha256=uuid4().hex * 2, bytes=bytes)
                create_file(
                    connection,
                    owner,
                    "a.txt",
                    "assistants",
                    blob,
                    "text/plain",
                    default_limits=StorageLimits(),
                )

        return accepted(one)

    assert upload(caller, 900)
    assert not upload(caller, 200)
    assert at_once(lambda: upload(caller)) == 2
    assert upload(key_of(keyed_connection, owner)[1], 5_000), "another key has its own quota"


def test_a_limit_outside_its_range_is_refused(keyed_connection: Connection[Any], owner: str) -> None:
    key, _ = key_of(keyed_connection, owner)
    for changes in ({"jobs_limit": 0}, {"tokens_per_minute": -1}, {"files_limit": 2**63}):
        with pytest.raises(ClusterError, match="must be in 1"):
            change_limits(keyed_connection, owner, key.id, changes)
