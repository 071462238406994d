"""/v1/vector_stores as in OpenAI's API: create, list, get, change and delete vector stores.

A store has more fields than in OpenAI's API: ``embedding_model``, ``dimensions``, ``description``,
``chunking_strategy``, ``ocr``, ``ocr_languages``, ``partial`` and ``index``. A request for a
new store can also set the priority of the jobs for its files.
"""

from typing import Annotated, Any, Literal, Self

from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores import stores
from cluster.documents.vector_stores.attaching import Attachment, attach_many
from cluster.documents.vector_stores.rechunking import change_store
from cluster.documents.vector_stores.store_usage import StoreUsage, usage_of
from cluster.documents.vector_stores.stores import NewStore, VectorStore
from cluster.engines.contract import Fingerprint
from cluster.engines.registry import NO_MODEL
from cluster.errors import InvalidInput
from cluster.formats.recognition import OcrMode
from cluster.vector_index import collection_name
from cluster.vector_index.collections import MAX_DIMENSIONS
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import PositiveWhole, Text
from serve_app.edge.response_model import ListObject, Omissible, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.vector_store_fields import (
    AutoChunking,
    ChunkingStrategy,
    FileCountsObject,
    Metadata,
    Name,
    NamedChunking,
    OcrFields,
    Priority,
    RequestedClass,
    StaticChunking,
    StoreExpiryRequest,
    chunking_of,
    queue_options,
    stored_json,
)
from serve_app.service import Service

#: Maximum number of files of a new store, as in OpenAI's API. A file batch can attach more.
MAX_FILES_OF_A_NEW_STORE = 500

router = json_router(404)

Partial = Annotated[
    bool, Field(description="Index the readable pages of a document that also has pages which cannot be read")
]


class CreateStoreRequest(OcrFields):
    """OpenAI's CreateVectorStoreRequest, with `embedding_model`, `dimensions`, `ocr`, `ocr_languages`,
    `partial`, `index`, `priority_class` and `priority` added."""

    name: Name | None = None
    """Name of the store; a search may use it in place of the id."""
    description: Name | None = None
    """Text about the store, for people."""
    embedding_model: Text | None = None
    """Name of the model that computes the store's vectors, as in `GET /v1/models`; by default, the default
    model. It cannot be changed later. `none`: callers give the vectors, see
    `POST /v1/vector_stores/{vector_store_id}/vectors`."""
    dimensions: Annotated[PositiveWhole, Field(le=MAX_DIMENSIONS)] | None = None
    """Count of the numbers in a vector, for a store whose `embedding_model` is `none`."""
    file_ids: Annotated[list[Text], Field(max_length=MAX_FILES_OF_A_NEW_STORE)] | None = None
    """Ids of files to attach to the new store."""
    expires_after: StoreExpiryRequest | None = None
    """When the store expires; by default, it never expires."""
    chunking_strategy: ChunkingStrategy | None = None
    metadata: Metadata | None = None
    partial: Partial = False
    index: Text | None = None
    """Name of the vector index that stores the vectors, from `CLUSTER_INDEXES`. It never changes. By default,
    the default index of the server."""
    priority_class: RequestedClass | None = None
    priority: Priority | None = None


class UpdateStoreRequest(OcrFields):
    """OpenAI's UpdateVectorStoreRequest, with `description`, `partial`, `chunking_strategy`, `ocr` and
    `ocr_languages` added. Null removes a value. A new value of one of the last three queues a job that
    indexes the files of the store again.
    """

    NULL_CLEARS = frozenset(
        {"name", "expires_after", "metadata", "description", "partial"}
        | {"chunking_strategy", "ocr", "ocr_languages"}
    )

    name: Name | None = None
    """New name of the store."""
    expires_after: StoreExpiryRequest | None = None
    """When the store expires."""
    metadata: Metadata | None = None
    description: Name | None = None
    """New text about the store."""
    partial: Partial | None = None
    chunking_strategy: ChunkingStrategy | None = None


class StoreExpiry(ResponseModel):
    """The rule that a vector store expires some days after its last use."""

    anchor: Literal["last_active_at"]
    """Always `last_active_at`: the time of the last search or attachment."""
    days: int
    """Days after the anchor."""


class VectorStoreObject(ResponseModel):
    """OpenAI's VectorStoreObject, with `embedding_model`, `dimensions`, `description`, `chunking_strategy`,
    `ocr`, `ocr_languages`, `partial` and `index` added."""

    id: str
    """Id of the store, `vs_...`."""
    object: Literal["vector_store"] = "vector_store"
    """Always `vector_store`."""
    created_at: int
    """Time of creation, in seconds since 1970."""
    name: str
    """Name of the store; empty if the store has no name."""
    description: str
    """Text about the store; empty if the store has no such text."""
    embedding_model: str | None
    """Name of the model that computes the store's vectors; null if callers give the vectors."""
    dimensions: int
    """Count of the numbers in a vector."""
    usage_bytes: int
    """Bytes of the files and documents in the store."""
    file_counts: FileCountsObject
    """Numbers of attached files by status."""
    status: Literal["expired", "in_progress", "completed"]
    """`in_progress` while a file is being processed, otherwise `completed`; `expired` after
    `expires_at` has passed."""
    last_active_at: int
    """Time of the last search or attachment, to the minute, in seconds since 1970."""
    expires_at: int | None
    """Time at which the store expires, in seconds since 1970; null if the store never expires."""
    metadata: dict[str, str]
    """Named texts that the caller stored with the store."""
    chunking_strategy: Annotated[AutoChunking | StaticChunking | NamedChunking, Field(discriminator="type")]
    """How files without a strategy of their own are cut into chunks."""
    ocr: OcrMode | None
    """Mode of recognition for files without a mode of their own; null: the setting of the workers."""
    ocr_languages: str | None
    """Languages of the text to recognise, such as `deu+eng`; null: the setting of the workers."""
    partial: bool
    """True if the readable pages of a document are indexed even if its other pages cannot be read."""
    index: str
    """Name of the vector index that stores the vectors."""
    expires_after: Omissible[StoreExpiry] = None
    """The rule for the time at which the store expires; left out if the store never expires."""

    @classmethod
    def of(cls, store: VectorStore, usage: StoreUsage) -> Self:
        """Convert the store, with its usage, into the object that answers contain."""
        return cls(
            id=store.id,
            created_at=int(store.created_at.timestamp()),
            name=store.name,
            description=store.description,
            embedding_model=None if store.fingerprint.given else store.fingerprint.model,
            dimensions=store.fingerprint.dim,
            usage_bytes=usage.bytes,
            file_counts=FileCountsObject.of(usage.files),
            status="expired" if store.expired else "in_progress" if usage.files.in_progress else "completed",
            last_active_at=int(store.last_active_at.timestamp()),
            expires_at=None if store.expires_at is None else int(store.expires_at.timestamp()),
            metadata=store.metadata,
            chunking_strategy=chunking_of(store.chunking_strategy),
            ocr=store.ocr,
            ocr_languages=store.ocr_languages,
            partial=store.partial,
            index=store.index,
            expires_after=None
            if store.expires_after is None
            else StoreExpiry.model_validate(store.expires_after),
        )


class VectorStoreList(ListObject[VectorStoreObject]):
    """One page of the vector stores."""


class DeletedVectorStore(ResponseModel):
    """The confirmation that a vector store was deleted."""

    id: str
    """Id of the deleted store."""
    object: Literal["vector_store.deleted"] = "vector_store.deleted"
    """Always `vector_store.deleted`."""
    deleted: Literal[True] = True
    """Always true."""
    job_id: str
    """Id of the job that deletes the store's content."""


#: For each field, the value that is stored if an update sets the field to null. Otherwise null is stored.
VALUES_OF_NULL: dict[str, Any] = {"name": "", "description": "", "metadata": {}, "partial": False}


@router.post("/v1/vector_stores", summary="Create a vector store", response_model=VectorStoreObject)
async def create_store(
    body: CreateStoreRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Creates a vector store, and attaches the files of `file_ids` to it."""
    fingerprint = _fingerprint(service, body)

    def ensure(indexes: ChunkIndexes) -> str:
        index = indexes.chosen(body.index)
        index.ensure(collection_name(fingerprint), dim=fingerprint.dim)
        return index.name

    index = await service.in_database(lambda _, indexes: ensure(indexes))
    new = NewStore(
        name=body.name or "",
        description=body.description or "",
        metadata=body.metadata or {},
        chunking_strategy=stored_json(body.chunking_strategy),
        expires_after=stored_json(body.expires_after),
        ocr=body.ocr,
        ocr_languages=body.ocr_languages,
        partial=body.partial,
        index=index,
    )

    def create(connection: Connection[Any]) -> VectorStoreObject:
        store = stores.create_store(connection, organisation, new, fingerprint=fingerprint)
        attach_many(
            connection,
            store,
            [Attachment(file=file) for file in body.file_ids or []],
            **queue_options(service.settings, body),
        )
        return _object(connection, store)

    return await once(create)


@router.get("/v1/vector_stores", summary="List vector stores")
async def list_stores(page: PageDep, service: ServiceDep, organisation: Organisation) -> VectorStoreList:
    """Lists vector stores one page at a time, expired stores included."""

    def read(connection: Connection[Any]) -> VectorStoreList:
        found = stores.list_stores(connection, organisation, page)
        usage = usage_of(connection, organisation, [store.id for store in found.items])
        return VectorStoreList.of(
            found, lambda store: VectorStoreObject.of(store, usage[store.id]), lambda store: store.id
        )

    return await service.read(read)


@router.get("/v1/vector_stores/{vector_store_id}", summary="Get a vector store")
async def get_store(
    vector_store_id: str, service: ServiceDep, organisation: Organisation
) -> VectorStoreObject:
    """Returns the vector store with this id."""
    return await service.read(
        lambda connection: _object(connection, stores.get_store(connection, organisation, vector_store_id))
    )


@router.post(
    "/v1/vector_stores/{vector_store_id}",
    summary="Change a vector store",
    response_model=VectorStoreObject,
    responses=documented_errors(404, 409),
)
async def modify_store(
    vector_store_id: str, body: UpdateStoreRequest, organisation: Organisation, once: Once
) -> Response:
    """Changes the given fields; fields that are left out keep their values, and null removes a value."""
    changes = {
        name: VALUES_OF_NULL.get(name) if value is None else value
        for name, value in body.model_dump(exclude_unset=True).items()
    }
    return await once(
        lambda connection: _object(
            connection, change_store(connection, organisation, vector_store_id, changes)
        )
    )


@router.delete("/v1/vector_stores/{vector_store_id}", summary="Delete a vector store")
async def delete_store(
    vector_store_id: str, service: ServiceDep, organisation: Organisation
) -> DeletedVectorStore:
    """Hides the vector store at once, and queues a job that deletes its content.

    The files themselves are kept.
    """
    job = await service.in_transaction(
        lambda connection: stores.delete_store(connection, organisation, vector_store_id)
    )
    return DeletedVectorStore(id=vector_store_id, job_id=job.id)


def _fingerprint(service: Service, body: CreateStoreRequest) -> Fingerprint:
    """Return the fingerprint of the new store's vectors.

    Raises:
        ModelNotFound: no model has the requested name.
        NotPermitted: the caller's key does not allow the model.
        InvalidInput: the fields contradict each other, or `dimensions` is missing.
    """
    if body.embedding_model != NO_MODEL:
        if body.dimensions is not None:
            raise InvalidInput(
                f'dimensions is only for a store whose embedding_model is "{NO_MODEL}"; leave it out',
                param="dimensions",
            )
        models = service.models
        if body.embedding_model is None:
            return models.named(models.default.name).engine.fingerprint
        return models.named(body.embedding_model, param="embedding_model").engine.fingerprint
    if body.dimensions is None:
        raise InvalidInput(
            f'a store whose embedding_model is "{NO_MODEL}" needs the length of a vector; send dimensions',
            param="dimensions",
        )
    if body.file_ids:
        raise InvalidInput(
            f'file_ids is given, but a store whose embedding_model is "{NO_MODEL}" takes no files',
            param="file_ids",
        )
    return Fingerprint.of_given(body.dimensions)


def _object(connection: Connection[Any], store: VectorStore) -> VectorStoreObject:
    return VectorStoreObject.of(store, usage_of(connection, store.organisation, [store.id])[store.id])
