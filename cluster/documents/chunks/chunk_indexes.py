"""Open the chunk index of a store: our chunk table together with the vector index of the store.

indexes = ChunkIndexes(settings, pool)
indexes.of(store).search_all(...)
"""

from psycopg_pool import ConnectionPool

from cluster.documents import outbox
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.settings import Settings
from cluster.vector_index import open_vector_index
from cluster.vector_index.contract import ExternalIndex


class ChunkIndexes:
    """Opens one chunk index for each vector index at the first use, and keeps it open.

    Args:
        pool: connections to our Postgres.
    """

    def __init__(self, settings: Settings, pool: ConnectionPool) -> None:
        self._settings = settings
        self._pool = pool
        self._opened: dict[str, ChunkIndex] = {}

    @property
    def default(self) -> ChunkIndex:
        """The chunk index for new stores."""
        return self._named(self._settings.vector_index)

    def of(self, store: VectorStore) -> ChunkIndex:
        """Return the chunk index that has the store's vectors.

        Raises:
            Misconfigured: the settings do not name the store's index.
        """
        return self._named(store.index)

    def empty_outbox(self, *, limit_s: float) -> int:
        """Reconcile external indexes with the chunks of all stores; see ``outbox.empty``."""
        return outbox.empty(self._pool, self._external, limit_s=limit_s)

    def _named(self, name: str) -> ChunkIndex:
        if name not in self._opened:
            index = open_vector_index(name, self._settings, self._pool)
            self._opened[name] = ChunkIndex(self._pool, index, name=name)
        return self._opened[name]

    def _external(self, name: str) -> ExternalIndex:
        index = self._named(name).external
        assert index is not None, f"{name} has no outbox"
        return index


def open_chunk_index(settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    """Return the chunk index for new stores."""
    return ChunkIndexes(settings, pool).default
