"""Find or create the vector store of a bulk ingest, from the options of the run.

store = target_store(connection, settings, "handbook", IngestOptions(model="small"))
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.documents.chunks.chunk_indexes import chosen_index
from cluster.documents.vector_stores import stores
from cluster.engines import Registry, describe
from cluster.errors import Conflict
from cluster.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestOptions:
    """The options of one run of the ingest command."""

    #: Name of the model of a new store; None: the default model. An existing store keeps its model.
    model: str | None = None
    #: Name of the index of a new store; None: the default index. An existing store keeps its index.
    index: str | None = None
    #: True to read every document again, even if its size and modification time are unchanged.
    verify: bool = False
    #: True to embed with the Batch API of the model's provider.
    provider_batch: bool = False


DEFAULTS = IngestOptions()


def target_store(
    connection: Connection[Any], settings: Settings, name: str, options: IngestOptions
) -> stores.VectorStore:
    """Return the store; create it with the chosen model and index if it does not exist.

    Raises:
        NotFound: the name is an id, and no store has this id.
        InvalidInput: no model or index has the chosen name, or no store can have this name.
        Conflict: the store exists with another model or index, or the settings of this node do not have the
            store's model.
    """
    registry, (model, index) = Registry(settings), (options.model, options.index)
    store = stores.ensure_store(
        connection,
        settings.organisation,
        name,
        fingerprint=describe(registry.default if model is None else registry.named(model)),
        index=chosen_index(settings, index),
    )
    if model is not None and store.fingerprint.model != model:
        raise Conflict(
            f"vector store {name!r} holds vectors of {store.fingerprint.model} and takes none of {model}; "
            "leave out --model, or name a new vector store"
        )
    if index is not None and store.index != index:
        raise Conflict(
            f"vector store {name!r} keeps its vectors in the index {store.index} and not in {index}; leave "
            "out --index, name a new vector store, or copy the store (python -m data_jobs.copy_store)"
        )
    registry.of(store.fingerprint)  # fails if this node lacks the model of an existing store
    return store
