"""Documents: what was tried last, how it ended, and which version is searchable now.

Called by the plan of a bulk run (``known_documents``) and by the write stage, inside its transaction.

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
    """What the ledger knows of a document."""

    id: str
    #: Where it was read from.
    source: str
    #: Size and modification time or etag at the last attempt.
    source_stamp: str | None
    #: How the last attempt ended, and why in a sentence.
    outcome: Outcome
    detail: str
    #: Hash of the bytes of the last attempt; None when they could not be read.
    attempted_hash: str | None
    #: Pipeline version of the last attempt.
    attempted_version: str
    #: Hash of the bytes that are searchable now; None until a first attempt succeeds.
    content_hash: str | None
    #: Of the searchable version; tokens without special tokens.
    pages: int
    chunks: int
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentAttempt:
    """One try at a document, whichever way it ended."""

    organisation: str
    id: str
    vector_store: str
    source: str
    source_stamp: str
    #: Pipeline version.
    version: str
    job: str
    #: SHA-256 of the bytes; None when they could not be read.
    content_hash: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentContent:
    """What a successful try found in a document."""

    media_type: str
    bytes: int
    pages: int
    pages_with_text: int
    chunks: int
    #: Special tokens not counted.
    tokens: int
    keywords: Sequence[str]
    #: ``OK``, or ``PARTIAL_TEXT`` with a detail that says which part could not be read.
    outcome: Outcome = Outcome.OK
    detail: str = ""
    #: What was found out while reading.
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomeCount:
    """Sums over a store's documents with one outcome."""

    outcome: Outcome
    documents: int
    pages: int
    chunks: int
    tokens: int


def known_documents(
    connection: Connection[Any], organisation: str, vector_store: str, ids: Sequence[str]
) -> dict[str, KnownDocument]:
    """Those of the documents that the ledger has seen, by id."""
    values = {"organisation": organisation, "vector_store": vector_store, "ids": list(ids)}
    return {known.id: known for known in _select(connection, "known", values)}


def list_documents(
    connection: Connection[Any], organisation: str, vector_store: str, *, after: str = "", limit: int = 100
) -> list[KnownDocument]:
    """A page of the store's documents, ordered by id; the next page is the one ``after`` the last id of this."""
    return _select(
        connection,
        "list",
        {"organisation": organisation, "vector_store": vector_store, "after": after, "limit": limit},
    )


def lock_document(connection: Connection[Any], organisation: str, id: str) -> None:
    """Keep every other writer of this document out until the transaction ends."""
    connection.execute(SQL["lock"], {"organisation": organisation, "id": id})


def record_success(connection: Connection[Any], attempt: DocumentAttempt, content: DocumentContent) -> None:
    """The attempt found text, and its version is the searchable one from this transaction on.

    Raises:
        ValueError: an outcome without anything to search.
    """
    if content.outcome not in SEARCHABLE:
        raise ValueError(f"a document that ended {content.outcome} is not searchable")
    converted = {"keywords": list(content.keywords), "facts": Jsonb(dict(content.facts))}
    connection.execute(SQL["record_success"], {**asdict(attempt), **asdict(content), **converted})


def record_failure(
    connection: Connection[Any], attempt: DocumentAttempt, outcome: Outcome, detail: str
) -> None:
    """The attempt ended otherwise; the version that is searchable stays so."""
    connection.execute(SQL["record_failure"], {**asdict(attempt), "outcome": outcome, "detail": detail})


def touch(connection: Connection[Any], organisation: str, id: str, source_stamp: str) -> None:
    """The source was read again and its bytes are those of the last attempt."""
    connection.execute(SQL["touch"], {"organisation": organisation, "id": id, "source_stamp": source_stamp})


def count_by_outcome(connection: Connection[Any], organisation: str, vector_store: str) -> list[OutcomeCount]:
    """Sums over the store's documents, a line for each outcome that occurs."""
    values = {"organisation": organisation, "vector_store": vector_store}
    with connection.cursor(row_factory=dict_row) as cursor:
        return [
            OutcomeCount(**{**row, "outcome": Outcome(row["outcome"])})
            for row in cursor.execute(SQL["count_by_outcome"], values)
        ]


def delete_document(connection: Connection[Any], organisation: str, id: str) -> bool:
    """Forget the document; its vectors are the index's to delete. True when it was there."""
    return connection.execute(SQL["delete"], {"organisation": organisation, "id": id}).rowcount > 0


def _select(connection: Connection[Any], statement: str, values: dict[str, Any]) -> list[KnownDocument]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [
            KnownDocument(**{**row, "outcome": Outcome(row["outcome"])})
            for row in cursor.execute(SQL[statement], values)
        ]
