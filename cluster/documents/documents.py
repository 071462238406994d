"""Record, for each document, the last attempt, its outcome, and the version that is searchable now.

The plan of a bulk run reads the documents (``known_documents``). The write stage of the run records attempts
in the transaction that writes the chunks.

    with connection.transaction():
        lock_document(connection, organisation, document)
        ...                                            # write the chunks
        record_success(connection, DocumentAttempt(...), DocumentContent(...))
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.database.queries import queries
from cluster.records import SEARCHABLE, Facts, Outcome

SQL = queries("cluster.documents", "documents.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownDocument:
    """A document with its last attempt and its searchable version."""

    id: str
    #: Place from which the document was read.
    source: str
    #: Size and modification time of the source, or the etag of the source, at the last attempt; None if no
    #: stamp is recorded.
    source_stamp: str | None
    #: Outcome of the last attempt.
    outcome: Outcome
    #: The reason for the outcome, as a sentence.
    detail: str
    #: Hash of the bytes at the last attempt; None if the bytes could not be read.
    attempted_hash: str | None
    #: Pipeline version of the last attempt.
    attempted_version: str
    #: Hash of the bytes of the searchable version; None until an attempt succeeds.
    content_hash: str | None
    #: Number of pages of the searchable version.
    pages: int
    #: Number of chunks of the searchable version.
    chunks: int
    #: Number of tokens of the searchable version, without special tokens.
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentAttempt:
    """One attempt to read and index a document, with any outcome."""

    organisation: str
    id: str
    vector_store: str
    source: str
    source_stamp: str
    #: Pipeline version.
    version: str
    job: str
    #: SHA-256 of the bytes; None if the bytes could not be read.
    content_hash: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentContent:
    """The content that a successful attempt found in a document."""

    media_type: str
    bytes: int
    pages: int
    pages_with_text: int
    chunks: int
    #: Number of tokens, without special tokens.
    tokens: int
    keywords: Sequence[str]
    #: ``OK``, or ``PARTIAL_TEXT`` with a detail that names the part that could not be read.
    outcome: Outcome = Outcome.OK
    detail: str = ""
    #: Facts about how the document was read.
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeCount:
    """Holds totals of the documents of a store that have one outcome."""

    outcome: Outcome
    documents: int
    pages: int
    chunks: int
    tokens: int


def known_documents(
    connection: Connection[Any], organisation: str, vector_store: str, ids: Sequence[str]
) -> dict[str, KnownDocument]:
    """Return the documents of the store with these ids, by id. An id without a record is left out."""
    values = {"organisation": organisation, "vector_store": vector_store, "ids": list(ids)}
    return {known.id: known for known in _select(connection, "known", values)}


def list_documents(
    connection: Connection[Any], organisation: str, vector_store: str, *, after: str = "", limit: int = 100
) -> list[KnownDocument]:
    """Return a page of the store's documents, ordered by id. The page begins with the first id after
    ``after``.
    """
    return _select(
        connection,
        "list",
        {"organisation": organisation, "vector_store": vector_store, "after": after, "limit": limit},
    )


def lock_document(connection: Connection[Any], organisation: str, id: str) -> None:
    """Make other writers of this document wait until the transaction ends."""
    connection.execute(SQL["lock"], {"organisation": organisation, "id": id})


def record_success(connection: Connection[Any], attempt: DocumentAttempt, content: DocumentContent) -> None:
    """Record an attempt that found text. The version that the attempt read is searchable as soon as the
    caller commits the transaction.

    Raises:
        ValueError: the outcome of the content is not in ``SEARCHABLE``.
    """
    if content.outcome not in SEARCHABLE:
        raise ValueError(f"a document that ended {content.outcome} is not searchable")
    converted = {"keywords": list(content.keywords), "facts": Jsonb(dict(content.facts))}
    connection.execute(SQL["record_success"], {**asdict(attempt), **asdict(content), **converted})


def record_failure(
    connection: Connection[Any], attempt: DocumentAttempt, outcome: Outcome, detail: str
) -> None:
    """Record an attempt after which no new text is searchable. An earlier searchable version stays
    searchable.
    """
    connection.execute(SQL["record_failure"], {**asdict(attempt), "outcome": outcome, "detail": detail})


def touch(connection: Connection[Any], organisation: str, id: str, source_stamp: str) -> None:
    """Record the new stamp of a source whose bytes have not changed since the last attempt."""
    connection.execute(SQL["touch"], {"organisation": organisation, "id": id, "source_stamp": source_stamp})


def count_by_outcome(connection: Connection[Any], organisation: str, vector_store: str) -> list[OutcomeCount]:
    """Return the totals of the store's documents for each outcome that occurs."""
    values = {"organisation": organisation, "vector_store": vector_store}
    with connection.cursor(row_factory=dict_row) as cursor:
        return [
            OutcomeCount(**{**row, "outcome": Outcome(row["outcome"])})
            for row in cursor.execute(SQL["count_by_outcome"], values)
        ]


def delete_document(connection: Connection[Any], organisation: str, id: str) -> bool:
    """Delete the document's record, but not its chunks. Returns True if there was a record."""
    return connection.execute(SQL["delete"], {"organisation": organisation, "id": id}).rowcount > 0


def _select(connection: Connection[Any], statement: str, values: dict[str, Any]) -> list[KnownDocument]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [
            KnownDocument(**{**row, "outcome": Outcome(row["outcome"])})
            for row in cursor.execute(SQL[statement], values)
        ]
