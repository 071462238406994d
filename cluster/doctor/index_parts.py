"""Checks whether the configured vector indexes answer."""

from psycopg_pool import ConnectionPool

from cluster.doctor.report import PartCheck
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.errors import ClusterError
from cluster.settings import Settings
from cluster.vector_index.collections import Collection

NAME = "indexes"
#: A collection that no store has. Counting its vectors shows whether an index answers.
PROBE = Collection(name="doctor", dim=1, metric="cosine")


def indexes(settings: Settings, pool: ConnectionPool) -> PartCheck:
    """Check that each configured index answers."""
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
    return PartCheck(name=NAME, fine=True, says=f"every configured index answers: {', '.join(sources)}")
