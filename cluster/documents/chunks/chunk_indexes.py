"""Open the chunk index of a store: our chunk table together with the vector index of the store.

indexes = ChunkIndexes(settings, pool)
indexes.of(store).search_all(...)
"""

import structlog
from psycopg_pool import ConnectionPool

from cluster.documents import outbox
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Conflict, InvalidInput, Misconfigured
from cluster.settings import Settings
from cluster.vector_index import open_vector_index
from cluster.vector_index.contract import ExternalIndex

log = structlog.get_logger(__name__)


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
        """Chunk index for a new store, if the request for the store names no index."""
        return self._named(self._settings.vector_index)

    def chosen(self, name: str | None) -> ChunkIndex:
        """Return the chunk index that the caller chose by name for a new store; None means the default.

        Raises:
            InvalidInput: the settings name no such index.
        """
        return self._named(chosen_index(self._settings, name))

    def of(self, store: VectorStore) -> ChunkIndex:
        """Return the chunk index that has the store's vectors.

        Raises:
            Conflict: the settings do not name the store's index. The message names the index and the remedy.
        """
        require_index(self._settings, store)
        return self._named(store.index)

    def settle(self, store: VectorStore) -> None:
        """Reconcile an external index with the store's chunks; see ``ChunkIndex.settle``.

        If the store's index is not configured, the outbox keeps the entries.
        """
        if store.index in self._settings.index_sources:
            self._named(store.index).settle(store.organisation, store.id)

    def empty_outbox(self, *, limit_s: float) -> int:
        """Reconcile external indexes with the chunks of all stores; see ``outbox.empty``."""
        return outbox.empty(self._pool, self._external, limit_s=limit_s)

    def external_indexes(self) -> dict[str, ExternalIndex]:
        """Return the configured external indexes by name. Indexes that cannot be opened are left out."""
        found = {}
        for name in self._settings.index_sources:
            try:
                index = self._named(name).external
            except Misconfigured as exc:
                log.warning("vector_index_not_opened", index=name, reason=str(exc))
                continue
            if index is not None:
                found[name] = index
        return found

    def _named(self, name: str) -> ChunkIndex:
        if name not in self._opened:
            index = open_vector_index(name, self._settings, self._pool)
            self._opened[name] = ChunkIndex(self._pool, index, name=name)
        return self._opened[name]

    def _external(self, name: str) -> ExternalIndex:
        index = self._named(name).external
        assert index is not None, f"{name} has no outbox"
        return index


def chosen_index(settings: Settings, name: str | None) -> str:
    """Return the name of the index that a new store gets; None means the default.

    Raises:
        InvalidInput: the settings name no such index.
    """
    if name is not None and name not in settings.index_sources:
        raise InvalidInput(
            f"no vector index {name!r} is configured; there are: {', '.join(settings.index_sources)} "
            "(CLUSTER_INDEXES)",
            param="index",
        )
    return name or settings.vector_index


def require_index(settings: Settings, store: VectorStore) -> None:
    """Check that the settings name the store's index, so that the vectors can be read and written.

    Raises:
        Conflict: the settings do not name the store's index. The message names the index and the remedy.
    """
    if store.index not in settings.index_sources:
        raise Conflict(
            f"vector store {store.id!r} keeps its vectors in the index {store.index!r}, which is not "
            f"configured here (there are: {', '.join(settings.index_sources)}); add it to "
            "CLUSTER_INDEXES, or delete the store"
        )


def open_chunk_index(settings: Settings, pool: ConnectionPool) -> ChunkIndex:
    """Return the chunk index for new stores whose request names no index."""
    return ChunkIndexes(settings, pool).default
