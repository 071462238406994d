"""An index outside our Postgres: new vectors first, then the transaction, then the outbox; nothing stays and
nothing is lost.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.documents import outbox
from cluster.documents.chunks import chunk_changes
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.indexing import Ahead, ChunkIndex
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, Permanent, Retryable, Unavailable
from cluster.settings import Settings
from cluster.vector_index.collections import Collection
from tests import folder_index

QUERY = np.array([1, 2, 3], np.float32)

Find = Callable[..., list[str]]


@pytest.fixture
def folder(settings: Settings) -> Iterator[Settings]:
    """Settings with the index in files."""
    folder_index.behave(settings)
    yield settings.model_copy(update={"vector_index": folder_index.NAME})
    folder_index.behave(settings)


@pytest.fixture
def indexes(folder: Settings, pool: ConnectionPool) -> ChunkIndexes:
    indexes = ChunkIndexes(folder, pool)
    indexes.empty_outbox(limit_s=10)  # entries that other tests left in the same database
    return indexes


@pytest.fixture
def store(
    connection: Connection[Any], organisation: str, fingerprint: Fingerprint, indexes: ChunkIndexes
) -> VectorStore:
    new = NewStore(name="elsewhere", index=folder_index.NAME)
    made = stores.create_store(connection, organisation, new, fingerprint=fingerprint)
    indexes.of(made).ensure(made.collection, dim=3)
    return made


@pytest.fixture
def index(indexes: ChunkIndexes, store: VectorStore) -> ChunkIndex:
    return indexes.of(store)


@pytest.fixture
def find(index: ChunkIndex, store: VectorStore) -> Find:
    """Ids that a search by vector finds."""

    def ask(**how: Any) -> list[str]:
        hits = index.search(
            store.organisation, store.id, collection=store.collection, vector=QUERY, **{"k": 10, **how}
        )
        return sorted(hit.id for hit in hits)

    return ask


def chunk(id: str, document: str = "doc", *, stored: bool = False, **attributes: Any) -> ChunkRecord:
    vector = None if stored else np.array([1, 2, len(id)], np.float32)
    return ChunkRecord(id=id, document=document, text=f"text {id}", attributes=attributes, vector=vector)


def vectors(index: ChunkIndex, store: VectorStore) -> int:
    """How many the index outside has."""
    assert index.external is not None
    collection = Collection(name=store.collection, dim=3, metric="cosine")
    return index.external.count(store.organisation, store.id, collection=collection)


def entries(connection: Connection[Any], store: VectorStore) -> dict[str, str]:
    """Ids in the outbox, with their state."""
    statement = "SELECT id, state FROM vector_outbox WHERE organisation = %s AND vector_store = %s"
    return dict(connection.execute(statement, [store.organisation, store.id]).fetchall())


def make_due(connection: Connection[Any], store: VectorStore) -> None:
    """As if the time that its holders have were over."""
    statement = "UPDATE vector_outbox SET due_at = now() WHERE organisation = %s AND vector_store = %s"
    connection.execute(statement, [store.organisation, store.id])


def replace(index: ChunkIndex, store: VectorStore, *rows: ChunkRecord) -> None:
    index.replace_document(store.organisation, store.id, "doc", rows, collection=store.collection)


def ahead_of(index: ChunkIndex, store: VectorStore, *rows: ChunkRecord) -> Ahead:
    ahead = index.write_ahead(store.organisation, store.id, rows, collection=store.collection)
    assert ahead is not None
    return ahead


def flip(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, ahead: Ahead, *rows: ChunkRecord
) -> None:
    key = {"collection": store.collection, "ahead": ahead}
    with connection.transaction():
        index.make_current(connection, store.organisation, store.id, "doc", rows, **key)  # type: ignore[arg-type]


def test_until_the_transaction_a_search_finds_the_old_version_and_after_it_the_new_one(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, find: Find
) -> None:
    replace(index, store, chunk("old"), chunk("kept", page=1))
    new = chunk("new"), chunk("kept", stored=True, page=2)
    ahead = ahead_of(index, store, *new)
    assert (find(), vectors(index, store)) == (["kept", "old"], 3)
    flip(connection, index, store, ahead, *new)
    assert (find(), vectors(index, store)) == (["kept", "new"], 3)
    assert entries(connection, store) == {"old": "due", "kept": "due"}
    index.settle(store.organisation, store.id)
    assert (find(), vectors(index, store), entries(connection, store)) == (["kept", "new"], 2, {})
    assert find(filter={"type": "eq", "key": "page", "value": 2}) == ["kept"]


def test_a_writer_that_died_before_its_transaction_leaves_vectors_that_are_never_found_and_then_deleted(
    connection: Connection[Any], indexes: ChunkIndexes, index: ChunkIndex, store: VectorStore, find: Find
) -> None:
    replace(index, store, chunk("a"))
    ahead_of(index, store, chunk("a"), chunk("b"))
    assert (find(), vectors(index, store)) == (["a"], 2)
    assert indexes.empty_outbox(limit_s=10) == 0  # the writer may still live
    make_due(connection, store)
    indexes.empty_outbox(limit_s=10)
    assert (find(), vectors(index, store), entries(connection, store)) == (["a"], 1, {})


def test_a_writer_whose_vectors_were_deleted_meanwhile_is_refused_and_writes_them_again(
    connection: Connection[Any], indexes: ChunkIndexes, index: ChunkIndex, store: VectorStore, find: Find
) -> None:
    ahead = ahead_of(index, store, chunk("a"))
    make_due(connection, store)
    indexes.empty_outbox(limit_s=10)
    with pytest.raises(Retryable, match="write them again") as refused:
        flip(connection, index, store, ahead, chunk("a"))
    assert not isinstance(refused.value, Unavailable)  # which a worker takes for a lost database
    assert find() == []
    flip(connection, index, store, ahead_of(index, store, chunk("a")), chunk("a"))
    assert find() == ["a"]


def test_of_two_writers_of_the_same_vectors_the_first_is_refused(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, find: Find
) -> None:
    first, second = ahead_of(index, store, chunk("a")), ahead_of(index, store, chunk("a"))
    with pytest.raises(Retryable):
        flip(connection, index, store, first, chunk("a"))
    flip(connection, index, store, second, chunk("a"))
    assert find() == ["a"]


def test_a_vector_that_is_being_deleted_is_not_written_until_that_has_ended(
    connection: Connection[Any],
    index: ChunkIndex,
    store: VectorStore,
    find: Find,
    pool: ConnectionPool,
) -> None:
    replace(index, store, chunk("a"))
    with connection.transaction():
        chunk_changes.delete_document(
            connection, store.organisation, store.id, "doc", collection=store.collection
        )
    refused: list[Retryable] = []

    class Slow(folder_index.FolderIndex):
        def delete(self, *place: Any, **how: Any) -> None:
            with pytest.raises(Retryable) as caught:
                ahead_of(index, store, chunk("a"))
            refused.append(caught.value)
            super().delete(*place, **how)

    slow = Slow(index.external._root)  # type: ignore[union-attr]
    key = {"organisation": store.organisation, "store": store.id}
    outbox.empty(pool, lambda _: slow, limit_s=10, **key)
    assert [error.retry_after_s for error in refused] == [outbox.RETRY_AFTER_S]
    replace(index, store, chunk("a"))
    assert (find(), entries(connection, store)) == (["a"], {})


def test_attributes_that_change_while_they_are_sent_are_sent_again(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, find: Find, pool: ConnectionPool
) -> None:
    replace(index, store, chunk("a", page=1))
    place = (store.organisation, store.id)

    def change(page: int) -> None:
        attributes = {"a": {"page": page}}
        chunk_changes.set_attributes(connection, *place, attributes, collection=store.collection)

    class Slow(folder_index.FolderIndex):
        def set_attributes(self, *given: Any, **how: Any) -> Any:
            if given[2]["a"] == {"page": 2}:
                change(3)
            return super().set_attributes(*given, **how)

    change(2)
    slow = Slow(index.external._root)  # type: ignore[union-attr]
    outbox.empty(pool, lambda _: slow, limit_s=10, organisation=store.organisation, store=store.id)
    assert entries(connection, store) == {}
    assert find(filter={"type": "eq", "key": "page", "value": 3}) == ["a"]
    assert find(filter={"type": "eq", "key": "page", "value": 2}) == []


def test_an_index_that_fails_is_asked_again_after_a_backoff(
    connection: Connection[Any],
    indexes: ChunkIndexes,
    index: ChunkIndex,
    store: VectorStore,
    folder: Settings,
) -> None:
    replace(index, store, chunk("a"))
    with connection.transaction():
        chunk_changes.delete_document(
            connection, store.organisation, store.id, "doc", collection=store.collection
        )
    folder_index.behave(folder, failing_writes=1)
    indexes.empty_outbox(limit_s=10)
    assert (entries(connection, store), vectors(index, store)) == ({"a": "due"}, 1)
    assert indexes.empty_outbox(limit_s=10) == 0  # not before the backoff has passed
    make_due(connection, store)
    indexes.empty_outbox(limit_s=10)
    assert (entries(connection, store), vectors(index, store)) == ({}, 0)


def test_entries_that_cannot_be_sent_hold_up_no_other_store(
    connection: Connection[Any], indexes: ChunkIndexes, index: ChunkIndex, store: VectorStore
) -> None:
    connection.execute(
        "INSERT INTO vector_outbox (organisation, vector_store, id, index, collection, due_at)"
        " VALUES (%s, 'vs_gone', 'a', 'gone', 'gone', now() - interval '1 day')",
        [store.organisation],
    )
    replace(index, store, chunk("a"))
    with connection.transaction():
        chunk_changes.delete_document(
            connection, store.organisation, store.id, "doc", collection=store.collection
        )
    indexes.empty_outbox(limit_s=10)
    assert (entries(connection, store), vectors(index, store)) == ({}, 0)
    connection.execute("DELETE FROM vector_outbox WHERE vector_store = 'vs_gone'")


def test_a_document_is_current_only_once_its_vectors_can_be_found(
    index: ChunkIndex, store: VectorStore, find: Find, folder: Settings
) -> None:
    folder_index.behave(folder, delay_s=0.3)
    replace(index, store, chunk("a"), chunk("b"))
    assert find() == ["a", "b"]


def test_vectors_that_the_index_refused_leave_the_old_version_and_are_named(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, find: Find, folder: Settings
) -> None:
    replace(index, store, chunk("old"))
    folder_index.behave(folder, refused_ending="bad")
    with pytest.raises(Permanent, match="did not store row bad: over quota") as refused:
        replace(index, store, chunk("good"), chunk("bad"))
    assert refused.value.row_ids == ("bad",)
    folder_index.behave(folder)
    index.settle(store.organisation, store.id)
    assert (find(), vectors(index, store), entries(connection, store)) == (["old"], 1, {})


def test_a_write_whose_answer_was_lost_is_repeated_and_is_there_once(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, find: Find, folder: Settings
) -> None:
    folder_index.behave(folder, lost_answers=1)
    with pytest.raises(Unavailable, match="lost"):
        replace(index, store, chunk("a"))
    assert find() == []
    replace(index, store, chunk("a"))
    assert (find(), vectors(index, store), entries(connection, store)) == (["a"], 1, {})


def test_a_search_asks_for_more_where_ids_were_dropped(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, find: Find
) -> None:
    near = [chunk(f"{n}" * 3) for n in range(4)]  # the nearest of all, and never current
    replace(index, store, chunk("a"), chunk("b"))
    ahead_of(index, store, *near)
    assert find(k=2) == ["a", "b"]


def test_deleting_a_store_deletes_its_vectors_and_a_new_store_of_its_id_waits_for_that(
    connection: Connection[Any], indexes: ChunkIndexes, index: ChunkIndex, store: VectorStore
) -> None:
    replace(index, store, chunk("a"), chunk("b"))
    stores.delete_store(connection, store.organisation, store.id)
    while delete_store_rows(connection, store.organisation, store.id):
        pass
    assert (entries(connection, store), vectors(index, store)) == ({outbox.WHOLE_STORE: "due"}, 2)
    with pytest.raises(Retryable, match="old vectors"):
        ahead_of(index, store, chunk("c"))
    indexes.empty_outbox(limit_s=10)
    assert (entries(connection, store), vectors(index, store)) == ({}, 0)
    ahead_of(index, store, chunk("c"))


def test_a_store_whose_index_is_not_configured_says_what_to_set(
    settings: Settings, pool: ConnectionPool, store: VectorStore
) -> None:
    with pytest.raises(Conflict, match=rf"'{folder_index.NAME}', which is not .* add it to CLUSTER_INDEXES"):
        ChunkIndexes(settings, pool).of(store)


def test_deletions_wait_in_the_outbox_until_the_index_is_configured_again(
    connection: Connection[Any],
    settings: Settings,
    pool: ConnectionPool,
    indexes: ChunkIndexes,
    index: ChunkIndex,
    store: VectorStore,
) -> None:
    replace(index, store, chunk("a"))
    stores.delete_store(connection, store.organisation, store.id)
    while delete_store_rows(connection, store.organisation, store.id):
        pass
    ChunkIndexes(settings, pool).empty_outbox(limit_s=10)
    assert (entries(connection, store), vectors(index, store)) == ({outbox.WHOLE_STORE: "due"}, 1)
    make_due(connection, store)
    indexes.empty_outbox(limit_s=10)
    assert (entries(connection, store), vectors(index, store)) == ({}, 0)
