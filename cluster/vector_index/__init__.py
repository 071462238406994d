"""Vector indexes for chunks: one contract, and one adapter for each vector database.

index = open_vector_index("pgvector", settings, pool)
"""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType

from psycopg_pool import ConnectionPool

from cluster.errors import Misconfigured
from cluster.settings import Settings
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


#: The index in our own Postgres, which every installation has.
PGVECTOR = "pgvector"
#: Maps the name of an index to the module and function that open it. The function takes the settings and a
#: pool of connections to our Postgres.
ADAPTERS: Mapping[str, str] = MappingProxyType(
    {PGVECTOR: "cluster.vector_index.pgvector.index:open_pgvector"}
)


def open_vector_index(name: str, settings: Settings, pool: ConnectionPool) -> VectorIndex:
    """Open the vector index with this name: a key of ``ADAPTERS``, or ``module:function`` from the settings.

    Raises:
        Misconfigured: the settings do not name the index, or the index cannot be imported.
    """
    if name not in ADAPTERS and name != settings.vector_index:
        raise Misconfigured(
            f"the vectors lie in the index {name!r}, which is not configured here: "
            f"set CLUSTER_VECTOR_INDEX={name}"
        )
    module, _, function = ADAPTERS.get(name, name).partition(":")
    try:
        index: VectorIndex = getattr(import_module(module), function)(settings, pool)
    except (ImportError, AttributeError, ValueError) as exc:
        names = ", ".join(ADAPTERS)
        raise Misconfigured(
            f"the vector index {name!r} cannot be opened: {exc}; "
            f"CLUSTER_VECTOR_INDEX must be {names}, or module:function"
        ) from exc
    return index
