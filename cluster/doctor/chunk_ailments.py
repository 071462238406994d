"""Finds and mends documents without their chunks, chunks without their document, and outdated full text."""

from collections.abc import Sequence
from math import inf
from typing import Any

from psycopg import Connection, sql

from cluster.database import translated
from cluster.doctor.ailment import SQL, Ailment, Case, Patient
from cluster.doctor.file_ailments import attach_again
from cluster.documents.chunks import chunk_changes
from cluster.documents.chunks.chunk_words import renew_words
from cluster.documents.documents import lock_document
from cluster.jobs.kinds import DELETE_STORE
from cluster.vector_index.collections import is_of_given_vectors, table_name
from cluster.vector_index.words import WORDS_VERSION


def _in_each_collection(patient: Patient, statement: str) -> list[Case]:
    found = []
    with translated(), patient.pool.connection() as connection:
        for (name,) in connection.execute(SQL["collections"]).fetchall():
            if is_of_given_vectors(name):
                continue  # chunks of given vectors have no documents
            for row in connection.execute(
                _about(statement, name), {"collection": name, "deletion": DELETE_STORE.name}
            ):
                found.append(_case(statement, row, name))
    return found


def _about(statement: str, collection: str) -> sql.Composed:
    return sql.SQL(SQL[statement]).format(table=sql.Identifier(table_name(collection)))


def _case(statement: str, row: tuple[Any, ...], collection: str) -> Case:
    if statement == "chunks_without_document":
        organisation, store, document = row
    else:
        organisation, document, store = row
    return Case(organisation=organisation, id=document, facts=(store, collection))


def _delete_chunks(patient: Patient, cases: Sequence[Case]) -> None:
    for case in cases:
        store, collection = case.facts
        with translated(), patient.pool.connection() as connection:
            lock_document(connection, case.organisation, case.id)
            if not _is_there(connection, case, store):
                chunk_changes.delete_document(
                    connection, case.organisation, store, case.id, collection=collection
                )


def _is_there(connection: Connection[Any], case: Case, store: str) -> bool:
    values = {"organisation": case.organisation, "document": case.id, "store": store}
    return connection.execute(SQL["document_is_there"], values).fetchone() is not None


def process_again(patient: Patient, cases: Sequence[Case]) -> None:
    """Mark each document as not embedded, and queue a new job if the document is an attached file.

    An ingested document is embedded again by the next ingest.
    """
    for case in cases:
        store, _ = case.facts
        key = {"organisation": case.organisation, "document": case.id, "store": store}
        with translated(), patient.pool.connection() as connection:
            lock_document(connection, case.organisation, case.id)
            connection.execute(SQL["forget_content"], key)
            attached = connection.execute(SQL["attached_as"], key).fetchone()
        if attached is not None:
            attach_again(patient, case.organisation, store, attached[0])


def _with_old_words(patient: Patient) -> list[Case]:
    found = []
    with translated(), patient.pool.connection() as connection:
        for (name,) in connection.execute(SQL["collections"]).fetchall():
            statement = sql.SQL(SQL["stores_with_old_words"]).format(
                table=sql.Identifier(table_name(name)),
                collection=sql.Literal(name),
                version=sql.Literal(WORDS_VERSION),
            )
            found += [
                Case(organisation=row[0], id=row[1], facts=(row[2],)) for row in connection.execute(statement)
            ]
    return found


def _renew(patient: Patient, cases: Sequence[Case]) -> None:
    for collection in sorted({case.facts[0] for case in cases}):
        renew_words(patient.pool, limit_s=inf, collection=collection, again=True)


CHUNKS = Ailment(
    name="chunks_without_document",
    says="chunks whose document is gone are still found by searches",
    remedy="deletes the chunks",
    find=lambda patient: _in_each_collection(patient, "chunks_without_document"),
    mend=_delete_chunks,
)
DOCUMENTS = Ailment(
    name="documents_without_chunks",
    says="documents are recorded as searchable, but some of their chunks are missing",
    remedy="queues new jobs for attached files; for ingested documents, run their ingest again afterwards",
    find=lambda patient: _in_each_collection(patient, "documents_without_chunks"),
    mend=process_again,
)
WORDS = Ailment(
    name="stores_with_old_words",
    says="vector stores hold chunks that an older version wrote; searches by words may miss them",
    remedy="renews their full text while searches and writes go on; workers do so too, every ten minutes",
    find=_with_old_words,
    mend=_renew,
)
