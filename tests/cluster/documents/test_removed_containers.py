"""The entries of a container are deleted, detached and cancelled with it, with a few statements for all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg import Connection

from cluster.documents import files
from cluster.documents.containers.cancellation import CONTAINER_CANCELLED, cancel_with_entries
from cluster.documents.containers.container_entries import attach_entries
from cluster.documents.files import delete_file, expire_files, list_files
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores import attaching, file_batches, store_files
from cluster.documents.vector_stores.attaching import Attachment
from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.jobs import queue
from cluster.jobs.jobs import GONE, get_job
from tests.cluster.jobs.turns import jobs_of
from tests.indexed_files import make_files, process

#: Enough entries to hide them instead of deleting them.
MANY = files.ENTRIES_DELETED_AT_ONCE + 20
#: Enough statements for one store, but fewer than one for each entry.
FEW_STATEMENTS = 60


def make_container(connection: Connection[Any], organisation: str, entries: list[str]) -> str:
    """A container with these files as entries."""
    (container,) = make_files(connection, organisation)
    values = {"organisation": organisation, "container": container, "entries": entries}
    connection.execute(
        "INSERT INTO entry_files (organisation, file, key, container_name, path)"
        " SELECT %(organisation)s, file, file, 'a.zip', file FROM unnest(%(entries)s::text[]) AS file"
        " ON CONFLICT DO NOTHING",
        values,
    )
    connection.execute(
        "INSERT INTO container_entries (organisation, container, number, path, file, outcome)"
        " SELECT %(organisation)s, %(container)s, number, file, file, 'ok'"
        " FROM unnest(%(entries)s::text[]) WITH ORDINALITY AS entry (file, number)",
        values,
    )
    return container


def attach(connection: Connection[Any], store: VectorStore, ids: list[str]) -> None:
    attaching.attach_many(connection, store, [Attachment(file=id) for id in ids])


def attached(connection: Connection[Any], store: VectorStore) -> set[str]:
    rows = connection.execute(
        "SELECT file FROM vector_store_files WHERE organisation = %s AND vector_store = %s",
        [store.organisation, store.id],
    )
    return {file for (file,) in rows}


@contextmanager
def counted_statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    seen: list[object] = []
    execute = psycopg.Cursor.execute

    def counting(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        seen.append(query)
        return execute(self, query, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", counting)
        yield seen


def test_a_large_container_is_deleted_at_once_and_upkeep_deletes_the_files_of_its_entries(
    connection: Connection[Any], store: VectorStore, index: ChunkIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.ensure(store.collection, dim=store.fingerprint.dim)
    organisation, other = (
        store.organisation,
        ensure_store(connection, store.organisation, "other", fingerprint=store.fingerprint),
    )
    entries = make_files(connection, organisation, MANY)
    container = make_container(connection, organisation, entries)
    sharing = make_container(connection, organisation, entries[:1])
    attach(connection, store, [container, *entries])
    attach(connection, other, entries[1:3])  # attached without the container
    for file in (entries[0], entries[1]):
        assert process(
            connection, index, store, file, [file], embed=lambda texts: np.ones((len(texts), 3), np.float32)
        )
    with counted_statements(monkeypatch) as statements, connection.transaction():
        gone = delete_file(connection, organisation, container)
    assert len(statements) < FEW_STATEMENTS
    assert [file.id for file in gone] == [container]
    assert attached(connection, store) == attached(connection, other) == set()
    chunks = index.scan(organisation, store.id, collection=store.collection)
    assert list(chunks) == []
    states = {(job.state, job.error_code) for job in jobs_of(connection, organisation)}
    assert states == {("cancelled", GONE), ("succeeded", None)}
    assert {file.id for file in list_files(connection, organisation).items} == {sharing, entries[0]}
    again = make_container(connection, organisation, entries[:1])
    expired = []
    while found := expire_files(connection):
        expired += found
    assert {file.id for file in expired} == set(entries[1:])
    for file in (sharing, again):
        delete_file(connection, organisation, file)
    assert list_files(connection, organisation).items == []


def test_detaching_a_large_container_takes_few_statements_and_keeps_entries_of_another(
    connection: Connection[Any], store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = make_files(connection, store.organisation, MANY)
    one = make_container(connection, store.organisation, entries)
    two = make_container(connection, store.organisation, entries[:2])
    attach(connection, store, [one, two, *entries])
    with counted_statements(monkeypatch) as statements:
        store_files.detach(connection, store, one)
    assert len(statements) < FEW_STATEMENTS
    assert attached(connection, store) == {two, *entries[:2]}
    assert {job.state for job in jobs_of(connection, store.organisation) if job.subject in entries[2:]} == {
        "cancelled"
    }
    assert len(list_files(connection, store.organisation, limit=1_000).items) == MANY + 2


def codes(connection: Connection[Any], organisation: str) -> dict[str | None, str | None]:
    """The error codes of the jobs by the ids of their files."""
    return {job.subject: job.error_code for job in jobs_of(connection, organisation)}


def test_cancelling_a_container_cancels_its_entries_and_queueing_it_again_attaches_them(
    connection: Connection[Any], store: VectorStore
) -> None:
    organisation, entries = store.organisation, make_files(connection, store.organisation, 5)
    one = make_container(connection, organisation, entries)
    two = make_container(connection, organisation, entries[:1])
    attach(connection, store, [one, two, *entries])
    parent = store_files.get_store_file(connection, organisation, store.id, one)
    with connection.transaction():
        cancelled = cancel_with_entries(connection, get_job(connection, organisation, parent.job))
    assert cancelled.state == "cancelled"
    expected = {
        one: "cancelled",
        two: None,
        entries[0]: None,
        **dict.fromkeys(entries[1:], CONTAINER_CANCELLED),
    }
    assert codes(connection, organisation) == expected  # entries[0] is an entry of two as well
    queue.replay(connection, organisation, parent.job)
    options: dict[str, Any] = {"pipeline_version": "1", "before": cancelled.created_at}
    assert attach_entries(connection, store, parent, **options) == len(entries) - 1
    assert attach_entries(connection, store, parent, **options) == 0


def test_cancelling_a_file_batch_cancels_the_entries_of_its_containers(
    connection: Connection[Any], store: VectorStore
) -> None:
    entries = make_files(connection, store.organisation, 3)
    container = make_container(connection, store.organisation, entries)
    batch = file_batches.create_batch(connection, store, [Attachment(file=container)])
    attach(connection, store, entries)
    file_batches.cancel_batch(connection, store, batch.id)
    found = codes(connection, store.organisation)
    assert [found[entry] for entry in entries] == [CONTAINER_CANCELLED] * 3
    assert found[container] == "cancelled"
