"""Find or create the vector store of a bulk ingest, from the options of the run.

store = target_store(connection, settings, "handbook", IngestOptions(model="small"))
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.documents.chunks.chunk_indexes import chosen_index
from cluster.documents.vector_stores import stores
from cluster.engines import Registry, describe
from cluster.errors import Conflict, InvalidInput
from cluster.formats.recognition import OcrMode
from cluster.settings import Settings
from data_jobs.stages.chunkers.table import chunker_for, find_chunker


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestOptions:
    """The options of one run of the ingest command."""

    #: Name of the model of a new store; None: the default model. An existing store keeps its model.
    model: str | None = None
    #: Name of the index of a new store; None: the default index. An existing store keeps its index.
    index: str | None = None
    #: Name of the chunker of a new store; None: the default chunker. An existing store keeps its chunker.
    chunker: str | None = None
    #: Mode of optical character recognition in this run; None: the mode of the store.
    ocr: OcrMode | None = None
    #: Languages of the text to recognise in this run; None: the languages of the store.
    ocr_languages: str | None = None
    #: True to read every document again, even if its size and modification time are unchanged.
    verify: bool = False
    #: True to embed with the Batch API of the model's provider.
    provider_batch: bool = False


DEFAULTS = IngestOptions()


def target_store(
    connection: Connection[Any], settings: Settings, name: str, options: IngestOptions
) -> stores.VectorStore:
    """Return the store; create it with the chosen model, index and chunker if it does not exist.

    Raises:
        NotFound: the name is an id, and no store has this id.
        InvalidInput: no model, index or chunker has the chosen name, no store can have this name, or the
            store's chunker cannot be used with the Batch API of a provider.
        Conflict: the store exists with another model, index or chunker, or the settings of this node do not
            have the store's model.
    """
    registry, (model, index) = Registry(settings), (options.model, options.index)
    store = stores.ensure_store(
        connection,
        settings.organisation,
        name,
        fingerprint=describe(registry.default if model is None else registry.named(model)),
        index=chosen_index(settings, index),
        chunking_strategy=None if options.chunker is None else find_chunker(options.chunker).strategy,
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
    chunker = chunker_for(store.chunking_strategy)
    if options.chunker not in (None, chunker.name):
        raise Conflict(
            f"vector store {name!r} cuts documents with the chunker {chunker.name} and not with "
            f"{options.chunker}; leave out --chunker, or change the chunking_strategy of the store "
            "(POST /v1/vector_stores/{id})"
        )
    if chunker.needs_vectors and options.provider_batch:
        raise InvalidInput(
            f"the chunker {chunker.name} needs vectors at once, so vector store {name!r} cannot be filled "
            "through a Batch API; leave out --provider-batch"
        )
    registry.of(store.fingerprint)  # fails if this node lacks the model of an existing store
    return store
