"""Check that a store can take the chunks of another store or of a file.

require_fits(store, fingerprint, index=None)
"""

from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.stores import ID, VectorStore, find_store
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.settings import Settings
from cluster.vector_index import collection_name


def index_for(settings: Settings, index: str | None) -> str:
    """Return the name of the index for the vectors of a new store.

    Args:
        index: the name that the caller asked for; None: ``CLUSTER_VECTOR_INDEX``.

    Raises:
        InvalidInput: no index of the settings has this name.
    """
    name = index or settings.vector_index
    if name not in settings.index_sources:
        raise InvalidInput(
            f"--index {name} names no index; there are: {', '.join(settings.index_sources)}. Add it to "
            "CLUSTER_INDEXES, or name one of these"
        )
    return name


def prepare_index(
    pool: ConnectionPool,
    indexes: ChunkIndexes,
    settings: Settings,
    name: str,
    fingerprint: Fingerprint,
    *,
    index: str | None,
) -> None:
    """If there is no store with this name, make the index of a new store ready for vectors with this
    fingerprint. Call this function before the store is created, because a store never changes its index.

    Raises:
        InvalidInput: no index of the settings has the name ``index``.
        Conflict: the index has vectors of another length.
    """
    chosen = index_for(settings, index)
    try:
        with translated(), pool.connection() as connection:
            find_store(connection, settings.organisation, name)
    except NotFound:
        if not ID.match(name):
            indexes.chosen(chosen).ensure(collection_name(fingerprint), dim=fingerprint.dim)


def require_fits(store: VectorStore, fingerprint: Fingerprint, *, index: str | None) -> None:
    """Check that vectors with this fingerprint can be written to the store.

    Args:
        fingerprint: the fingerprint of the vectors to write.
        index: name of the index that the caller asked for; None: the index of the store.

    Raises:
        Conflict: the store holds vectors of another model, or keeps its vectors in another index.
    """
    name = store.name or store.id
    if store.fingerprint.id != fingerprint.id:
        raise Conflict(
            f"vector store {name!r} holds vectors of {store.fingerprint.id}, and those to write are of "
            f"{fingerprint.id}; vectors of two models cannot be compared. Name another or a new vector store"
        )
    if index is not None and store.index != index:
        raise Conflict(
            f"vector store {name!r} keeps its vectors in the index {store.index!r}, not in {index!r}; leave "
            "out --index, or name a new vector store"
        )
