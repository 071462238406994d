"""Vectors to a vector database: one contract, one adapter a database.

index = open_vector_index(settings, pool)
"""

from psycopg_pool import ConnectionPool

from cluster.settings import Settings
from cluster.vector_index.contract import Hit, Metric, Mode, Row, VectorIndex, Written, collection_name

__all__ = ["Hit", "Metric", "Mode", "Row", "VectorIndex", "Written", "collection_name", "open_vector_index"]


def open_vector_index(settings: Settings, pool: ConnectionPool) -> VectorIndex:
    """The settings' vector index: pgvector in our own Postgres."""
    from cluster.vector_index.pgvector.index import PgvectorIndex  # noqa: PLC0415  one adapter is loaded, not all

    del settings  # other databases are chosen by it
    return PgvectorIndex(pool)
