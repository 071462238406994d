"""Open the vector indexes of chunks. All indexes have one contract, and each vector database has an adapter.

The settings (``CLUSTER_INDEXES``) give each index a name and a kind, and a vector store keeps the name of its
index. Indexes of several kinds work side by side.

index = open_vector_index("pgvector", settings, pool)
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from psycopg_pool import ConnectionPool

from cluster.errors import Misconfigured
from cluster.settings import Settings
from cluster.settings.indexes import PGVECTOR, PINECONE
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
    "ADAPTERS",
    "PGVECTOR",
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


#: Maps a kind of index to the module and function that open it. The function takes the settings, a pool of
#: connections to our Postgres, and the name of the index. An operator's own ``module:function`` takes only
#: the settings and the pool.
ADAPTERS: Mapping[str, str] = MappingProxyType(
    {
        PGVECTOR: "cluster.vector_index.pgvector.index:open_pgvector",
        PINECONE: "cluster.vector_index.pinecone.index:open_pinecone",
    }
)


def open_vector_index(name: str, settings: Settings, pool: ConnectionPool) -> VectorIndex:
    """Open the vector index that has this name in the settings.

    Raises:
        Misconfigured: the settings do not name the index, or the index cannot be imported or opened.
    """
    source = settings.index_sources.get(name)
    if source is None:
        raise Misconfigured(
            f"the vectors are in the index {name!r}, which is not configured here; add it to CLUSTER_INDEXES "
            f"(there are: {', '.join(settings.index_sources)})"
        )
    module, _, function = ADAPTERS.get(source.kind, source.kind).partition(":")
    arguments = (settings, pool, name) if source.kind in ADAPTERS else (settings, pool)
    try:
        index: VectorIndex = getattr(import_module(module), function)(*arguments)
    except (ImportError, AttributeError, ValueError) as exc:
        raise Misconfigured(
            f"the vector index {name!r} cannot be opened: {exc}; correct it in CLUSTER_INDEXES or "
            "CLUSTER_VECTOR_INDEX"
        ) from exc
    return index
