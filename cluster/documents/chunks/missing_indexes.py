"""Find and build approximate indexes that are missing.

A bulk load drops the approximate index of its collection and builds the index at its end. If the load is
cancelled between these steps, the index stays missing, and searches compare all rows of a store. Workers call
this module every ten minutes. ``make doctor`` with ``--mend`` calls it too.

    build_missing(pool, indexes)                             # ["m_minilm_0123"]: they lacked an index
"""

from typing import cast

from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.database.queries import queries
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.jobs.kinds import BULK_INSERT_VECTORS, COPY_STORE, IMPORT_STORE, INGEST
from cluster.settings.indexes import PGVECTOR
from cluster.vector_index.contract import TransactionalIndex

SQL = queries("cluster.documents.chunks", "missing_indexes.sql")
#: Kinds of the jobs that drop the approximate index, and build it at their end. The subject of such a job is
#: the store.
LOADS = (BULK_INSERT_VECTORS, COPY_STORE, IMPORT_STORE, INGEST)


def collections_without_index(pool: ConnectionPool, indexes: ChunkIndexes) -> list[str]:
    """Return the collections in our Postgres that are large enough for an approximate index and have none.
    Leave out a collection while a load into one of its stores runs.
    """
    values = {"index": PGVECTOR, "loads": [kind.name for kind in LOADS]}
    with translated(), pool.connection() as connection:
        names = [name for (name,) in connection.execute(SQL["indexed_here"], values)]
    index = indexes.chosen(PGVECTOR)
    vectors = cast(TransactionalIndex, index.vectors)
    return [name for name in names if vectors.lacks_approximate(index.collection(name))]


def build_missing(pool: ConnectionPool, indexes: ChunkIndexes) -> list[str]:
    """Build the missing approximate indexes while searches and writes continue. Return the collections that
    lacked an index.

    If another process is building an index, this call does not wait for that process.
    """
    names = collections_without_index(pool, indexes)
    index = indexes.chosen(PGVECTOR)
    for name in names:
        index.vectors.optimise(index.collection(name))
    return names
