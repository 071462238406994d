"""Checks whether the configured vector indexes answer, and whether every store's index is configured."""

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
    """Check that each configured index answers, and that the index of every store is configured."""
    sources, troubles = settings.index_sources, []
    opened = ChunkIndexes(settings, pool)
    for name in sources:
        try:
            external = opened.chosen(name).external
            if external is not None:
                external.count("doctor", "doctor", collection=PROBE)
        except ClusterError as exc:
            troubles.append(f"{name}: {exc}")
    if troubles:
        remedy = "correct CLUSTER_INDEXES, or the key that it names"
        return PartCheck(name=NAME, fine=False, says="; ".join(troubles), remedy=remedy)
    with translated(), pool.connection() as connection:
        others = connection.execute(SQL["stores_in_other_indexes"], {"indexes": list(sources)}).fetchall()
    if others:
        says = "; ".join(f"{stores} vector stores are on {index}" for index, stores in others)
        return PartCheck(
            name=NAME,
            fine=False,
            says=f"{says}, which CLUSTER_INDEXES does not have",
            remedy="add it to CLUSTER_INDEXES, or delete the stores",
        )
    return PartCheck(name=NAME, fine=True, says=f"every vector store has its index: {', '.join(sources)}")
