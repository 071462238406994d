"""The last attempt at a document is recorded; a failed attempt keeps the searchable version."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents import documents
from cluster.documents.documents import DocumentAttempt, DocumentContent, OutcomeCount
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.store_upkeep import delete_store_rows
from cluster.documents.vector_stores.stores import VectorStore, delete_store
from cluster.errors import Conflict
from cluster.records import Fact, Outcome

CONTENT = DocumentContent(
    media_type="text/plain",
    bytes=100,
    pages=3,
    pages_with_text=2,
    chunks=5,
    tokens=400,
    keywords=["heron", "pond"],
)


@pytest.fixture
def attempt(store: VectorStore) -> DocumentAttempt:
    return DocumentAttempt(
        organisation=store.organisation,
        id="doc_1",
        vector_store=store.id,
        source="file:///a.txt",
        source_stamp="100:1",
        version="v1",
        job="job_1",
        content_hash="first",
    )


def known(connection: Connection[Any], attempt: DocumentAttempt) -> documents.KnownDocument | None:
    return documents.known_documents(
        connection, attempt.organisation, attempt.vector_store, [attempt.id]
    ).get(attempt.id)


def test_a_success_is_recorded_with_its_content(
    connection: Connection[Any], attempt: DocumentAttempt
) -> None:
    assert known(connection, attempt) is None
    documents.record_success(connection, attempt, CONTENT)
    assert known(connection, attempt) == documents.KnownDocument(
        id="doc_1",
        source="file:///a.txt",
        source_stamp="100:1",
        outcome=Outcome.OK,
        detail="",
        attempted_hash="first",
        attempted_version="v1",
        content_hash="first",
        pages=3,
        chunks=5,
        tokens=400,
    )


def test_a_partly_read_document_is_searchable_and_names_the_missing_part(
    connection: Connection[Any], attempt: DocumentAttempt
) -> None:
    partial = replace(
        CONTENT, outcome=Outcome.PARTIAL_TEXT, detail="page 3 is a picture", facts={Fact.UNREAD_PAGES: 1}
    )
    documents.record_success(connection, attempt, partial)
    row = known(connection, attempt)
    assert row is not None
    assert (row.outcome, row.detail, row.content_hash, row.chunks) == (
        Outcome.PARTIAL_TEXT,
        "page 3 is a picture",
        "first",
        5,
    )
    assert not row.outcome.may_change
    facts = "SELECT facts FROM documents WHERE organisation = %s AND id = %s"
    assert connection.execute(facts, [attempt.organisation, attempt.id]).fetchone() == ({"unread_pages": 1},)
    documents.record_success(connection, attempt, CONTENT)
    row = known(connection, attempt)
    assert row is not None
    assert (row.outcome, row.detail) == (Outcome.OK, "")


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.OK, Outcome.PARTIAL_TEXT}))
def test_other_outcomes_cannot_be_recorded_as_a_success(
    connection: Connection[Any], attempt: DocumentAttempt, outcome: Outcome
) -> None:
    with pytest.raises(ValueError, match=outcome):
        documents.record_success(connection, attempt, replace(CONTENT, outcome=outcome))


def test_a_failure_after_a_success_keeps_the_searchable_version(
    connection: Connection[Any], attempt: DocumentAttempt
) -> None:
    documents.record_success(connection, attempt, CONTENT)
    again = replace(attempt, source_stamp="90:2", version="v2", content_hash="cut short", job="job_2")
    documents.record_failure(connection, again, Outcome.CORRUPT, "the file ends in the middle")
    row = known(connection, attempt)
    assert row is not None
    assert (row.outcome, row.detail, row.source_stamp) == (
        Outcome.CORRUPT,
        "the file ends in the middle",
        "90:2",
    )
    assert (row.attempted_hash, row.attempted_version) == ("cut short", "v2")
    assert (row.content_hash, row.pages, row.chunks, row.tokens) == ("first", 3, 5, 400)


def test_a_success_after_a_failure_clears_its_reason(
    connection: Connection[Any], attempt: DocumentAttempt
) -> None:
    documents.record_failure(
        connection, replace(attempt, content_hash=None), Outcome.UNREADABLE, "no permission"
    )
    row = known(connection, attempt)
    assert row is not None
    assert (row.outcome, row.attempted_hash, row.content_hash, row.chunks) == (
        Outcome.UNREADABLE,
        None,
        None,
        0,
    )
    documents.record_success(connection, attempt, CONTENT)
    row = known(connection, attempt)
    assert row is not None
    assert (row.outcome, row.detail, row.content_hash) == (Outcome.OK, "", "first")


def test_touching_changes_only_the_stamp(connection: Connection[Any], attempt: DocumentAttempt) -> None:
    documents.record_success(connection, attempt, CONTENT)
    before = known(connection, attempt)
    assert before is not None
    documents.touch(connection, attempt.organisation, attempt.id, "100:9")
    assert known(connection, attempt) == replace(before, source_stamp="100:9")


def test_a_rolled_back_success_leaves_nothing(connection: Connection[Any], attempt: DocumentAttempt) -> None:
    with connection.transaction(force_rollback=True):
        documents.record_success(connection, attempt, CONTENT)
    assert known(connection, attempt) is None


def test_outcomes_are_counted_separately(
    connection: Connection[Any], store: VectorStore, attempt: DocumentAttempt
) -> None:
    for i in range(3):
        documents.record_success(connection, replace(attempt, id=f"doc_{i}"), CONTENT)
    documents.record_failure(
        connection, replace(attempt, id="doc_bad"), Outcome.ENCRYPTED, "protected by a password"
    )
    assert documents.count_by_outcome(connection, store.organisation, store.id) == [
        OutcomeCount(outcome=Outcome.ENCRYPTED, documents=1, pages=0, chunks=0, tokens=0),
        OutcomeCount(outcome=Outcome.OK, documents=3, pages=9, chunks=15, tokens=1200),
    ]


def test_a_long_list_is_read_page_by_page(
    connection: Connection[Any], store: VectorStore, attempt: DocumentAttempt
) -> None:
    ids = [f"doc_{i}" for i in range(5)]
    for id in ids:
        documents.record_success(connection, replace(attempt, id=id), CONTENT)
    seen: list[str] = []
    while page := documents.list_documents(
        connection, store.organisation, store.id, after=seen[-1] if seen else "", limit=2
    ):
        seen += [document.id for document in page]
    assert seen == ids


def test_another_organisation_sees_and_changes_nothing(
    connection: Connection[Any], store: VectorStore, attempt: DocumentAttempt, stranger: str
) -> None:
    documents.record_success(connection, attempt, CONTENT)
    assert documents.known_documents(connection, stranger, store.id, [attempt.id]) == {}
    assert documents.list_documents(connection, stranger, store.id) == []
    assert documents.count_by_outcome(connection, stranger, store.id) == []
    assert documents.delete_document(connection, stranger, attempt.id) is False
    documents.touch(connection, stranger, attempt.id, "tampered")
    with pytest.raises(Conflict), translated():
        documents.record_success(connection, replace(attempt, organisation=stranger), CONTENT)
    row = known(connection, attempt)
    assert row is not None
    assert row.source_stamp == attempt.source_stamp


def test_deleting_a_document_or_its_store_deletes_its_record(
    connection: Connection[Any], store: VectorStore, attempt: DocumentAttempt, index: ChunkIndex
) -> None:
    documents.record_success(connection, attempt, CONTENT)
    assert documents.delete_document(connection, store.organisation, attempt.id) is True
    assert known(connection, attempt) is None
    documents.record_success(connection, attempt, CONTENT)
    delete_store(connection, store.organisation, store.id)
    while delete_store_rows(connection, store.organisation, store.id):
        pass
    assert known(connection, attempt) is None


def test_two_writers_of_a_new_document_take_turns(pool: ConnectionPool, organisation: str) -> None:
    order: list[str] = []
    held = threading.Event()

    def second() -> None:
        held.wait()
        with pool.connection() as connection:
            documents.lock_document(connection, organisation, "doc_new")
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with pool.connection() as connection:
        documents.lock_document(connection, organisation, "doc_new")
        with pool.connection() as other:
            documents.lock_document(
                other, organisation, "doc_other"
            )  # another document's writer does not wait
        held.set()
        thread.join(0.3)
        assert thread.is_alive()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
