"""Read a sample of the chunks of a vector store, with their vectors.

sample(pool, indexes.of(store), store, limit=1_000)
"""

from dataclasses import replace

import numpy as np
from psycopg import sql
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from cluster.database import snapshot, translated
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.chunks.chunk_statements import ChunkStatements
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.vector_index.collections import look_up
from cluster.vector_index.contract import FLOAT32_BYTES

#: Maximum number of chunks in a sample.
MAX_POINTS = 2_000
#: Maximum number of bytes of all vectors of a sample together. If the vectors are long, the sample has fewer
#: than ``MAX_POINTS`` chunks.
MAX_VECTOR_BYTES = 16 * 1024 * 1024
#: In a store with given vectors (vectors that callers compute), the maximum number of chunks from which the
#: sample is chosen. The number is limited because the ids of all these chunks must be hashed.
MAX_HASHED_IDS = 1_000_000


class SampleStatements(ChunkStatements):
    """Builds the statements that read a sample, for one collection's chunk table."""

    def first_rows(self) -> sql.Composed:
        """Select the rows with the lowest ids. The ids of chunks of documents are hashes, so these rows are
        spread over the whole store.
        """
        return self._format(
            """
            SELECT id, document, text, attributes, embedding AS vector FROM {table}
            WHERE {owned} ORDER BY id LIMIT %(limit)s
            """
        )

    def spread_rows(self) -> sql.Composed:
        """Select the rows whose ids have the lowest hashes, among the ``hashed`` rows with the lowest ids.

        Callers choose the ids of given vectors, so the chunks with the lowest ids may be similar.
        """
        return self._format(
            """
            SELECT id, document, text, attributes, embedding AS vector FROM {table}
            WHERE {owned} AND id = ANY(ARRAY(
                SELECT id FROM (
                    SELECT id FROM {table} WHERE {owned} ORDER BY id LIMIT %(hashed)s) AS ids
                ORDER BY hashtextextended(id, 0), id LIMIT %(limit)s))
            ORDER BY id
            """
        )


def sample(pool: ConnectionPool, index: ChunkIndex, store: VectorStore, *, limit: int) -> list[ChunkRecord]:
    """Return chunks that are spread over the store, with their vectors, ordered by id.

    The same store gives the same sample until its chunks change. A chunk whose vector is not stored is left
    out.

    Args:
        limit: maximum number of chunks. ``MAX_POINTS`` and ``MAX_VECTOR_BYTES`` may allow fewer chunks.
    """
    limit = min(limit, MAX_POINTS, max(1, MAX_VECTOR_BYTES // (store.fingerprint.dim * FLOAT32_BYTES)))
    statements = SampleStatements(store.collection)
    statement = statements.spread_rows() if store.fingerprint.given else statements.first_rows()
    values = {"organisation": store.organisation, "store": store.id, "limit": limit, "hashed": MAX_HASHED_IDS}
    with translated(), snapshot(pool) as connection:
        if look_up(connection, store.collection) is None:  # without its collection, the store has no chunk
            return []
        with connection.cursor(row_factory=dict_row, binary=True) as cursor:
            rows = [_record(row) for row in cursor.execute(statement, values)]
    if index.external is not None and rows:
        vectors = index.external.fetch(
            store.organisation,
            store.id,
            [row.id for row in rows],
            collection=index.collection(store.collection),
        )
        rows = [replace(row, vector=vectors.get(row.id)) for row in rows]
    return [row for row in rows if row.vector is not None]


def _record(row: dict[str, object]) -> ChunkRecord:
    vector = row.pop("vector")
    return ChunkRecord(
        **row,  # type: ignore[arg-type]
        vector=None if vector is None else np.asarray(vector.to_numpy(), dtype=np.float32),  # type: ignore[attr-defined]
    )
