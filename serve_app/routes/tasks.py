"""POST /upload and GET /tasks/{task_id}: the paths callers knew before there were /v1/files and /v1/jobs. A task is a job.

curl -F file=@manual.pdf http://127.0.0.1:8000/upload      # {"task_id": "job_...", "status": "queued"}
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Request
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from cluster.documents.attaching import attach
from cluster.documents.file_names import plain_name
from cluster.documents.files import create_file
from cluster.documents.stores import ensure_store
from cluster.jobs.jobs import Job, JobState, get_job
from cluster.organisations.organisations import StorageLimits
from cluster.records import digest
from cluster.vector_index import collection_name
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.upload_form import FormRules, upload_form
from serve_app.edge.validation_messages import form_validation_error
from serve_app.routes.file_blobs import deleting_orphan_blob, require_kept_blob
from serve_app.routes.file_purposes import accepted_type
from serve_app.routes.vector_store_fields import FormPriority, Name, queue_options

#: Where files go whose caller names no store.
DEFAULT_STORE = "uploads"
PURPOSE = "assistants"
PERCENT = 100

router = json_router()


class UploadFields(BaseModel):
    """What may stand beside the file."""

    model_config = ConfigDict(extra="forbid")

    vector_store: Annotated[Name, Field(min_length=1)] = DEFAULT_STORE
    priority: FormPriority | None = None


class Accepted(BaseModel):
    """The task that processes the file, and where it will be found."""

    task_id: str
    status: Literal["queued"]
    file_id: str
    vector_store_id: str


class Task(BaseModel):
    """How far a task is."""

    task_id: str
    status: JobState
    progress: Annotated[int, Field(ge=0, le=PERCENT, description="Percent")]
    result: dict[str, Any] | None
    error: str | None


FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "vector_store": {
                            "type": "string",
                            "description": "Name or id; made when it is not there",
                            "default": DEFAULT_STORE,
                        },
                        "priority": {"type": "string", "description": "high, medium, low, or 0 to 9"},
                    },
                }
            }
        },
    }
}


@router.post(
    "/upload",
    summary="Upload a file and make it searchable",
    openapi_extra=FORM,
    response_model=Accepted,
    responses=documented_errors(404, 409, 429),
)
async def upload(request: Request, service: ServiceDep, organisation: Organisation, once: Once) -> Response:
    """As POST /v1/files and POST /v1/vector_stores/{id}/files in one; the store is made when it is not there."""
    settings, fingerprint = service.settings, service.default.engine.fingerprint
    names = frozenset(UploadFields.model_fields)
    rules = FormRules(
        file="file", fields=names, max_bytes=settings.max_file_bytes, setting="CLUSTER_MAX_FILE_BYTES"
    )
    async with upload_form(request, service, organisation, rules) as form:
        fields, name = _fields(form.fields), plain_name(form.filename)
        type = accepted_type(form.start, name=name, purpose=PURPOSE)
        blob = await form.keep()

    def work(connection: Connection[Any]) -> dict[str, Any]:
        require_kept_blob(connection, service, organisation, blob)
        file = create_file(
            connection, organisation, name, PURPOSE, blob, type, default_limits=StorageLimits.of(settings)
        )
        store = ensure_store(
            connection,
            organisation,
            fields.vector_store,
            fingerprint=fingerprint,
            index=settings.vector_index,
        )
        service.model_in(store.fingerprint.id)  # refused before the file waits for a model that is not here
        attached = attach(connection, store, file.id, **queue_options(settings, fields.priority))
        return {"task_id": attached.job, "status": "queued", "file_id": file.id, "vector_store_id": store.id}

    async with deleting_orphan_blob(service, organisation, blob):
        await service.in_database(
            lambda _, indexes: indexes.default.ensure(collection_name(fingerprint), dim=fingerprint.dim)
        )
        return await once(work, content=digest(blob.sha256, name, fields.model_dump_json()))


@router.get(
    "/tasks/{task_id}", summary="How far a task is", responses=documented_errors(HTTPStatus.NOT_FOUND)
)
async def get_task(task_id: str, service: ServiceDep, organisation: Organisation) -> Task:
    """Any job of the caller's organisation; GET /v1/jobs/{id} says more."""
    job = await service.read(lambda connection: get_job(connection, organisation, task_id))
    return Task(task_id=job.id, status=job.state, progress=_percent(job), result=job.result, error=job.error)


def _percent(job: Job) -> int:
    if job.state == JobState.SUCCEEDED:
        return PERCENT
    return min(PERCENT, PERCENT * job.done // job.total) if job.total else 0


def _fields(given: dict[str, str]) -> UploadFields:
    try:
        return UploadFields.model_validate(given)
    except ValidationError as exc:
        raise form_validation_error(exc, given) from exc
