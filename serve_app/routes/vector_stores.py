"""/v1/vector_stores, as OpenAI's API reference describes them: make, list, get, change, delete.

Beside OpenAI's fields: ``description``, ``chunking_strategy``, and ``partial``, with which the good pages of a bad document are
indexed. ``priority`` says how urgent the files are that a store is made with.
"""

from typing import Annotated, Any

from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.documents import stores
from cluster.documents.store_files import Attachment, attach_many
from cluster.documents.stores import FileCounts, NewStore, Usage, VectorStore
from cluster.vector_index import VectorIndex, collection_name
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep, listed
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.vector_store_fields import (
    ChunkingStrategy,
    ExpiresAfter,
    Metadata,
    Name,
    Priority,
    queue_options,
    stored_json,
)

#: As OpenAI's; more come as batches.
MAX_FILES_OF_A_NEW_STORE = 500

router = json_router(404)

Partial = Annotated[bool, Field(description="Index the good pages of a document that has bad ones")]


class CreateStoreRequest(RequestModel):
    """OpenAI's CreateVectorStoreRequest, and after ``metadata`` fields of ours."""

    name: Name | None = None
    description: Name | None = None
    file_ids: Annotated[list[Text], Field(max_length=MAX_FILES_OF_A_NEW_STORE)] | None = None
    expires_after: ExpiresAfter | None = None
    chunking_strategy: ChunkingStrategy | None = None
    metadata: Metadata | None = None
    partial: Partial = False
    priority: Priority | None = None


class UpdateStoreRequest(RequestModel):
    """OpenAI's UpdateVectorStoreRequest, and after ``metadata`` fields of ours. What is left out stays; null takes it away."""

    NULL_CLEARS = frozenset({"name", "expires_after", "metadata", "description", "partial"})

    name: Name | None = None
    expires_after: ExpiresAfter | None = None
    metadata: Metadata | None = None
    description: Name | None = None
    partial: Partial | None = None


#: What null means for a field of a store, where it is not null itself.
EMPTY: dict[str, Any] = {"name": "", "description": "", "metadata": {}, "partial": False}


@router.post("/v1/vector_stores", summary="Make a vector store")
async def create_store(
    body: CreateStoreRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """With the files named attached to it, if any."""
    fingerprint = service.engine.fingerprint
    await service.in_database(
        lambda _, index: index.ensure(collection_name(fingerprint), dim=fingerprint.dim)
    )
    new = NewStore(
        name=body.name or "",
        description=body.description or "",
        metadata=body.metadata or {},
        chunking_strategy=stored_json(body.chunking_strategy),
        expires_after=stored_json(body.expires_after),
        partial=body.partial,
    )

    def create(connection: Connection[Any], _: VectorIndex) -> dict[str, Any]:
        store = stores.create_store(connection, organisation, new, fingerprint=fingerprint)
        attach_many(
            connection,
            store,
            [Attachment(file=file) for file in body.file_ids or []],
            **queue_options(service.settings, body.priority),
        )
        return _shown(connection, store)

    return await once(create)


@router.get("/v1/vector_stores", summary="Vector stores")
async def list_stores(page: PageDep, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """A page of them, those that have expired too."""

    def read(connection: Connection[Any]) -> dict[str, Any]:
        found = stores.list_stores(connection, organisation, page)
        usage = stores.usage_of(connection, organisation, [store.id for store in found.items])
        return listed(found, lambda store: described(store, usage[store.id]), lambda store: store.id)

    return await service.read(read)


@router.get("/v1/vector_stores/{vector_store_id}", summary="One vector store")
async def get_store(vector_store_id: str, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """By its id."""
    return await service.read(
        lambda connection: _shown(connection, stores.get_store(connection, organisation, vector_store_id))
    )


@router.post(
    "/v1/vector_stores/{vector_store_id}",
    summary="Change a vector store",
    responses=documented_errors(404, 409),
)
async def modify_store(
    vector_store_id: str, body: UpdateStoreRequest, organisation: Organisation, once: Once
) -> Response:
    """Its name, description, metadata, expiry, or whether it takes documents in part."""
    changes = {
        name: EMPTY.get(name) if value is None else value
        for name, value in body.model_dump(exclude_unset=True).items()
    }
    return await once(
        lambda connection, _: _shown(
            connection, stores.update_store(connection, organisation, vector_store_id, changes)
        )
    )


@router.delete("/v1/vector_stores/{vector_store_id}", summary="Delete a vector store")
async def delete_store(
    vector_store_id: str, service: ServiceDep, organisation: Organisation
) -> dict[str, Any]:
    """It is hidden at once, and a job deletes what it holds. Its files stay."""
    job = await service.in_transaction(
        lambda connection, _: stores.delete_store(connection, organisation, vector_store_id)
    )
    return {"id": vector_store_id, "object": "vector_store.deleted", "deleted": True, "job_id": job.id}


def described(store: VectorStore, usage: Usage) -> dict[str, Any]:
    """OpenAI's VectorStoreObject, with fields of ours."""
    shown = {
        "id": store.id,
        "object": "vector_store",
        "created_at": int(store.created_at.timestamp()),
        "name": store.name,
        "description": store.description,
        "usage_bytes": usage.bytes,
        "file_counts": counts(usage.files),
        "status": "expired" if store.expired else "in_progress" if usage.files.in_progress else "completed",
        "last_active_at": int(store.last_active_at.timestamp()),
        "expires_at": None if store.expires_at is None else int(store.expires_at.timestamp()),
        "metadata": store.metadata,
        "chunking_strategy": store.chunking_strategy or {"type": "auto"},
        "partial": store.partial,
    }
    # Left out rather than null: OpenAI's schema has no null for it.
    return shown if store.expires_after is None else {**shown, "expires_after": store.expires_after}


def counts(files: FileCounts) -> dict[str, int]:
    """OpenAI's ``file_counts``."""
    return {
        "in_progress": files.in_progress,
        "completed": files.completed,
        "failed": files.failed,
        "cancelled": files.cancelled,
        "total": files.total,
    }


def _shown(connection: Connection[Any], store: VectorStore) -> dict[str, Any]:
    return described(store, stores.usage_of(connection, store.organisation, [store.id])[store.id])
