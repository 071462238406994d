"""/v1/files, as OpenAI's API reference describes it: upload, list, get, read, delete.

The bytes go to the blob store while they arrive, then the row is written, and only then the answer. With ``vector_store_id``, a
field of ours, the file is attached to that store in the same transaction, as urgently as ``priority`` says.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, BinaryIO, Literal, Self
from urllib.parse import quote

from fastapi import Query, Request
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response, StreamingResponse

from cluster.documents.file_names import plain_name
from cluster.documents.files import File, Quota, create_file, delete_file, get_file, list_files
from cluster.documents.store_files import attach
from cluster.documents.stores import find_store
from cluster.formats import PURPOSES, Purpose
from cluster.records import digest
from serve_app.edge.authentication import Organisation
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import listed
from serve_app.edge.request_model import Whole
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.upload_form import FormRules, upload_form
from serve_app.edge.validation_messages import form_validation_error
from serve_app.routes.file_blobs import delete_unused_blobs, deleting_orphan_blob, require_kept_blob
from serve_app.routes.file_purposes import accepted_type
from serve_app.routes.vector_store_fields import FormPriority, Name, queue_options
from serve_app.service import Service

router = json_router(404, 409, 429)

SHORTEST_LIFE_S, LONGEST_LIFE_S = 3600, 2_592_000
READ_BYTES = 256 * 1024

Lifetime = Annotated[Whole, Field(ge=SHORTEST_LIFE_S, le=LONGEST_LIFE_S)]


class FileFields(BaseModel):
    """What stands beside the file in its form; the last two are ours."""

    model_config = ConfigDict(extra="forbid")

    purpose: Purpose
    anchor: Annotated[Literal["created_at"] | None, Field(alias="expires_after[anchor]")] = None
    seconds: Annotated[Lifetime | None, Field(alias="expires_after[seconds]")] = None
    vector_store_id: Annotated[Name | None, Field(description="Attach the file to this store at once")] = None
    priority: FormPriority | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.anchor is None) != (self.seconds is None):
            raise PydanticCustomError("expires_after", "expires_after needs both its anchor and its seconds")
        return self


#: For the OpenAPI document: FastAPI does not see the form, since it must not read it.
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": SHORTEST_LIFE_S,
                            "maximum": LONGEST_LIFE_S,
                        },
                        "vector_store_id": {
                            "type": "string",
                            "description": "Attach the file to this store at once",
                        },
                        "priority": {
                            "type": "string",
                            "description": "How urgent that is: high, medium, low, or 0 to 9",
                        },
                    },
                }
            }
        },
    }
}


@router.post("/v1/files", summary="Upload a file", openapi_extra=FORM)
async def create(request: Request, service: ServiceDep, organisation: Organisation, once: Once) -> Response:
    """The same bytes, name and purpose within ten minutes are one file: clients repeat an upload whose answer they did not see."""
    settings = service.settings
    names = frozenset(field.alias or name for name, field in FileFields.model_fields.items())
    rules = FormRules(
        file="file", fields=names, most=settings.max_file_bytes, setting="CLUSTER_MAX_FILE_BYTES"
    )
    async with upload_form(request, service, organisation, rules) as form:
        fields, name = file_fields(form.fields), plain_name(form.filename)
        type = accepted_type(form.start, name=name, purpose=fields.purpose)
        blob = await form.keep()

    def work(connection: Connection[Any]) -> dict[str, Any]:
        require_kept_blob(connection, service, organisation, blob)
        file = create_file(
            connection,
            organisation,
            name,
            fields.purpose,
            blob,
            type,
            expires_after_s=fields.seconds,
            quota=Quota.of(settings),
        )
        if fields.vector_store_id is None:
            return file_object(file)
        store = find_store(connection, organisation, fields.vector_store_id)
        attached = attach(connection, store, file.id, **queue_options(settings, fields.priority))
        return {
            **file_object(file),
            "vector_store_id": store.id,
            "job_id": attached.job,
            "priority": attached.priority_class,
        }

    async with deleting_orphan_blob(service, organisation, blob):
        return await once(work, content=digest(blob.sha256, name, fields.model_dump_json()))


@router.get("/v1/files", summary="The files there are")
async def list_all(
    service: ServiceDep,
    organisation: Organisation,
    purpose: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[
        str | None,
        Query(max_length=128, description="Id of the last file of the page before, even if it is gone"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Annotated[Literal["asc", "desc"], Query(description="By the time they were made")] = "desc",
) -> dict[str, Any]:
    """Of one purpose or of all."""
    newest_first = order == "desc"
    found = await service.in_transaction(
        lambda connection: list_files(
            connection, organisation, purpose=purpose, after=after, limit=limit, newest_first=newest_first
        )
    )
    return listed(found, file_object, lambda file: file.id)


@router.get("/v1/files/{file_id}", summary="One file")
async def retrieve(file_id: str, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """What is known of it."""
    return file_object(await _file(service, organisation, file_id))


@router.get(
    "/v1/files/{file_id}/content",
    summary="The bytes of a file",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def content(file_id: str, service: ServiceDep, organisation: Organisation) -> Response:
    """As they were uploaded, checked against their hash on the way: damaged ones never arrive whole."""
    file = await _file(service, organisation, file_id)
    opened = await service.on_blobs(service.blobs.open, organisation, file.sha256)
    first = await service.on_blobs(opened.read, READ_BYTES)  # what fails here can still be told
    headers = {
        "content-length": str(file.bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
        "x-content-type-options": "nosniff",  # a browser must not run what somebody uploaded
    }
    return StreamingResponse(
        _pieces(service, opened, first), media_type="application/octet-stream", headers=headers
    )


@router.delete("/v1/files/{file_id}", summary="Delete a file")
async def delete(file_id: str, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """It leaves every vector store in the same transaction; its bytes go where no other file has them."""
    gone = await service.in_transaction(lambda connection: delete_file(connection, organisation, file_id))
    await delete_unused_blobs(service, organisation, [gone.sha256])
    return {"id": gone.id, "object": "file", "deleted": True}


def file_fields(given: dict[str, str]) -> FileFields:
    """The fields of a form.

    Raises:
        RequestValidationError: naming the one at fault.
    """
    try:
        return FileFields.model_validate(given)
    except ValidationError as exc:
        raise form_validation_error(exc, given) from exc


def file_object(file: File) -> dict[str, Any]:
    """OpenAI's File, and a field of ours: ``media_type``."""
    expires = {} if file.expires_at is None else {"expires_at": unix(file.expires_at)}
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": unix(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        **expires,
        "media_type": file.media_type,
    }


def unix(at: datetime) -> int:
    """Whole seconds since 1970."""
    return int(at.timestamp())


async def _file(service: Service, organisation: str, id: str) -> File:
    return await service.in_transaction(lambda connection: get_file(connection, organisation, id))


async def _pieces(service: Service, opened: BinaryIO, piece: bytes) -> AsyncIterator[bytes]:
    try:
        while piece:
            yield piece
            piece = await service.on_blobs(opened.read, READ_BYTES)
    finally:
        opened.close()
