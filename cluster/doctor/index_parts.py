"""Checks that each configured vector index can be opened, and that each external index answers and can hold
the vectors of its stores.
"""

from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.doctor.ailment import SQL
from cluster.doctor.report import PartCheck
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.errors import ClusterError
from cluster.settings import Settings
from cluster.vector_index.collections import Collection

NAME = "indexes"
#: A collection that no store has. Counting its vectors shows whether an index answers.
PROBE = Collection(name="doctor", dim=1, metric="cosine")


def indexes(settings: Settings, pool: ConnectionPool) -> PartCheck:
    """Check that each configured index can be opened, and that each external index answers and can hold the
    vectors of its stores.
    """
    sources, troubles = settings.index_sources, []
    opened = ChunkIndexes(settings, pool)
    for name in sources:
        try:
            external = opened.chosen(name).external
            if external is not None:
                external.count("doctor", "doctor", collection=PROBE)
                for collection in _collections(pool, name):
                    external.ensure(collection)
        except ClusterError as exc:
            troubles.append(f"{name}: {exc}")
    if troubles:
        remedy = "correct CLUSTER_INDEXES, or the key that it names"
        return PartCheck(name=NAME, fine=False, says="; ".join(troubles), remedy=remedy)
    return PartCheck(name=NAME, fine=True, says=f"every configured index answers: {', '.join(sources)}")


def _collections(pool: ConnectionPool, index: str) -> list[Collection]:
    """Return the collections of the stores on this index."""
    with translated(), pool.connection() as connection:
        rows = connection.execute(SQL["collections_in_index"], {"index": index})
        return [Collection(name=name, dim=dim, metric=metric) for name, dim, metric in rows]
