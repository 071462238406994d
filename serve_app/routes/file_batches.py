"""/v1/vector_stores/{id}/file_batches as in OpenAI's API: attach up to 2,000 files with one request."""

from typing import Annotated, Any, Literal, Self

from fastapi import Response
from psycopg import Connection
from pydantic import Field, model_validator

from cluster.documents.vector_stores import file_batches, store_files
from cluster.documents.vector_stores.attaching import Attachment
from cluster.documents.vector_stores.file_batches import FileBatch
from cluster.documents.vector_stores.store_files import FileStatus
from cluster.documents.vector_stores.stores import get_store
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import Text
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.messages import must
from serve_app.routes.file_references import FileReference, with_url
from serve_app.routes.vector_store_fields import (
    MAX_FILES,
    Attributes,
    ChunkingStrategy,
    FileCountsObject,
    OcrFields,
    Priority,
    RequestedClass,
    queue_options,
    stored_json,
)
from serve_app.routes.vector_store_files import (
    POLL_HEADER,
    POLL_QUEUED_MS,
    POLL_RUNNING_MS,
    Filter,
    VectorStoreFileList,
    VectorStoreFileObject,
)
from serve_app.service import Service

router = json_router(404)


class BatchFileRequest(FileReference, OcrFields):
    """One file of a batch, with its own attributes and options."""

    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


class CreateBatchRequest(OcrFields):
    """OpenAI's CreateVectorStoreFileBatchRequest, with `priority_class` and `priority` added.

    The request has either `file_ids` or `files`.
    """

    file_ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_FILES)] | None = None
    """Ids of files to attach, all with the same attributes and options."""
    files: Annotated[list[BatchFileRequest], Field(min_length=1, max_length=MAX_FILES)] | None = None
    """Files to attach, each with its own attributes and options."""
    attributes: Annotated[Attributes | None, Field(description="Attributes of every file in `file_ids`")] = (
        None
    )
    chunking_strategy: Annotated[
        ChunkingStrategy | None, Field(description="Chunking strategy of every file in `file_ids`")
    ] = None
    priority_class: RequestedClass | None = None
    priority: Priority | None = None

    @model_validator(mode="after")
    def _has_one_list(self) -> Self:
        if (self.file_ids is None) == (self.files is None):
            raise must("have either file_ids or files, and not both; send one of them")
        return self

    def attachments(
        self, connection: Connection[Any], service: Service, organisation: str
    ) -> list[Attachment]:
        """Return the files to attach, with their attributes and options. For each URL, create a
        file as ``FileReference.file_in`` does.

        Raises:
            InvalidInput, Throttled, Unavailable: see ``FileReference.file_in``.
        """
        files = self.files or [
            BatchFileRequest.model_construct(
                file_id=id,
                url=None,
                attributes=self.attributes,
                chunking_strategy=self.chunking_strategy,
                ocr=self.ocr,
                ocr_languages=self.ocr_languages,
            )
            for id in self.file_ids or []
        ]
        return [
            Attachment(
                file=one.file_in(connection, service, organisation),
                attributes=with_url(one.attributes, one.url) or {},
                chunking_strategy=stored_json(one.chunking_strategy),
                ocr=one.ocr,
                ocr_languages=one.ocr_languages,
            )
            for one in files
        ]


class FileBatchObject(ResponseModel):
    """OpenAI's VectorStoreFileBatchObject."""

    id: str
    """Id of the batch, `vsfb_...`."""
    object: Literal["vector_store.files_batch"] = "vector_store.files_batch"
    """Always `vector_store.files_batch`."""
    created_at: int
    """Time of creation, in seconds since 1970."""
    vector_store_id: str
    """Id of the vector store."""
    status: FileStatus
    """`in_progress` while any file is in progress. Then `cancelled` if the batch or all of its files were
    cancelled; otherwise `completed` if any file is completed, or `failed` if no file is completed."""
    file_counts: FileCountsObject
    """Number of files of the batch in each status."""

    @classmethod
    def of(cls, batch: FileBatch) -> Self:
        """Convert the batch into the object that answers contain."""
        return cls(
            id=batch.id,
            created_at=int(batch.created_at.timestamp()),
            vector_store_id=batch.vector_store,
            status=batch.status,
            file_counts=FileCountsObject.of(batch.files),
        )


@router.post(
    "/v1/vector_stores/{vector_store_id}/file_batches",
    summary="Attach several files",
    response_model=FileBatchObject,
    responses=documented_errors(404, 409),
)
async def create_batch(
    vector_store_id: str,
    body: CreateBatchRequest,
    service: ServiceDep,
    organisation: Organisation,
    once: Once,
) -> Response:
    """Attaches all the files. If a file does not exist, no file is attached."""

    def create(connection: Connection[Any]) -> FileBatchObject:
        store = get_store(connection, organisation, vector_store_id)
        service.require_configured(store)
        return FileBatchObject.of(
            file_batches.create_batch(
                connection,
                store,
                body.attachments(connection, service, organisation),
                **queue_options(service.settings, body),
            )
        )

    return await once(create)


@router.get("/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}", summary="Get a file batch")
async def get_batch(
    vector_store_id: str, batch_id: str, service: ServiceDep, organisation: Organisation, response: Response
) -> FileBatchObject:
    """Returns the batch with the number of its files in each status."""
    batch = await service.read(
        lambda connection: file_batches.get_batch(
            connection, get_store(connection, organisation, vector_store_id), batch_id
        )
    )
    if batch.status == FileStatus.IN_PROGRESS:
        response.headers[POLL_HEADER] = str(POLL_RUNNING_MS if batch.running else POLL_QUEUED_MS)
    return FileBatchObject.of(batch)


@router.post(
    "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/cancel",
    summary="Cancel a file batch",
    response_model=FileBatchObject,
)
async def cancel_batch(
    vector_store_id: str, batch_id: str, organisation: Organisation, once: Once
) -> Response:
    """Cancels the files of the batch that have not ended.

    A queued file is cancelled at once. A file in progress is cancelled within seconds. Completed files can
    still be searched.
    """
    return await once(
        lambda connection: FileBatchObject.of(
            file_batches.cancel_batch(
                connection, get_store(connection, organisation, vector_store_id), batch_id
            )
        )
    )


@router.get(
    "/v1/vector_stores/{vector_store_id}/file_batches/{batch_id}/files", summary="List the files of a batch"
)
async def list_files(
    vector_store_id: str,
    batch_id: str,
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    status: Filter = None,
) -> VectorStoreFileList:
    """Lists the files of the batch one page at a time."""

    def read(connection: Connection[Any]) -> VectorStoreFileList:
        store = get_store(connection, organisation, vector_store_id)
        file_batches.get_batch(connection, store, batch_id)
        found = store_files.list_store_files(connection, store, page, status=status, batch=batch_id)
        return VectorStoreFileList.of(
            found,
            lambda attached: VectorStoreFileObject.of(
                attached, store, model_tokens=service.max_chunk_tokens(store)
            ),
            lambda attached: attached.file,
        )

    return await service.read(read)
