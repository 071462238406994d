"""Check that a store can take the chunks of another store or of a file.

require_fits(store, fingerprint, index=None)
"""

from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines.contract import Fingerprint
from cluster.errors import Conflict, InvalidInput
from cluster.settings import Settings


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
