"""/v1/vector_stores/{id}/file_batches, as OpenAI's API reference describes them: attach up to 2,000 files at once, watch, cancel."""

from typing import Annotated, Any, Self

from fastapi import Response
from psycopg import Connection
from pydantic import Field, model_validator

from cluster.documents import file_batches, store_files
from cluster.documents.file_batches import FileBatch
from cluster.documents.store_files import Attachment, FileStatus
from cluster.documents.stores import get_store
from cluster.vector_index import VectorIndex
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep, listed
from serve_app.edge.request_model import RequestModel, Text, must
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.vector_store_fields import (
    MAX_FILES,
    Attributes,
    ChunkingStrategy,
    Priority,
    queue_options,
    stored_json,
)
from serve_app.routes.vector_store_files import POLL_HEADER, POLL_QUEUED_MS, POLL_RUNNING_MS, Filter
from serve_app.routes.vector_store_files import described as described_file
from serve_app.routes.vector_stores import counts

router = json_router(404)


class FileOfBatch(RequestModel):
    """A file of a batch, with what is its own."""

    file_id: Text
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class CreateBatchRequest(RequestModel):
    """OpenAI's CreateVectorStoreFileBatchRequest, and ``priority``; either ``file_ids`` or ``files``."""

    file_ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_FILES)] | None = None
    files: Annotated[list[FileOfBatch], Field(min_length=1, max_length=MAX_FILES)] | None = None
    attributes: Annotated[Attributes | None, Field(description="Of every one of `file_ids`")] = None
    chunking_strategy: Annotated[ChunkingStrategy | None, Field(description="Of every one of `file_ids`")] = (
        None
    )
    priority: Priority | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.file_ids is None) == (self.files is None):
            raise must("have either file_ids or files, and not both; send one of them")
        return self

    def attachments(self) -> list[Attachment]:
        """As the ledger takes them."""
        files = self.files or [
            FileOfBatch.model_construct(
                file_id=id, attributes=self.attributes, chunking_strategy=self.chunking_strategy
            )
            for id in self.file_ids or []
        ]
        return [
            Attachment(
                file=one.file_id,
                attributes=one.attributes or {},
                chunking_strategy=stored_json(one.chunking_strategy),
            )
            for one in files
        ]


@router.post(
    "/v1/vector_stores/{vector_store_id}/file_batches",
    summary="Attach files together",
    responses=documented_errors(404, 409),
)
async def create_batch(
    vector_store_id: str,
    body: CreateBatchRequest,
    service: ServiceDep,
    organisation: Organisation,
    once: Once,
) -> Response:
    """All of them or, where one does not exist, none."""

    def create(connection: Connection[Any], _: VectorIndex) -> dict[str, Any]:
        store = get_store(connection, organisation, vector_store_id)
        return _described(
            file_batches.create_batch(
                connection, store, body.attachments(), **queue_options(service.settings, body.priority)
            )
        )

    return await once(create)


@router.get("/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}", summary="How far a batch is")
async def get_batch(
    vector_store_id: str, batch_id: str, service: ServiceDep, organisation: Organisation, response: Response
) -> dict[str, Any]:
    """How many of its files are in which status; a file that came with a later batch counts there."""
    batch = await service.read(
        lambda connection: file_batches.get_batch(
            connection, get_store(connection, organisation, vector_store_id), batch_id
        )
    )
    if batch.status == FileStatus.IN_PROGRESS:
        response.headers[POLL_HEADER] = str(POLL_RUNNING_MS if batch.running else POLL_QUEUED_MS)
    return _described(batch)


@router.post(
    "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel",
    summary="Cancel what has not ended of a batch",
)
async def cancel_batch(
    vector_store_id: str, batch_id: str, organisation: Organisation, once: Once
) -> Response:
    """Files that wait at once, those that are being processed within seconds; what is searchable already stays."""
    return await once(
        lambda connection, _: _described(
            file_batches.cancel_batch(
                connection, get_store(connection, organisation, vector_store_id), batch_id
            )
        )
    )


@router.get("/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", summary="Files of a batch")
async def list_files(
    vector_store_id: str,
    batch_id: str,
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    status: Filter = None,
) -> dict[str, Any]:
    """A page of them."""
    most = service.main.max_content_tokens

    def read(connection: Connection[Any]) -> dict[str, Any]:
        store = get_store(connection, organisation, vector_store_id)
        file_batches.get_batch(connection, store, batch_id)
        found = store_files.list_store_files(connection, store, page, status=status, batch=batch_id)
        return listed(
            found, lambda attached: described_file(attached, store, most), lambda attached: attached.file
        )

    return await service.read(read)


def _described(batch: FileBatch) -> dict[str, Any]:
    """OpenAI's VectorStoreFileBatchObject."""
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": int(batch.created_at.timestamp()),
        "vector_store_id": batch.vector_store,
        "status": batch.status,
        "file_counts": counts(batch.files),
    }
