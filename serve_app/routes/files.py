"""/v1/files as in OpenAI's API: upload, list, get, read and delete files.

An upload streams its bytes to the blob store, then writes the database row, and only then answers. In
addition to OpenAI's fields, the form accepts ``vector_store_id``, ``priority_class`` and ``priority``.
``vector_store_id`` attaches the file to that store in the same transaction; the other two fields set the
priority of the file's job.
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
from cluster.documents.files import File, create_file, delete_file, get_file, list_files
from cluster.documents.vector_stores.attaching import attach
from cluster.documents.vector_stores.store_files import StoreFile
from cluster.documents.vector_stores.stores import find_store
from cluster.formats import PURPOSES, Purpose
from cluster.jobs.jobs import PriorityClass
from cluster.organisations.organisations import StorageLimits
from cluster.records import digest
from serve_app.edge.authentication import Organisation
from serve_app.edge.forms.upload_form import FormRules, documented_form, upload_form
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import Whole
from serve_app.edge.response_model import ListObject, Omissible, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.validation_messages import form_validation_error
from serve_app.routes.stored_files import (
    accepted_type,
    delete_unused_blobs,
    deleting_orphan_blob,
    require_kept_blob,
)
from serve_app.routes.vector_store_fields import (
    PRIORITY_CLASS_DESCRIPTION,
    PRIORITY_DESCRIPTION,
    FormPriority,
    Name,
    RequestedClass,
    queue_options,
)
from serve_app.service import Service

router = json_router(404, 409, 429)

MIN_LIFETIME_S, MAX_LIFETIME_S = 3600, 2_592_000
READ_BYTES = 256 * 1024

Lifetime = Annotated[Whole, Field(ge=MIN_LIFETIME_S, le=MAX_LIFETIME_S)]


class FileFields(BaseModel):
    """The fields of the form besides the file. The last three fields are not in OpenAI's API."""

    model_config = ConfigDict(extra="forbid")

    purpose: Purpose
    anchor: Annotated[Literal["created_at"] | None, Field(alias="expires_after[anchor]")] = None
    seconds: Annotated[Lifetime | None, Field(alias="expires_after[seconds]")] = None
    vector_store_id: Name | None = None
    priority_class: RequestedClass | None = None
    priority: FormPriority | None = None

    @model_validator(mode="after")
    def _expires_after_is_whole(self) -> Self:
        if (self.anchor is None) != (self.seconds is None):
            raise PydanticCustomError(
                "expires_after", "expires_after needs both its anchor and its seconds; send both"
            )
        return self


FORM = documented_form(
    {
        "file": {"type": "string", "format": "binary", "description": "The file"},
        "purpose": {
            "type": "string",
            "enum": list(PURPOSES),
            "description": "Use of the file; `assistants` and `user_data` can be searched",
        },
        "expires_after[anchor]": {
            "type": "string",
            "enum": ["created_at"],
            "description": "Always `created_at`: the file's lifetime begins with its upload",
        },
        "expires_after[seconds]": {
            "type": "integer",
            "minimum": MIN_LIFETIME_S,
            "maximum": MAX_LIFETIME_S,
            "description": "Lifetime of the file, in seconds",
        },
        "vector_store_id": {
            "type": "string",
            "description": "Name or id of a vector store to attach the file to",
        },
        "priority_class": {
            "type": "string",
            "enum": list(PriorityClass),
            "description": PRIORITY_CLASS_DESCRIPTION,
        },
        "priority": {"type": "string", "description": PRIORITY_DESCRIPTION},
    },
    required=["file", "purpose"],
)


class FileObject(ResponseModel):
    """OpenAI's OpenAIFile, with `media_type` added."""

    id: str
    """Id of the file, `file-...`."""
    object: Literal["file"] = "file"
    """Always `file`."""
    bytes: int
    """Size of the file, in bytes."""
    created_at: int
    """Time of the upload, in seconds since 1970."""
    filename: str
    """Name of the file."""
    purpose: str
    """Use of the file, as the upload stated it."""
    status: Literal["processed"] = "processed"
    """Always `processed`, because only completely stored files are returned."""
    expires_at: Omissible[int] = None
    """Time at which the file is deleted, in seconds since 1970; left out if the file does not expire."""
    media_type: str
    """Media type, recognised from the bytes of the file."""

    @classmethod
    def of(cls, file: File) -> Self:
        """Convert the file into the object that answers contain."""
        return cls(**_fields_of(file))


class UploadedFile(FileObject):
    """The uploaded file. The fields after `media_type` are left out if no vector store was named."""

    vector_store_id: Omissible[str] = None
    """Id of the vector store that the file is attached to."""
    job_id: Omissible[str] = None
    """Id of the job that makes the file searchable."""
    priority_class: Omissible[PriorityClass] = None
    """Priority class of the job."""
    priority: Omissible[int] = None
    """Priority of the job within its class, from 0 to 9."""

    @classmethod
    def of(cls, file: File, attached: StoreFile | None = None) -> Self:
        """Convert the file, with its queued job, into the object that answers contain."""
        if attached is None:
            return cls(**_fields_of(file))
        return cls(
            **_fields_of(file),
            vector_store_id=attached.vector_store,
            job_id=attached.job,
            priority_class=attached.priority_class,
            priority=attached.priority,
        )


class FileList(ListObject[FileObject]):
    """One page of the files."""


class DeletedFile(ResponseModel):
    """The confirmation that a file was deleted."""

    id: str
    """Id of the deleted file."""
    object: Literal["file"] = "file"
    """Always `file`."""
    deleted: Literal[True] = True
    """Always true."""


@router.post("/v1/files", summary="Upload a file", response_model=UploadedFile, openapi_extra=FORM)
async def create(request: Request, service: ServiceDep, organisation: Organisation, once: Once) -> Response:
    """Stores the file, and attaches it to a vector store if the form names a store.

    A second upload of the same bytes, name, purpose and lifetime within ten minutes returns the same file, so
    a client can repeat an upload.
    """
    settings = service.settings
    names = frozenset(field.alias or name for name, field in FileFields.model_fields.items())
    rules = FormRules(
        file="file", fields=names, max_bytes=settings.max_file_bytes, setting="CLUSTER_MAX_FILE_BYTES"
    )
    async with upload_form(request, service, organisation, rules) as form:
        fields, name = file_fields(form.fields), plain_name(form.filename)
        type = accepted_type(form.start, name=name, purpose=fields.purpose)
        blob = await form.keep()

    def store_file(connection: Connection[Any]) -> UploadedFile:
        require_kept_blob(connection, service, organisation, blob)
        file = create_file(
            connection,
            organisation,
            name,
            fields.purpose,
            blob,
            type,
            expires_after_s=fields.seconds,
            default_limits=StorageLimits.of(settings),
        )
        if fields.vector_store_id is None:
            return UploadedFile.of(file)
        store = find_store(connection, organisation, fields.vector_store_id)
        service.require_configured(store)
        return UploadedFile.of(file, attach(connection, store, file.id, **queue_options(settings, fields)))

    async with deleting_orphan_blob(service, organisation, blob):
        return await once(store_file, content=digest(blob.sha256, name, fields.model_dump_json()))


@router.get("/v1/files", summary="List files")
async def list_all(
    service: ServiceDep,
    organisation: Organisation,
    purpose: Annotated[
        str | None, Query(max_length=64, description="List only files for this purpose")
    ] = None,
    after: Annotated[
        str | None,
        Query(
            max_length=128, description="Id of the file that this page follows, even if it has been deleted"
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Number of files at most")] = 10_000,
    order: Annotated[
        Literal["asc", "desc"], Query(description="Order by creation time: `desc` starts with the newest")
    ] = "desc",
) -> FileList:
    """Lists the files of one purpose, or all files, one page at a time."""
    newest_first = order == "desc"
    found = await service.in_transaction(
        lambda connection: list_files(
            connection, organisation, purpose=purpose, after=after, limit=limit, newest_first=newest_first
        )
    )
    return FileList.of(found, FileObject.of, lambda file: file.id)


@router.get("/v1/files/{file_id}", summary="Get a file")
async def retrieve(file_id: str, service: ServiceDep, organisation: Organisation) -> FileObject:
    """Returns the properties of the file."""
    return FileObject.of(await _file(service, organisation, file_id))


@router.get(
    "/v1/files/{file_id}/content",
    summary="Get the content of a file",
    response_class=Response,
    responses={
        200: {
            "description": "The bytes of the file",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def content(file_id: str, service: ServiceDep, organisation: Organisation) -> Response:
    """Returns the bytes as they were uploaded.

    The bytes are checked against their hash while they are sent. If the file is damaged, the answer is cut
    off.
    """
    file = await _file(service, organisation, file_id)
    opened = await service.on_blobs(service.blobs.open, organisation, file.sha256)
    # Read before the answer begins, because only then an error still gets an error response.
    first = await service.on_blobs(opened.read, READ_BYTES)
    headers = {
        "content-length": str(file.bytes),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
        "x-content-type-options": "nosniff",  # keeps a browser from running an uploaded page
    }
    return StreamingResponse(
        _pieces(service, opened, first), media_type="application/octet-stream", headers=headers
    )


@router.delete("/v1/files/{file_id}", summary="Delete a file")
async def delete(file_id: str, service: ServiceDep, organisation: Organisation) -> DeletedFile:
    """Deletes the file, and removes it from every vector store in the same transaction.

    The bytes of the file are deleted unless something else, such as another file, needs the same bytes.
    With an archive or an e-mail, its entries are deleted, except entries that another archive or e-mail has.
    """
    deleted = await service.in_transaction(lambda connection: delete_file(connection, organisation, file_id))
    await delete_unused_blobs(service, organisation, [file.sha256 for file in deleted])
    return DeletedFile(id=file_id)


def file_fields(values: dict[str, str]) -> FileFields:
    """Validate the fields of a form.

    Raises:
        RequestValidationError: a field is missing, unknown or wrong.
    """
    try:
        return FileFields.model_validate(values)
    except ValidationError as exc:
        raise form_validation_error(exc, values) from exc


def unix(at: datetime) -> int:
    """Return the time as whole seconds since 1970."""
    return int(at.timestamp())


def _fields_of(file: File) -> dict[str, Any]:
    return {
        "id": file.id,
        "bytes": file.bytes,
        "created_at": unix(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "expires_at": None if file.expires_at is None else unix(file.expires_at),
        "media_type": file.media_type,
    }


async def _file(service: Service, organisation: str, id: str) -> File:
    return await service.in_transaction(lambda connection: get_file(connection, organisation, id))


async def _pieces(service: Service, opened: BinaryIO, piece: bytes) -> AsyncIterator[bytes]:
    try:
        while piece:
            yield piece
            piece = await service.on_blobs(opened.read, READ_BYTES)
    finally:
        opened.close()
