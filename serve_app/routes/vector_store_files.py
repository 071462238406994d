"""/v1/vector_stores/{id}/files, as OpenAI's API reference describes them: attach, list, get, change attributes, detach, content.

Beside OpenAI's fields each file tells of its job: ``job_id``, ``stage``, ``progress``, ``attempt``, ``priority`` and ``place`` in
its class; and of its document: ``filename``, ``pages``, ``chunks``, ``outcome`` (``partial_text`` where part of it could not be
read), ``detail`` (which part, and why), ``failed_pages``, ``facts`` (how it was read), and ``chunking``, how it is really cut.
``openai-poll-after-ms`` says when to ask again.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Response
from psycopg import Connection

from cluster.documents import store_files
from cluster.documents.chunking import Chunking
from cluster.documents.store_files import FileStatus, StoreFile
from cluster.documents.stores import VectorStore, get_store
from cluster.errors import InvalidInput
from cluster.jobs.jobs import JobState
from cluster.vector_index import VectorIndex
from cluster.vector_index.attributes import own_of
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep, listed
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.vector_store_fields import (
    Attributes,
    ChunkingStrategy,
    Priority,
    queue_options,
    stored_json,
)

#: Milliseconds after which somebody who polls should ask again.
POLL_QUEUED_MS = 1_000
POLL_RUNNING_MS = 500
#: A job that is to be tried again later is asked about no less often than this.
POLL_LONGEST_MS = 5_000
POLL_HEADER = "openai-poll-after-ms"
#: OpenAI's schema has no shorter chunks.
LEAST_CHUNK_SHOWN = 100
#: Chunks in one answer; OpenAI's clients do not ask for a next page, and few documents have more.
CONTENT_CHUNKS = 5_000

router = json_router(404)

Filter = Annotated[FileStatus | None, Query(alias="filter", description="Only files of this status")]


class AttachRequest(RequestModel):
    """OpenAI's CreateVectorStoreFileRequest, and ``priority``."""

    file_id: Text
    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None
    priority: Priority | None = None


class UpdateAttributesRequest(RequestModel):
    """OpenAI's UpdateVectorStoreFileAttributesRequest."""

    NULL_CLEARS = frozenset({"attributes"})

    attributes: Attributes | None


@router.post(
    "/v1/vector_stores/{vector_store_id}/files",
    summary="Attach a file to a vector store",
    responses=documented_errors(404, 409),
)
async def attach_file(
    vector_store_id: str, body: AttachRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """A file that is attached already is processed again; while that is being done, its job is answered."""
    most = service.main.max_content_tokens

    def attach(connection: Connection[Any], _: VectorIndex) -> dict[str, Any]:
        store = get_store(connection, organisation, vector_store_id)
        attached = store_files.attach(
            connection,
            store,
            body.file_id,
            attributes=body.attributes,
            chunking_strategy=stored_json(body.chunking_strategy),
            **queue_options(service.settings, body.priority),
        )
        return described(attached, store, most)

    return await once(attach)


@router.get("/v1/vector_stores/{vector_store_id}/files", summary="Files of a vector store")
async def list_files(
    vector_store_id: str,
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    status: Filter = None,
) -> dict[str, Any]:
    """A page of them."""
    most = service.main.max_content_tokens

    def read(connection: Connection[Any]) -> dict[str, Any]:
        store = get_store(connection, organisation, vector_store_id)
        found = store_files.list_store_files(connection, store, page, status=status)
        return listed(
            found, lambda attached: described(attached, store, most), lambda attached: attached.file
        )

    return await service.read(read)


@router.get("/v1/vector_stores/{vector_store_id}/files/{file_id}", summary="One file of a vector store")
async def get_file(
    vector_store_id: str, file_id: str, service: ServiceDep, organisation: Organisation, response: Response
) -> dict[str, Any]:
    """How far it is, and what it holds."""

    def read(connection: Connection[Any]) -> tuple[VectorStore, StoreFile]:
        store = get_store(connection, organisation, vector_store_id)
        return store, store_files.get_store_file(connection, organisation, vector_store_id, file_id)

    store, attached = await service.read(read)
    if attached.status == FileStatus.IN_PROGRESS:
        response.headers[POLL_HEADER] = str(poll_after_ms(attached))
    return described(attached, store, service.main.max_content_tokens)


@router.post("/v1/vector_stores/{vector_store_id}/files/{file_id}", summary="Change a file's attributes")
async def update_attributes(
    vector_store_id: str,
    file_id: str,
    body: UpdateAttributesRequest,
    service: ServiceDep,
    organisation: Organisation,
    once: Once,
) -> Response:
    """All of them at once; searches see the new ones from then on."""
    most = service.main.max_content_tokens

    def update(connection: Connection[Any], index: VectorIndex) -> dict[str, Any]:
        store = get_store(connection, organisation, vector_store_id)
        return described(
            store_files.update_attributes(connection, index, store, file_id, body.attributes or {}),
            store,
            most,
        )

    return await once(update)


@router.delete(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}", summary="Take a file out of a vector store"
)
async def detach_file(
    vector_store_id: str, file_id: str, service: ServiceDep, organisation: Organisation
) -> dict[str, Any]:
    """The file itself stays."""

    def detach(connection: Connection[Any], index: VectorIndex) -> None:
        store_files.detach(connection, index, get_store(connection, organisation, vector_store_id), file_id)

    await service.in_transaction(detach)
    return {"id": file_id, "object": "vector_store.file.deleted", "deleted": True}


@router.get(
    "/v1/vector_stores/{vector_store_id}/files/{file_id}/content",
    summary="The text of a file, as it was read",
)
async def get_content(
    vector_store_id: str,
    file_id: str,
    service: ServiceDep,
    organisation: Organisation,
    page: Annotated[str | None, Query(description="`next_page` of the answer before")] = None,
) -> dict[str, Any]:
    """Its chunks in the order of reading, each with its page and place on it."""
    first = _first_chunk(page)

    def read(connection: Connection[Any], index: VectorIndex) -> tuple[StoreFile, list[dict[str, Any]]]:
        store = get_store(connection, organisation, vector_store_id)
        attached = store_files.get_store_file(connection, organisation, vector_store_id, file_id)
        rows = index.document_rows(
            organisation, store.id, attached.document, collection=store.collection, connection=connection
        )
        return attached, sorted(
            ({**own_of(row.attributes), "text": row.text} for row in rows),
            key=lambda chunk: int(chunk["ordinal"]),
        )

    attached, chunks = await service.in_transaction(read)
    last = first + CONTENT_CHUNKS
    return {
        "object": "vector_store.file_content.page",
        "data": [
            {
                "type": "text",
                "text": chunk["text"],
                "page": chunk["page"],
                "start": chunk["start"],
                "end": chunk["end"],
            }
            for chunk in chunks[first:last]
        ],
        "has_more": len(chunks) > last,
        "next_page": str(last) if len(chunks) > last else None,
        "file_id": attached.file,
        "filename": attached.filename,
        "attributes": attached.attributes,
    }


def described(attached: StoreFile, store: VectorStore, most: int) -> dict[str, Any]:
    """OpenAI's VectorStoreFileObject, with fields of ours.

    Args:
        most: tokens the model reads, special tokens not counted.
    """
    strategy = attached.chunking_strategy or store.chunking_strategy
    used = Chunking.used(strategy, most=most)
    sizes = {"max_chunk_size_tokens": used.max_tokens, "chunk_overlap_tokens": used.overlap_tokens}
    failed = attached.status == FileStatus.FAILED
    return {
        "id": attached.file,
        "object": "vector_store.file",
        "usage_bytes": attached.usage_bytes,
        "created_at": int(attached.created_at.timestamp()),
        "vector_store_id": attached.vector_store,
        "status": attached.status,
        "last_error": {"code": attached.error_code or "server_error", "message": attached.error or ""}
        if failed
        else None,
        "chunking_strategy": _asked(strategy, sizes),
        "attributes": attached.attributes,
        "filename": attached.filename,
        "chunking": sizes,
        "job_id": attached.job,
        "stage": _stage(attached),
        "progress": None
        if attached.done is None
        else {"done": attached.done, "total": attached.total, "unit": attached.unit},
        "attempt": attached.attempt,
        "priority": attached.priority_class,
        "place": attached.priority,
        "pages": attached.pages,
        "chunks": attached.chunks,
        "outcome": attached.outcome,
        "detail": attached.detail or None,
        "failed_pages": attached.failed_pages,
        "facts": attached.facts or {},
    }


def poll_after_ms(attached: StoreFile) -> int:
    """When to ask again about a file that is in progress."""
    if attached.job_state != JobState.QUEUED:
        return POLL_RUNNING_MS
    if attached.retry_at is None:
        return POLL_QUEUED_MS
    until = (attached.retry_at - datetime.now(UTC)).total_seconds()
    return int(min(POLL_LONGEST_MS, max(POLL_RUNNING_MS, until * 1_000)))


def _asked(strategy: dict[str, Any] | None, sizes: dict[str, int]) -> dict[str, Any]:
    """What was asked for; where that was auto, what it is here, as OpenAI's own answers have it."""
    if strategy is not None and strategy["type"] == "static":
        return strategy
    if sizes["max_chunk_size_tokens"] < LEAST_CHUNK_SHOWN:
        return {"type": "other"}
    return {"type": "static", "static": sizes}


def _stage(attached: StoreFile) -> str | None:
    """What is done now; None once nothing is."""
    if attached.status != FileStatus.IN_PROGRESS:
        return None
    return "queued" if attached.job_state == JobState.QUEUED else attached.stage


def _first_chunk(page: str | None) -> int:
    if page is None:
        return 0
    if not (page.isascii() and page.isdecimal() and len(page) <= 9):
        raise InvalidInput(f"page is {page!r}; it must be next_page of an answer before", param="page")
    return int(page)
