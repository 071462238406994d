"""Store the chunks in our Postgres: the texts, attributes and full-text words of the current chunks.

Code that reads or deletes chunks in its own transaction calls this module, and so does ``indexing``, which
writes chunks and vectors together. A chunk is current while its row is in the chunk table. A new version
of a document replaces the rows of the old version in the transaction that records the new version.

    with connection.transaction():
        delete_documents(connection, "default", "vs_1", [document], collection="m_minilm_0123")

If the store keeps its vectors in pgvector, the vector is in the chunk's row too; see
``cluster.vector_index``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg import Connection, sql
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.row_security import protect
from cluster.database.scoped_connection import owner_within
from cluster.documents.chunks.chunk_rows import Accepted, ChunkRecord
from cluster.documents.chunks.chunk_statements import ChunkStatements
from cluster.documents.chunks.word_statements import CONFIGURATIONS, WordStatements
from cluster.errors import Conflict, InvalidInput, Permanent
from cluster.vector_index.collections import (
    COLLECTION_NAME,
    MAX_DIMENSIONS,
    Collection,
    Metric,
    look_up,
)
from cluster.vector_index.contract import ScoredId
from cluster.vector_index.filter_sql import condition
from cluster.vector_index.filters import Filter
from cluster.vector_index.words import WORDS_VERSION, words

METRICS: tuple[Metric, ...] = ("cosine", "dot", "euclidean")
SCAN_BATCH = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """Chunks that a statement changed or deleted."""

    #: Number of chunks.
    count: int
    #: Ids of the chunks whose vectors are in an external index.
    outside: Sequence[str]


def ensure_table(
    connection: Connection[Any], name: str, *, dim: int, metric: Metric = "cosine"
) -> Collection:
    """Make the collection and its chunk table if they do not exist. Safe to repeat and to call concurrently.

    Raises:
        Conflict: the collection exists with another dimension or metric.
        InvalidInput: the name is not ``[a-z][a-z0-9_]{0,39}``, or dim is not in 1..16000.
    """
    if not COLLECTION_NAME.fullmatch(name):
        raise InvalidInput(f"collection {name!r} must match {COLLECTION_NAME.pattern}")
    if not 1 <= dim <= MAX_DIMENSIONS or metric not in METRICS:
        raise InvalidInput(
            f"collection {name!r}: dim must be in 1..16000 and metric one of {', '.join(METRICS)}"
        )
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('collection/' || %s, 0))", [name])
        found = look_up(connection, name)
        if found is None:
            with owner_within(connection):
                connection.execute(
                    "INSERT INTO vector_collections (name, dim, metric, words_version)"
                    " VALUES (%s, %s, %s, %s)",
                    [name, dim, metric, WORDS_VERSION],
                )
                statements = ChunkStatements(name)
                connection.execute(statements.create_table(dim))
                protect(connection, statements.table_name)
            return Collection(name=name, dim=dim, metric=metric)
    if (found.dim, found.metric) != (dim, metric):
        raise Conflict(
            f"collection {name!r} has dim {found.dim} and metric {found.metric}, not {dim} and {metric}"
        )
    return found


def merge(
    connection: Connection[Any],
    organisation: str,
    store: str,
    rows: Sequence[Accepted],
    *,
    collection: str,
    kept: Sequence[str],
) -> int:
    """Insert or update rows, which are given in order of their ids. Returns the number of rows that are new
    or have changed.

    Args:
        kept: ids of rows that are given without a vector because their vector is stored already. A row
            without a vector keeps its stored vector.

    Raises:
        Permanent: rows of ``kept`` are not stored; their ids are in ``row_ids``.
    """
    statements = ChunkStatements(collection)
    owner = {"organisation": organisation, "store": store}
    if kept:
        stored = connection.execute(statements.lock_kept(), {**owner, "kept": list(kept)})
        missing = set(kept).difference(id for (id,) in stored)
        if missing:
            raise Permanent(
                f"{len(missing)} rows without vector are not stored, for example {min(missing)!r}",
                row_ids=sorted(missing),
            )
    connection.execute(statements.open_incoming())
    with connection.cursor().copy(statements.copy_incoming()) as copy:
        copy.set_types(["text", "text", "text", "jsonb", "text", "vector", "text", "text"])
        for row in rows:
            spelt = words(row[2])
            copy.write_row((*row, spelt.text, spelt.letters))
    return connection.execute(statements.merge(), owner).rowcount


def insert_new(connection: Connection[Any], rows: bytes, *, collection: str) -> bool:
    """Insert rows with their vectors if none of the rows is stored. This is much faster than ``merge``.

    Returns False, and writes nothing, if a row is stored already. Call this function only if the rows are
    probably new, because the key of a stored row stops the copy, and the rows that were copied before it are
    discarded.

    Args:
        rows: from ``binary_copy.binary_rows``.
    """
    try:
        with (
            connection.transaction(),
            owner_within(connection),  # Postgres refuses COPY under row-level security
            connection.cursor().copy(ChunkStatements(collection).copy_new()) as copy,
        ):
            copy.write(rows)
    except UniqueViolation:
        return False
    return True


def lock_document(
    connection: Connection[Any], organisation: str, store: str, document: str, *, collection: str
) -> None:
    """Make other writers of the document's chunks wait until the transaction ends."""
    owner = {"organisation": organisation, "store": store, "document": document}
    connection.execute(ChunkStatements(collection).lock_document(), owner)


def delete_others(
    connection: Connection[Any], organisation: str, store: str, document: str, *, collection: str
) -> Changed:
    """Delete the document's rows that were not among the rows of the last ``merge`` of this transaction."""
    owner = {"organisation": organisation, "store": store, "document": document}
    return _changed(connection, ChunkStatements(collection).delete_others(), owner)


def stored_ids(
    connection: Connection[Any], organisation: str, store: str, document: str, *, collection: str
) -> set[str]:
    """Return the ids of the document's chunks."""
    owner = {"organisation": organisation, "store": store, "document": document}
    return {id for (id,) in connection.execute(ChunkStatements(collection).ids(), owner)}


def document_chunks(
    connection: Connection[Any], organisation: str, store: str, document: str, *, collection: str
) -> list[ChunkRecord]:
    """Return the document's chunks without their vectors, ordered by id."""
    owner = {"organisation": organisation, "store": store, "document": document}
    return _records(connection, ChunkStatements(collection).document(), owner)


def fetch(
    connection: Connection[Any], organisation: str, store: str, ids: Sequence[str], *, collection: str
) -> dict[str, ChunkRecord]:
    """Return the current chunks with these ids, without their vectors, by id."""
    values = {"organisation": organisation, "store": store, "ids": list(ids)}
    records = _records(connection, ChunkStatements(collection).fetch(), values)
    return {record.id: record for record in records}


def passing_ids(
    connection: Connection[Any],
    organisation: str,
    store: str,
    ids: Sequence[str],
    *,
    collection: str,
    filter: Filter | None,
) -> set[str]:
    """Return the given ids whose chunks are current and pass the filter."""
    values: dict[str, Any] = {"organisation": organisation, "store": store, "ids": list(ids)}
    where = sql.SQL("true") if filter is None else condition(filter, values)
    return {id for (id,) in connection.execute(ChunkStatements(collection).passing(where), values)}


def rank_by_text(
    connection: Connection[Any],
    organisation: str,
    store: str,
    text: str,
    *,
    collection: str,
    k: int,
    filter: Filter | None,
    configurations: Sequence[str],
) -> list[list[ScoredId]]:
    """Return two rankings of at most k chunks each: by the words of the text, and by the text as a phrase.

    Args:
        configurations: at least one text search configuration. Chunks with other configurations are not
            found.
    """
    statements = WordStatements(collection)
    values: dict[str, Any] = {"organisation": organisation, "store": store, "words": words(text).text}
    where = sql.SQL("true") if filter is None else condition(filter, values)
    values["k"] = k
    with connection.cursor(row_factory=class_row(ScoredId)) as cursor:
        return [
            cursor.execute(statement, values).fetchall()
            for statement in (
                statements.by_words(where, configurations),
                statements.by_phrase(where, configurations),
            )
        ]


def text_configurations(connection: Connection[Any], organisation: str, store: str) -> list[str]:
    """Return the text search configurations of the store's chunks."""
    owner = {"organisation": organisation, "store": store}
    return [name for (name,) in connection.execute(CONFIGURATIONS, owner)]


def set_attributes(
    connection: Connection[Any],
    organisation: str,
    store: str,
    attributes: Mapping[str, Mapping[str, Any]],
    *,
    collection: str,
) -> Changed:
    """Replace the attributes of the chunks whose ids are the keys of ``attributes``. A chunk that has the
    given attributes already does not change.
    """
    ids = sorted(attributes)
    values = {
        "organisation": organisation,
        "store": store,
        "ids": ids,
        "attributes": [Jsonb(dict(attributes[id])) for id in ids],
    }
    return _changed(connection, ChunkStatements(collection).set_attributes(), values)


def delete_documents(
    connection: Connection[Any], organisation: str, store: str, documents: Sequence[str], *, collection: str
) -> Changed:
    """Delete the chunks of the documents."""
    values = {"organisation": organisation, "store": store, "documents": list(documents)}
    if look_up(connection, collection) is None:  # a store without a collection never had a chunk
        return Changed(count=0, outside=())
    return _changed(connection, ChunkStatements(collection).delete_documents(), values)


def delete_chunks(
    connection: Connection[Any], organisation: str, store: str, ids: Sequence[str], *, collection: str
) -> Changed:
    """Delete the chunks with these ids."""
    values = {"organisation": organisation, "store": store, "ids": list(ids)}
    return _changed(connection, ChunkStatements(collection).delete_ids(), values)


def delete_store(
    connection: Connection[Any], organisation: str, store: str, *, collection: str, limit: int
) -> Changed:
    """Delete at most ``limit`` chunks of the store."""
    owner = {"organisation": organisation, "vector_store": store}
    if look_up(connection, collection) is None:
        return Changed(count=0, outside=())
    statement = ChunkStatements(collection).delete_some(list(owner))
    return _changed(connection, statement, {**owner, "limit": limit})


def count(connection: Connection[Any], organisation: str, store: str, *, collection: str) -> int:
    """Return the number of chunks in the store."""
    owner = {"organisation": organisation, "store": store}
    row = connection.execute(ChunkStatements(collection).count(), owner).fetchone()
    assert row is not None
    return int(row[0])


def scan(pool: ConnectionPool, organisation: str, store: str, *, collection: str) -> Iterator[ChunkRecord]:
    """Yield every chunk of the store, ordered by id. The number of chunks in memory is limited. The vector of
    a chunk is None if the chunk's row has no vector.
    """
    statement, owner = ChunkStatements(collection).scan(), {"organisation": organisation, "store": store}
    with (
        translated(),
        pool.connection() as connection,
        connection.cursor(name="scan", row_factory=dict_row) as cursor,
    ):
        cursor.itersize = SCAN_BATCH
        for row in cursor.execute(statement, owner, binary=True):
            vector = row.pop("vector")
            yield ChunkRecord(
                **row, vector=None if vector is None else np.asarray(vector.to_numpy(), dtype=np.float32)
            )


def _changed(connection: Connection[Any], statement: sql.Composed, values: Mapping[str, Any]) -> Changed:
    rows = connection.execute(statement, values).fetchall()
    return Changed(count=len(rows), outside=[id for id, outside in rows if outside])


def _records(
    connection: Connection[Any], statement: sql.Composed, values: Mapping[str, Any]
) -> list[ChunkRecord]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return [ChunkRecord(**row, vector=None) for row in cursor.execute(statement, values)]
