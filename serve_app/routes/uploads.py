"""/v1/uploads as in OpenAI's API: upload a large file in parts, so a failed part can be sent again alone.

A part that is sent twice is stored once. Completing an upload joins the parts into the file's blob. If a
client did not receive the answer, the client can complete the upload again and gets the same answer.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from fastapi import Request
from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.blobs import Blob, BlobStore
from cluster.documents.file_names import plain_name
from cluster.documents.files import File, get_file
from cluster.documents.uploads import (
    MAX_PARTS,
    Upload,
    UploadPart,
    UploadStatus,
    add_part,
    cancel_upload,
    complete_upload,
    create_upload,
    get_pending,
    get_upload,
    ordered_parts,
)
from cluster.errors import InvalidInput, Permanent
from cluster.file_beginning import SNIFFED_BYTES
from cluster.formats import Purpose
from cluster.organisations.organisations import StorageLimits
from serve_app.edge.authentication import Organisation
from serve_app.edge.forms.upload_form import FormRules, documented_form, upload_form
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.edge.response_model import Omissible, ResponseModel, json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.files import FileObject, Lifetime, unix
from serve_app.routes.stored_files import (
    accepted_type,
    delete_unused_blobs,
    deleting_orphan_blob,
    require_kept_blob,
)
from serve_app.service import Service

router = json_router(404, 409, 429)

COPY_BYTES = 1024 * 1024

FORM = documented_form(
    {"data": {"type": "string", "format": "binary", "description": "The bytes of the part"}},
    required=["data"],
)


class FileExpiryRequest(RequestModel):
    """The lifetime of the file."""

    anchor: Literal["created_at"]
    """Always `created_at`: the lifetime begins when the upload is completed."""
    seconds: Lifetime
    """Lifetime in seconds."""


class CreateUploadRequest(RequestModel):
    """OpenAI's CreateUploadRequest."""

    filename: Annotated[Text, Field(max_length=1024)]
    """Name of the file."""
    purpose: Purpose
    """Use of the file."""
    bytes: Annotated[Whole, Field(ge=1)]
    """Size of the whole file, in bytes."""
    mime_type: Annotated[Text, Field(max_length=256)]
    """Media type of the file. It is not used, because the type is recognised from the bytes."""
    expires_after: FileExpiryRequest | None = None
    """Lifetime of the file; by default, the lifetime depends on the purpose."""


class CompleteUploadRequest(RequestModel):
    """OpenAI's CompleteUploadRequest."""

    part_ids: Annotated[
        list[Annotated[Text, Field(max_length=64)]], Field(min_length=1, max_length=MAX_PARTS)
    ]
    """Ids of the parts, in the order of their bytes in the file."""
    md5: Annotated[str | None, Field(max_length=64)] = None
    """MD5 of the whole file, in hexadecimal digits; a file with another MD5 is refused."""


class UploadObject(ResponseModel):
    """OpenAI's Upload."""

    id: str
    """Id of the upload, `upload_...`."""
    object: Literal["upload"] = "upload"
    """Always `upload`."""
    bytes: int
    """Size of the whole file in bytes, as the upload announced it."""
    created_at: int
    """Time of creation, in seconds since 1970."""
    filename: str
    """Name of the file."""
    purpose: str
    """Use of the file."""
    status: UploadStatus
    """`pending` while parts can be added; then `completed`, `cancelled` or `expired`."""
    expires_at: int
    """Time until which the upload can be completed, in seconds since 1970."""
    file: Omissible[FileObject] = None
    """The finished file; left out until the upload is completed."""

    @classmethod
    def of(cls, upload: Upload, file: File | None = None) -> Self:
        """Convert the upload, with its finished file, into the object that answers contain."""
        return cls(
            id=upload.id,
            bytes=upload.bytes,
            created_at=unix(upload.created_at),
            filename=upload.filename,
            purpose=upload.purpose,
            status=upload.status,
            expires_at=unix(upload.expires_at),
            file=None if file is None else FileObject.of(file),
        )


class UploadPartObject(ResponseModel):
    """OpenAI's UploadPart, with `bytes` added."""

    id: str
    """Id of the part, `part_...`."""
    object: Literal["upload.part"] = "upload.part"
    """Always `upload.part`."""
    created_at: int
    """Time at which the part was stored, in seconds since 1970."""
    upload_id: str
    """Id of the upload."""
    bytes: int
    """Size of the part, in bytes."""

    @classmethod
    def of(cls, part: UploadPart) -> Self:
        """Convert the part into the object that answers contain."""
        return cls(id=part.id, created_at=unix(part.created_at), upload_id=part.upload, bytes=part.bytes)


@router.post("/v1/uploads", summary="Start an upload in parts", response_model=UploadObject)
async def create(
    body: CreateUploadRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Creates an upload. Parts can be added until the upload is completed, cancelled or expired."""
    settings, name = service.settings, plain_name(body.filename, param="filename")
    if body.bytes > settings.max_upload_bytes:
        raise InvalidInput(
            f"bytes is {body.bytes:,}; an upload may have at most {settings.max_upload_bytes:,}"
            " (CLUSTER_MAX_UPLOAD_BYTES)",
            param="bytes",
        )
    lifetime_s = None if body.expires_after is None else body.expires_after.seconds

    def store_upload(connection: Connection[Any]) -> UploadObject:
        upload = create_upload(
            connection,
            organisation,
            name,
            body.purpose,
            body.bytes,
            body.mime_type,
            expires_after_s=lifetime_s,
            lifetime_s=settings.upload_lifetime_s,
            default_limits=StorageLimits.of(settings),
        )
        return UploadObject.of(upload)

    return await once(store_upload)


@router.post(
    "/v1/uploads/{upload_id}/parts",
    summary="Add a part to an upload",
    response_model=UploadPartObject,
    openapi_extra=FORM,
)
async def add(
    upload_id: str, request: Request, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Stores one part. Parts may be sent at the same time and in any order."""
    # If the upload has ended, refuse the part before its bytes are read.
    await service.in_transaction(lambda connection: get_pending(connection, organisation, upload_id))
    max_bytes = service.settings.max_part_bytes
    async with upload_form(
        request,
        service,
        organisation,
        FormRules(file="data", fields=frozenset(), max_bytes=max_bytes, setting="CLUSTER_MAX_PART_BYTES"),
    ) as form:
        blob = await form.keep()

    def store_part(connection: Connection[Any]) -> UploadPartObject:
        require_kept_blob(connection, service, organisation, blob)
        return UploadPartObject.of(add_part(connection, organisation, upload_id, blob))

    async with deleting_orphan_blob(service, organisation, blob):
        return await once(store_part, content=blob.sha256)


@router.post("/v1/uploads/{upload_id}/complete", summary="Complete an upload", response_model=UploadObject)
async def complete(
    upload_id: str, body: CompleteUploadRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Joins the parts in the given order into a file.

    The sum of the sizes of the parts must be the announced size of the file.
    """

    def find(connection: Connection[Any]) -> tuple[Upload, list[UploadPart]]:
        upload = get_upload(connection, organisation, upload_id)
        if upload.status == UploadStatus.COMPLETED:
            return upload, []
        return get_pending(connection, organisation, upload_id), ordered_parts(
            connection, upload, body.part_ids
        )

    upload, parts = await service.in_transaction(find)
    if upload.status == UploadStatus.COMPLETED:
        return await _completed(service, organisation, upload)
    try:
        blob, type = await service.on_blobs(_join, service.blobs, upload, parts, body.md5)
    except Permanent:
        # A part may be missing because another request completed the upload. Then return the same answer.
        upload, _ = await service.in_transaction(find)
        if upload.status != UploadStatus.COMPLETED:
            raise
        return await _completed(service, organisation, upload)
    released: list[str] = []

    def store_file(connection: Connection[Any]) -> UploadObject:
        require_kept_blob(connection, service, organisation, blob)
        done, file, hashes = complete_upload(
            connection, upload, blob, type, default_limits=StorageLimits.of(service.settings)
        )
        released[:] = hashes
        return UploadObject.of(done, file)

    async with deleting_orphan_blob(service, organisation, blob):
        answer = await once(store_file)
    await delete_unused_blobs(service, organisation, released)
    return answer


@router.post("/v1/uploads/{upload_id}/cancel", summary="Cancel an upload")
async def cancel(upload_id: str, service: ServiceDep, organisation: Organisation) -> UploadObject:
    """Cancels the upload and deletes its parts."""
    upload, released = await service.in_transaction(
        lambda connection: cancel_upload(connection, organisation, upload_id)
    )
    await delete_unused_blobs(service, organisation, released)
    return UploadObject.of(upload)


async def _completed(service: Service, organisation: str, upload: Upload) -> Response:
    file = await service.in_transaction(
        lambda connection: get_file(connection, organisation, upload.file or "")
    )
    return json_response(UploadObject.of(upload, file).model_dump(mode="json"))


def _join(blobs: BlobStore, upload: Upload, parts: Sequence[UploadPart], md5: str | None) -> tuple[Blob, str]:
    """Join the parts into one blob, and recognise its media type.

    Raises:
        InvalidInput: the MD5 of the bytes is not ``md5``.
        HTTPException: 415, the upload's purpose does not allow this media type.
        Permanent: the blob of a part is missing or damaged.
    """
    start, sum = b"", hashlib.md5(usedforsecurity=False)
    with blobs.writer(upload.organisation) as writer:
        for part in parts:
            with blobs.open(upload.organisation, part.sha256) as opened:
                while piece := opened.read(COPY_BYTES):
                    writer.write(piece)
                    sum.update(piece)
                    if len(start) < SNIFFED_BYTES:
                        start += piece[:SNIFFED_BYTES]
        if md5 is not None and sum.hexdigest() != md5.lower():
            raise InvalidInput(
                f"the parts have the MD5 {sum.hexdigest()}, but md5 is {md5};"
                " send the parts that differ again",
                param="md5",
            )
        type = accepted_type(start, name=upload.filename, purpose=upload.purpose)
        return writer.commit(), type
