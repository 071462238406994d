"""Where the vectors of chunks lie: one contract, one adapter for each vector database.

index = open_vector_index("pgvector", pool)
"""

from psycopg_pool import ConnectionPool

from cluster.vector_index.collections import Collection, Metric, collection_name
from cluster.vector_index.contract import (
    Capabilities,
    ExternalIndex,
    Mode,
    ScoredId,
    TransactionalIndex,
    VectorIndex,
    VectorRecord,
    Written,
)

__all__ = [
    "Capabilities",
    "Collection",
    "ExternalIndex",
    "Metric",
    "Mode",
    "ScoredId",
    "TransactionalIndex",
    "VectorIndex",
    "VectorRecord",
    "Written",
    "collection_name",
    "open_vector_index",
]


def open_vector_index(pool: ConnectionPool) -> VectorIndex:
    """The vector index: pgvector in our own Postgres."""
    from cluster.vector_index.pgvector.index import PgvectorIndex  # noqa: PLC0415  one adapter is loaded, not all

    return PgvectorIndex(pool)
