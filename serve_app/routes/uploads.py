"""/v1/uploads, as OpenAI's API reference describes it: a large file in parts, each of which can be sent again on its own.

A part sent twice is one part. Completing writes the parts one after the other into the file's blob, and completing again, because the
answer was lost, gives the same answer.
"""

import hashlib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Request
from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.blobs import Blob, BlobStore
from cluster.documents.file_names import plain_name
from cluster.documents.files import File, Quota, get_file
from cluster.documents.uploads import (
    MOST_PARTS,
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
from serve_app.edge.authentication import Organisation
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.edge.response_model import json_response
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.upload_form import FormRules, upload_form
from serve_app.routes.file_blobs import delete_unused_blobs, deleting_orphan_blob, require_kept_blob
from serve_app.routes.file_purposes import accepted_type
from serve_app.routes.files import Lifetime, file_object, unix
from serve_app.service import Service

router = json_router(404, 409, 429)

COPY_BYTES = 1024 * 1024

FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {"data": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class ExpiresAfter(RequestModel):
    """How long the file will last."""

    anchor: Literal["created_at"]
    seconds: Lifetime


class CreateUploadRequest(RequestModel):
    """OpenAI's."""

    filename: Annotated[Text, Field(max_length=1024)]
    purpose: Purpose
    bytes: Annotated[Whole, Field(ge=1)]
    mime_type: Annotated[Text, Field(max_length=256)]
    expires_after: ExpiresAfter | None = None


class CompleteUploadRequest(RequestModel):
    """OpenAI's."""

    part_ids: Annotated[
        list[Annotated[Text, Field(max_length=64)]], Field(min_length=1, max_length=MOST_PARTS)
    ]
    md5: Annotated[
        str | None, Field(max_length=64, description="Of the whole file, in hexadecimal digits")
    ] = None


@router.post("/v1/uploads", summary="Begin a large file")
async def create(
    body: CreateUploadRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """It takes parts until it is completed, cancelled, or its hour is over."""
    settings, name = service.settings, plain_name(body.filename, param="filename")
    if body.bytes > settings.max_upload_bytes:
        raise InvalidInput(
            f"bytes is {body.bytes:,}, and {settings.max_upload_bytes:,} are the most (CLUSTER_MAX_UPLOAD_BYTES)",
            param="bytes",
        )
    lifetime_s = None if body.expires_after is None else body.expires_after.seconds

    def work(connection: Connection[Any]) -> dict[str, Any]:
        upload = create_upload(
            connection, organisation, name, body.purpose, body.bytes, body.mime_type,
            expires_after_s=lifetime_s, lifetime_s=settings.upload_lifetime_s, quota=Quota.of(settings),
        )  # fmt: skip
        return upload_object(upload)

    return await once(work)


@router.post("/v1/uploads/{upload_id}/parts", summary="Send a part of it", openapi_extra=FORM)
async def add(
    upload_id: str, request: Request, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Parts may be sent side by side and in any order."""
    await service.in_transaction(
        lambda connection: get_pending(connection, organisation, upload_id)
    )  # before taking its bytes
    most = service.settings.max_part_bytes
    async with upload_form(
        request,
        service,
        organisation,
        FormRules(file="data", fields=frozenset(), most=most, setting="CLUSTER_MAX_PART_BYTES"),
    ) as form:
        blob = await form.keep()

    def work(connection: Connection[Any]) -> dict[str, Any]:
        require_kept_blob(connection, service, organisation, blob)
        return part_object(add_part(connection, organisation, upload_id, blob))

    async with deleting_orphan_blob(service, organisation, blob):
        return await once(work, content=blob.sha256)


@router.post("/v1/uploads/{upload_id}/complete", summary="Make it a file")
async def complete(
    upload_id: str, body: CompleteUploadRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """The parts in the order given, which must add up to what was announced; ``file`` is ready to use."""

    def find(connection: Connection[Any]) -> tuple[Upload, list[UploadPart]]:
        upload = get_upload(connection, organisation, upload_id)
        if upload.status == UploadStatus.COMPLETED:
            return upload, []
        return get_pending(connection, organisation, upload_id), ordered_parts(
            connection, upload, body.part_ids
        )

    upload, parts = await service.in_transaction(find)
    if upload.status == UploadStatus.COMPLETED:
        return json_response(await _completed(service, organisation, upload))
    try:
        blob, type = await service.on_blobs(_join, service.blobs, upload, parts, body.md5)
    except Permanent:
        # Somebody else may have ended it, and the parts with it.
        upload, _ = await service.in_transaction(find)
        if upload.status != UploadStatus.COMPLETED:
            raise
        return json_response(await _completed(service, organisation, upload))
    released: list[str] = []

    def work(connection: Connection[Any]) -> dict[str, Any]:
        require_kept_blob(connection, service, organisation, blob)
        done, file, hashes = complete_upload(connection, upload, blob, type, quota=Quota.of(service.settings))
        released[:] = hashes
        return upload_object(done, file)

    async with deleting_orphan_blob(service, organisation, blob):
        answer = await once(work)
    await delete_unused_blobs(service, organisation, released)
    return answer


@router.post("/v1/uploads/{upload_id}/cancel", summary="Give it up")
async def cancel(upload_id: str, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """It takes no part any more, and those it had are deleted."""
    upload, released = await service.in_transaction(
        lambda connection: cancel_upload(connection, organisation, upload_id)
    )
    await delete_unused_blobs(service, organisation, released)
    return upload_object(upload)


def upload_object(upload: Upload, file: File | None = None) -> dict[str, Any]:
    """OpenAI's Upload."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": unix(upload.created_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "expires_at": unix(upload.expires_at),
        **({} if file is None else {"file": file_object(file)}),
    }


def part_object(part: UploadPart) -> dict[str, Any]:
    """OpenAI's UploadPart, and a field of ours: ``bytes``."""
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": unix(part.created_at),
        "upload_id": part.upload,
        "bytes": part.bytes,
    }


async def _completed(service: Service, organisation: str, upload: Upload) -> dict[str, Any]:
    file = await service.in_transaction(
        lambda connection: get_file(connection, organisation, upload.file or "")
    )
    return upload_object(upload, file)


def _join(blobs: BlobStore, upload: Upload, parts: Sequence[UploadPart], md5: str | None) -> tuple[Blob, str]:
    """The parts one after the other in one blob, and the media type found in it.

    Raises:
        InvalidInput: they are not what ``md5`` says.
        HTTPException: 415, the upload's purpose takes no such file.
        Permanent: the blob of a part is gone or damaged.
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
                f"the parts have the MD5 {sum.hexdigest()}, and {md5} was announced", param="md5"
            )
        type = accepted_type(start, name=upload.filename, purpose=upload.purpose)
        return writer.commit(), type
