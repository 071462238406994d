"""/v1/vector_stores/{id}/files as in OpenAI's API: attach, list, get, change and detach files.

In addition to OpenAI's fields, each file shows the progress of its job and what was found in its document;
see ``VectorStoreFileObject``. The header ``openai-poll-after-ms`` says when a client should ask again about a
file in progress.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Query, Response
from psycopg import Connection
from pydantic import Field

from cluster.documents.vector_stores import attaching, store_files
from cluster.documents.vector_stores.chunking import Chunking
from cluster.documents.vector_stores.store_files import FileStatus, StoreFile
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.formats.recognition import OcrMode
from cluster.jobs.jobs import JobState, PriorityClass
from cluster.records import Outcome, public_error
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import RequestModel
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.file_references import FileReference, with_url
from serve_app.routes.vector_store_fields import (
    Attributes,
    ChunkingStrategy,
    ChunkSizes,
    NamedChunking,
    OcrFields,
    OtherChunking,
    Priority,
    RequestedClass,
    StaticChunking,
    queue_options,
    requested_chunking,
    stored_json,
)

#: Milliseconds after which a client should ask again about a file whose job is queued.
POLL_QUEUED_MS = 1_000
#: Milliseconds after which a client should ask again about a file whose job runs.
POLL_RUNNING_MS = 500
#: Maximum number of milliseconds until a client should ask again, if the job waits for its next attempt.
MAX_POLL_MS = 5_000
POLL_HEADER = "openai-poll-after-ms"

router = json_router(404)

Filter = Annotated[FileStatus | None, Query(alias="filter", description="List only files with this status")]


class AttachRequest(FileReference, OcrFields):
    """OpenAI's CreateVectorStoreFileRequest, with `url`, `ocr`, `ocr_languages`, `priority_class` and
    `priority` added."""

    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None
    priority_class: RequestedClass | None = None
    priority: Priority | None = None


class UpdateAttributesRequest(RequestModel):
    """OpenAI's UpdateVectorStoreFileAttributesRequest."""

    NULL_CLEARS = frozenset({"attributes"})

    attributes: Attributes | None


class FileError(ResponseModel):
    """Why a file could not be processed."""

    code: str
    """`server_error`, `unsupported_file` or `invalid_file`."""
    message: str
    """A sentence that says what went wrong."""


class FileProgress(ResponseModel):
    """The progress of a file's job."""

    done: int
    """Number of units that are done."""
    total: int | None
    """Number of all units; null while this number is not known."""
    unit: str | None
    """What is counted, such as `percent`, `pages` or `chunks`."""


class VectorStoreFileObject(ResponseModel):
    """OpenAI's VectorStoreFileObject; the fields after `attributes` are added."""

    id: str
    """Id of the file, `file-...`."""
    object: Literal["vector_store.file"] = "vector_store.file"
    """Always `vector_store.file`."""
    usage_bytes: int
    """Number of bytes that the file uses in this store."""
    created_at: int
    """Time at which the file was attached, in seconds since 1970."""
    vector_store_id: str
    """Id of the vector store."""
    status: FileStatus
    """`completed` as soon as the file can be searched."""
    last_error: FileError | None
    """Why the file failed; null if it did not fail."""
    chunking_strategy: Annotated[StaticChunking | NamedChunking | OtherChunking, Field(discriminator="type")]
    """The requested strategy. For `auto`, the resulting sizes are shown."""
    attributes: dict[str, str | bool | int | float]
    """Named values that the filters of a search can test."""
    ocr: OcrMode | None
    """Mode of recognition that was chosen for the file or its store; null: the setting of the workers."""
    ocr_languages: str | None
    """Languages that were chosen for the file or its store; null: the setting of the workers."""
    filename: str
    """Name of the file."""
    chunking: ChunkSizes
    """The sizes in use; they may be smaller than the requested sizes because of the model's limit."""
    job_id: str
    """Id of the job that processes the file, or processed it last; see `/v1/jobs/{job_id}`. Empty if the file
    came with a copy of a vector store."""
    stage: str | None
    """`queued`, or the stage that runs now; null unless the file is in progress."""
    progress: FileProgress | None
    """Progress of the job; null after the job was archived."""
    attempt: int | None
    """Number of the job's current or last attempt."""
    priority_class: PriorityClass | None
    """Priority class of the job."""
    priority: int | None
    """Priority of the job within its class, from 0 to 9."""
    pages: int | None
    """Pages of the document; null until it can be searched."""
    chunks: int | None
    """Chunks of the document; null until it can be searched."""
    outcome: Outcome | None
    """How reading the document ended; `partial_text` if a part of it could not be read."""
    detail: str | None
    """A sentence that says which part could not be read, and why."""
    failed_pages: list[int]
    """Numbers of the pages that could not be read, counted from 1."""
    entries: int
    """Number of entries of an archive or an e-mail; 0 for other files, and until the file is unpacked. The
    entries are listed at `/v1/vector_stores/{vector_store_id}/files/{file_id}/entries`."""
    facts: dict[str, Any]
    """Facts that were found while reading the document, such as the character set (`encoding`)."""

    @classmethod
    def of(cls, attached: StoreFile, store: VectorStore, *, model_tokens: int) -> Self:
        """Convert the attached file into the object that answers contain.

        Args:
            model_tokens: number of tokens that the store's model reads, special tokens not counted.
        """
        strategy = attached.chunking_strategy or store.chunking_strategy
        used = Chunking.used(strategy, most=model_tokens)
        sizes = ChunkSizes(max_chunk_size_tokens=used.max_tokens, chunk_overlap_tokens=used.overlap_tokens)
        return cls(
            id=attached.file,
            usage_bytes=attached.usage_bytes,
            created_at=int(attached.created_at.timestamp()),
            vector_store_id=attached.vector_store,
            status=attached.status,
            last_error=_error(attached),
            chunking_strategy=requested_chunking(strategy, sizes),
            attributes=attached.attributes,
            ocr=attached.ocr or store.ocr,
            ocr_languages=attached.ocr_languages or store.ocr_languages,
            filename=attached.filename,
            chunking=sizes,
            job_id=attached.job,
            stage=_stage(attached),
            progress=_progress(attached),
            attempt=attached.attempt,
            priority_class=attached.priority_class,
            priority=attached.priority,
            pages=attached.pages,
            chunks=attached.chunks,
            outcome=attached.outcome,
            detail=attached.detail or None,
            failed_pages=attached.failed_pages,
            entries=attached.entries,
            facts=attached.facts or {},
        )


class VectorStoreFileList(ListObject[VectorStoreFileObject]):
    """One page of the files of a vector store or of a file batch."""


class DetachedFile(ResponseModel):
    """The confirmation that a file was removed from a vector store."""

    id: str
    """Id of the file."""
    object: Literal["vector_store.file.deleted"] = "vector_store.file.deleted"
    """Always `vector_store.file.deleted`."""
    deleted: Literal[True] = True
    """Always true."""


@router.post(
    "/v1/vector_stores/{vector_store_id}/files",
    summary="Attach a file to a vector store",
    response_model=VectorStoreFileObject,
    responses=documented_errors(404, 409),
)
async def attach_file(
    vector_store_id: str, body: AttachRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Attaches the file and queues its job.

    A file that is already attached is processed again. If its earlier job has not ended and has the same
    options, that job continues with the new attributes. Otherwise a new job is queued.
    """

    def attach(connection: Connection[Any]) -> VectorStoreFileObject:
        store = get_store(connection, organisation, vector_store_id)
        service.require_configured(store)
        attached = attaching.attach(
            connection,
            store,
            body.file_in(connection, service, organisation),
            attributes=with_url(body.attributes, body.url),
            chunking_strategy=stored_json(body.chunking_strategy),
            ocr=body.ocr,
            ocr_languages=body.ocr_languages,
            **queue_options(service.settings, body),
        )
        return VectorStoreFileObject.of(attached, store, model_tokens=service.max_chunk_tokens(store))

    return await once(attach)


@router.get("/v1/vector_stores/{vector_store_id}/files", summary="List the files of a vector store")
async def list_files(
    vector_store_id: str,
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    status: Filter = None,
) -> VectorStoreFileList:
    """Lists the attached files one page at a time."""

    def read(connection: Connection[Any]) -> VectorStoreFileList:
        store = get_store(connection, organisation, vector_store_id)
        found = store_files.list_store_files(connection, store, page, status=status)
        return VectorStoreFileList.of(
            found,
            lambda attached: VectorStoreFileObject.of(
                attached, store, model_tokens=service.max_chunk_tokens(store)
            ),
            lambda attached: attached.file,
        )

    return await service.read(read)


@router.get("/v1/vector_stores/{vector_store_id}/files/{file_id}", summary="Get a file of a vector store")
async def get_file(
    vector_store_id: str, file_id: str, service: ServiceDep, organisation: Organisation, response: Response
) -> VectorStoreFileObject:
    """Returns the file with its status, its progress and what was found in it."""

    def read(connection: Connection[Any]) -> tuple[VectorStore, StoreFile]:
        store = get_store(connection, organisation, vector_store_id)
        return store, store_files.get_store_file(connection, organisation, vector_store_id, file_id)

    store, attached = await service.read(read)
    if attached.status == FileStatus.IN_PROGRESS:
        response.headers[POLL_HEADER] = str(poll_after_ms(attached))
    return VectorStoreFileObject.of(attached, store, model_tokens=service.max_chunk_tokens(store))


@router.post(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}",
    summary="Change a file's attributes",
    response_model=VectorStoreFileObject,
)
async def update_attributes(
    vector_store_id: str,
    file_id: str,
    body: UpdateAttributesRequest,
    service: ServiceDep,
    organisation: Organisation,
    once: Once,
) -> Response:
    """Replaces all attributes of the file. Searches use the new attributes at once."""
    updated: list[VectorStore] = []

    def update(connection: Connection[Any]) -> VectorStoreFileObject:
        store = get_store(connection, organisation, vector_store_id)
        updated.append(store)
        attached = store_files.update_attributes(connection, store, file_id, body.attributes or {})
        return VectorStoreFileObject.of(attached, store, model_tokens=service.max_chunk_tokens(store))

    answer = await once(update)
    if updated:  # the filters of an external index need the new attributes, too
        await service.in_database(lambda _, indexes: indexes.settle(updated[0]))
    return answer


@router.delete(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}", summary="Remove a file from a vector store"
)
async def detach_file(
    vector_store_id: str, file_id: str, service: ServiceDep, organisation: Organisation
) -> DetachedFile:
    """Removes the file from this vector store; the file itself is kept."""

    def detach(connection: Connection[Any]) -> None:
        store_files.detach(connection, get_store(connection, organisation, vector_store_id), file_id)

    await service.in_transaction(detach)
    return DetachedFile(id=file_id)


def _error(attached: StoreFile) -> FileError | None:
    if attached.status != FileStatus.FAILED:
        return None
    return FileError(code=public_error(attached.error_code), message=attached.error or "")


def _progress(attached: StoreFile) -> FileProgress | None:
    if attached.done is None:
        return None
    return FileProgress(done=attached.done, total=attached.total, unit=attached.unit)


def poll_after_ms(attached: StoreFile) -> int:
    """Return the milliseconds after which a client should ask again about a file in progress."""
    if attached.job_state != JobState.QUEUED:
        return POLL_RUNNING_MS
    if attached.retry_at is None:
        return POLL_QUEUED_MS
    wait_ms = (attached.retry_at - datetime.now(UTC)).total_seconds() * 1_000
    return int(min(MAX_POLL_MS, max(POLL_RUNNING_MS, wait_ms)))


def _stage(attached: StoreFile) -> str | None:
    if attached.status != FileStatus.IN_PROGRESS:
        return None
    return "queued" if attached.job_state == JobState.QUEUED else attached.stage
