"""Read the chunks of a store with their vectors, document by document, and compare the chunks of two stores.

Called by the commands that copy, export and import stores.

    with snapshot(pool) as connection:
        rows = chunks_of(connection, index, store, ["doc_1", "doc_2"])
    compare(connection, store, other).equal
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents.chunks.chunk_rows import ROWS_PER_TRANSACTION, ChunkRecord, batches
from cluster.documents.chunks.copy_statements import CopyStatements
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Counts the chunks in which two stores differ. A chunk of one store is compared with the chunk of the
    other store that has the same id.
    """

    only_first: int
    only_second: int
    #: Number of chunks that both stores have, but with another text, other attributes or another vector.
    #: Vectors are compared only if our Postgres holds the vectors of both stores.
    different: int

    @property
    def equal(self) -> bool:
        """True if the stores have the same chunks."""
        return not (self.only_first or self.only_second or self.different)


def chunks_of(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, documents: Sequence[str]
) -> list[ChunkRecord]:
    """Return the chunks of some documents with their vectors, ordered by document and id. The vector of a
    chunk is None if an external index does not have the vector.
    """
    statement = CopyStatements(store.collection).of_documents()
    values = {"organisation": store.organisation, "store": store.id, "documents": list(documents)}
    with connection.cursor(row_factory=dict_row, binary=True) as cursor:
        rows = [_record(row) for row in cursor.execute(statement, values)]
    return [record for part in batches(rows, ROWS_PER_TRANSACTION) for record in _filled(index, store, part)]


def chunks_without_document(
    connection: Connection[Any], index: ChunkIndex, store: VectorStore, size: int
) -> Iterator[list[ChunkRecord]]:
    """Yield lists of the chunks whose document has no record in ``documents``, such as given vectors. The
    chunks are ordered by id.

    Args:
        connection: must be in a transaction that stays open until the iteration ends.
        size: number of chunks in each list; the last list may be shorter.
    """
    statement = CopyStatements(store.collection).without_document()
    values = {"organisation": store.organisation, "store": store.id}
    with connection.cursor(name="chunks_without_document", row_factory=dict_row) as cursor:
        cursor.itersize = ROWS_PER_TRANSACTION
        rows = map(_record, cursor.execute(statement, values, binary=True))
        for part in batches(rows, size):
            yield _filled(index, store, part)


def compare(connection: Connection[Any], first: VectorStore, second: VectorStore) -> Difference:
    """Compare the chunks of two stores of one organisation and one collection."""
    values = {"organisation": first.organisation, "store": first.id, "other": second.id}
    row = connection.execute(CopyStatements(first.collection).compare(), values).fetchone()
    assert row is not None
    return Difference(only_first=row[0], only_second=row[1], different=row[2])


def some_ids(connection: Connection[Any], store: VectorStore, limit: int) -> list[str]:
    """Return the ids of at most ``limit`` chunks of the store. The ids with the lowest hashes are chosen,
    because such ids are spread over the whole store.
    """
    values = {"organisation": store.organisation, "store": store.id, "limit": limit}
    return [id for (id,) in connection.execute(CopyStatements(store.collection).some_ids(), values)]


def vectors_of(
    pool: ConnectionPool, index: ChunkIndex, store: VectorStore, ids: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of the chunks with these ids, (dim,) float32 each, by id. The vectors are read from
    our Postgres or from the external index of the store.
    """
    if index.external is not None:
        collection = index.collection(store.collection)
        return index.external.fetch(store.organisation, store.id, ids, collection=collection)
    values = {"organisation": store.organisation, "store": store.id, "ids": list(ids)}
    with translated(), pool.connection() as connection:
        rows = connection.execute(CopyStatements(store.collection).vectors(), values, binary=True)
        return {id: np.asarray(vector.to_numpy(), dtype=np.float32) for id, vector in rows}


def _record(row: dict[str, Any]) -> ChunkRecord:
    vector = row.pop("vector")
    return ChunkRecord(
        **row, vector=None if vector is None else np.asarray(vector.to_numpy(), dtype=np.float32)
    )


def _filled(index: ChunkIndex, store: VectorStore, rows: list[ChunkRecord]) -> list[ChunkRecord]:
    """If an external index holds the vectors, add the vectors to the rows. Return the rows."""
    if index.external is None or not rows:
        return rows
    ids = [row.id for row in rows]
    vectors = index.external.fetch(
        store.organisation, store.id, ids, collection=index.collection(store.collection)
    )
    return [replace(row, vector=vectors.get(row.id)) for row in rows]
