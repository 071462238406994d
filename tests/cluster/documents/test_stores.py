"""A store is created once, holds vectors of one model, belongs to one organisation, and can expire."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database.paging import PageRequest
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.documents.vector_stores.store_usage import StoreUsage, usage_of
from cluster.documents.vector_stores.stores import (
    NewStore,
    VectorStore,
    create_store,
    delete_store,
    ensure_store,
    find_store,
    get_store,
    list_stores,
    touch_store,
    update_store,
)
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.jobs.jobs import PriorityClass
from cluster.records import vector_store_id
from tests.cluster.jobs.turns import jobs_of


def test_a_store_is_created_once_and_found_by_name_and_by_id(
    connection: Connection[Any], store: VectorStore
) -> None:
    assert store.id == vector_store_id(store.organisation, "handbook")
    for name in ("handbook", store.id):
        assert ensure_store(connection, store.organisation, name, fingerprint=store.fingerprint) == store
        assert find_store(connection, store.organisation, name) == store
    assert names(connection, store.organisation) == ["handbook"]


@pytest.mark.parametrize("before", ["nothing", "one that was deleted"])
def test_concurrent_callers_get_the_same_new_store(
    pool: ConnectionPool, organisation: str, fingerprint: Fingerprint, before: str
) -> None:
    if before != "nothing":
        with pool.connection() as connection:
            delete_store(
                connection,
                organisation,
                ensure_store(connection, organisation, "raced", fingerprint=fingerprint).id,
            )

    def ask(_: int) -> VectorStore:
        with pool.connection() as connection:
            return ensure_store(connection, organisation, "raced", fingerprint=fingerprint)

    with ThreadPoolExecutor(8) as threads:
        assert len({store.id for store in threads.map(ask, range(8))}) == 1


@pytest.mark.parametrize("change", [{"model": "large", "dim": 1024}, {"precision": "bfloat16"}])
def test_a_store_that_exists_keeps_its_own_model(
    connection: Connection[Any], store: VectorStore, change: dict[str, Any]
) -> None:
    other = replace(store.fingerprint, **change)
    assert ensure_store(connection, store.organisation, "handbook", fingerprint=other) == store


def test_the_error_about_a_missing_store_names_existing_ones(
    connection: Connection[Any], store: VectorStore
) -> None:
    with pytest.raises(NotFound, match="no vector store 'handbok'; there are: handbook"):
        find_store(connection, store.organisation, "handbok")


def test_a_mistyped_id_does_not_become_a_name(connection: Connection[Any], store: VectorStore) -> None:
    with pytest.raises(NotFound):
        ensure_store(connection, store.organisation, "vs_" + "0" * 24, fingerprint=store.fingerprint)
    assert names(connection, store.organisation) == ["handbook"]


def test_another_organisation_cannot_see_or_delete_the_store(
    connection: Connection[Any], store: VectorStore, stranger: str
) -> None:
    assert names(connection, stranger) == []
    for name in ("handbook", store.id):
        with pytest.raises(NotFound, match="there is none yet"):
            find_store(connection, stranger, name)
    for change in (delete_store, lambda *key: update_store(*key, {"name": "theirs"})):
        with pytest.raises(NotFound):
            change(connection, stranger, store.id)
    with pytest.raises(NotFound):
        get_store(connection, stranger, store.id)
    assert usage_of(connection, stranger, [store.id])[store.id] == StoreUsage()
    with pytest.raises(InvalidInput, match="after"):
        list_stores(connection, stranger, PageRequest(after=store.id))
    own = ensure_store(connection, stranger, "handbook", fingerprint=store.fingerprint)
    assert own.id != store.id
    assert find_store(connection, store.organisation, "handbook") == store


def test_a_deleted_store_is_hidden_at_once_and_its_name_is_free(
    connection: Connection[Any], store: VectorStore
) -> None:
    job = delete_store(connection, store.organisation, store.id)
    assert (job.kind, job.priority_class, job.subject) == ("delete_store", PriorityClass.LOW, store.id)
    assert names(connection, store.organisation) == []
    for hidden in (find_store, get_store, delete_store):
        with pytest.raises(NotFound):
            hidden(connection, store.organisation, store.id)
    other = replace(store.fingerprint, model="large")
    again = ensure_store(connection, store.organisation, "handbook", fingerprint=other)
    assert (again.fingerprint, again.id == store.id) == (other, False)
    assert ensure_store(connection, store.organisation, "handbook", fingerprint=other) == again


def test_a_deletion_that_is_rolled_back_leaves_the_store_and_no_job(
    connection: Connection[Any], store: VectorStore
) -> None:
    with connection.transaction(force_rollback=True):
        delete_store(connection, store.organisation, store.id)
    assert find_store(connection, store.organisation, store.id) == store
    assert jobs_of(connection, store.organisation) == []


def test_each_field_of_a_store_is_returned_and_changed_alone(
    connection: Connection[Any], organisation: str, fingerprint: Fingerprint
) -> None:
    week = {"anchor": "last_active_at", "days": 7}
    given = {
        "name": "manuals",
        "description": "of pumps",
        "metadata": {"a": "b"},
        "expires_after": week,
        "partial": True,
    }
    store = create_store(connection, organisation, NewStore(**given), fingerprint=fingerprint)
    assert get_store(connection, organisation, store.id) == store
    assert {name: getattr(store, name) for name in given} == given
    assert store.expires_at == store.last_active_at + timedelta(days=7)
    changed = update_store(connection, organisation, store.id, {"metadata": {}, "expires_after": None})
    expected = replace(
        store, metadata={}, expires_after=None, expires_at=None, last_active_at=changed.last_active_at
    )
    assert get_store(connection, organisation, store.id) == changed == expected


def test_stores_may_share_a_name_and_those_without_one_are_found_by_id(
    connection: Connection[Any], organisation: str, fingerprint: Fingerprint
) -> None:
    first, second = (
        create_store(connection, organisation, NewStore(name="twice"), fingerprint=fingerprint)
        for _ in range(2)
    )
    assert find_store(connection, organisation, "twice") == first
    assert find_store(connection, organisation, second.id) == second
    create_store(connection, organisation, NewStore(), fingerprint=fingerprint)
    with pytest.raises(NotFound):
        find_store(connection, organisation, "")


def test_activity_is_recorded_at_most_once_a_minute(
    connection: Connection[Any], organisation: str, fingerprint: Fingerprint
) -> None:
    new = NewStore(expires_after={"anchor": "last_active_at", "days": 1})
    store = create_store(connection, organisation, new, fingerprint=fingerprint)
    touch_store(connection, store)
    assert get_store(connection, organisation, store.id) == store
    store = aged(connection, store, "2 hours")
    touch_store(connection, store)
    touched = get_store(connection, organisation, store.id)
    assert touched.last_active_at > store.last_active_at
    assert touched.expires_at == touched.last_active_at + timedelta(days=1)


def test_recording_activity_does_not_wait_for_a_locked_store(
    connection: Connection[Any], pool: ConnectionPool, store: VectorStore
) -> None:
    store = aged(connection, store, "2 hours")
    with pool.connection() as other:
        other.execute("SELECT FROM vector_stores WHERE organisation = %s FOR UPDATE", [store.organisation])
        connection.execute("SET lock_timeout = 2000")
        touch_store(connection, store)
        connection.execute("RESET lock_timeout")
    assert get_store(connection, store.organisation, store.id) == store


def test_an_expired_store_is_listed_but_not_searched_and_its_name_is_free(
    connection: Connection[Any], store: VectorStore
) -> None:
    store = expired(connection, store)
    assert get_store(connection, store.organisation, store.id).expired
    assert names(connection, store.organisation) == ["handbook"]
    for name in ("handbook", store.id):
        with pytest.raises(NotFound, match="there is none yet"):
            find_store(connection, store.organisation, name)
    with pytest.raises(Conflict, match="expired"):
        update_store(connection, store.organisation, store.id, {"name": "other"})
    touch_store(connection, store)
    assert get_store(connection, store.organisation, store.id).expired
    assert (
        ensure_store(connection, store.organisation, "handbook", fingerprint=store.fingerprint).id != store.id
    )


@pytest.mark.parametrize("newest_first", [True, False])
def test_each_store_is_listed_once_while_stores_are_added_and_deleted(
    connection: Connection[Any],
    organisation: str,
    fingerprint: Fingerprint,
    index: ChunkIndex,
    newest_first: bool,
) -> None:
    def make() -> str:
        return create_store(connection, organisation, NewStore(), fingerprint=fingerprint).id

    there = [make() for _ in range(7)]
    seen: list[str] = []
    while True:
        listed = list_stores(
            connection,
            organisation,
            PageRequest(after=seen[-1] if seen else None, limit=2, newest_first=newest_first),
        )
        seen += [store.id for store in listed.items]
        if len(seen) > 2:
            delete_store(connection, organisation, seen[-1])
            while delete_store_rows(connection, organisation, seen[-1]):
                pass
        make()
        if not listed.has_more or len(seen) > 20:
            break
    expected = there[::-1] if newest_first else there
    assert [id for id in seen if id in there] == expected
    assert len(set(seen)) == len(seen)


def test_a_list_can_be_read_before_a_cursor_and_between_two(
    connection: Connection[Any], organisation: str, fingerprint: Fingerprint
) -> None:
    ids = [create_store(connection, organisation, NewStore(), fingerprint=fingerprint).id for _ in range(6)][
        ::-1
    ]

    def page(**where: Any) -> tuple[list[str], bool]:
        listed = list_stores(connection, organisation, PageRequest(**where))
        return [store.id for store in listed.items], listed.has_more

    assert page(before=ids[4], limit=2) == (ids[2:4], True)
    assert page(before=ids[2], limit=2) == (ids[:2], False)
    assert page(after=ids[0], before=ids[4]) == (ids[1:4], False)
    assert page(before=ids[3], limit=2, newest_first=False) == ([ids[5], ids[4]], False)
    assert page(limit=100) == (ids, False)


def aged(connection: Connection[Any], store: VectorStore, interval: str) -> VectorStore:
    """Set the last activity of the store to this long ago."""
    connection.execute(
        "UPDATE vector_stores SET last_active_at = now() - %s::interval WHERE id = %s", [interval, store.id]
    )
    return get_store(connection, store.organisation, store.id)


def expired(connection: Connection[Any], store: VectorStore) -> VectorStore:
    """Make the store expire now."""
    connection.execute("UPDATE vector_stores SET expires_at = now() WHERE id = %s", [store.id])
    return get_store(connection, store.organisation, store.id)


def names(connection: Connection[Any], organisation: str) -> list[str]:
    """Names of the organisation's stores, newest first."""
    return [store.name for store in list_stores(connection, organisation).items]
