"""A store is made once, holds vectors of one model, and is its organisation's own."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, NotFound
from cluster.ledger.stores import VectorStore, delete_store, ensure_store, find_store, list_stores
from cluster.records import vector_store_id


def test_a_store_is_made_once_and_found_by_name_and_by_id(connection: Connection[Any], store: VectorStore) -> None:
    assert store.id == vector_store_id(store.organisation, "handbook")
    for name in ("handbook", store.id):
        assert ensure_store(connection, store.organisation, name, fingerprint=store.fingerprint) == store
        assert find_store(connection, store.organisation, name) == store
    assert list_stores(connection, store.organisation) == [store]


def test_many_who_ask_for_a_new_store_at_once_get_the_same(pool: ConnectionPool, organisation: str, fingerprint: Fingerprint) -> None:
    def ask(_: int) -> VectorStore:
        with pool.connection() as connection:
            return ensure_store(connection, organisation, "raced", fingerprint=fingerprint)

    with ThreadPoolExecutor(8) as threads:
        assert len({store.id for store in threads.map(ask, range(8))}) == 1


def test_another_model_is_refused_and_both_are_named(connection: Connection[Any], store: VectorStore) -> None:
    other = replace(store.fingerprint, model="large", dim=1024)
    with pytest.raises(Conflict) as caught:
        ensure_store(connection, store.organisation, "handbook", fingerprint=other)
    assert store.fingerprint.id in str(caught.value)
    assert other.id in str(caught.value)


def test_another_precision_of_the_model_is_welcome(connection: Connection[Any], store: VectorStore) -> None:
    coarser = replace(store.fingerprint, precision="bfloat16")
    assert ensure_store(connection, store.organisation, "handbook", fingerprint=coarser) == store


def test_a_store_that_is_not_there_is_answered_with_those_that_are(connection: Connection[Any], store: VectorStore) -> None:
    with pytest.raises(NotFound, match="no vector store 'handbok'; there are: handbook"):
        find_store(connection, store.organisation, "handbok")


def test_a_mistyped_id_does_not_become_a_name(connection: Connection[Any], store: VectorStore) -> None:
    with pytest.raises(NotFound):
        ensure_store(connection, store.organisation, "vs_" + "0" * 24, fingerprint=store.fingerprint)
    assert list_stores(connection, store.organisation) == [store]


def test_another_organisation_neither_sees_nor_deletes_the_store(connection: Connection[Any], store: VectorStore, stranger: str) -> None:
    assert list_stores(connection, stranger) == []
    for name in ("handbook", store.id):
        with pytest.raises(NotFound, match="there is none yet"):
            find_store(connection, stranger, name)
    assert delete_store(connection, stranger, store.id) is False
    own = ensure_store(connection, stranger, "handbook", fingerprint=store.fingerprint)
    assert own.id != store.id
    assert find_store(connection, store.organisation, "handbook") == store


def test_a_deleted_store_is_gone_and_its_name_is_free(connection: Connection[Any], store: VectorStore) -> None:
    assert delete_store(connection, store.organisation, store.id) is True
    assert delete_store(connection, store.organisation, store.id) is False
    other = replace(store.fingerprint, model="large")
    assert ensure_store(connection, store.organisation, "handbook", fingerprint=other).fingerprint == other
