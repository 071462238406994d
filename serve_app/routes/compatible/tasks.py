"""POST /upload and GET /tasks/{task_id}, which are older than /v1/files and /v1/jobs.

These paths are for older clients. A task is a job.

curl -F file=@manual.pdf http://127.0.0.1:8000/upload      # {"task_id": "job_...", "status": "queued"}
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal, Self

from fastapi import Request
from psycopg import Connection
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from cluster.documents.file_names import plain_name
from cluster.documents.files import create_file
from cluster.documents.vector_stores.attaching import attach
from cluster.documents.vector_stores.stores import ensure_store
from cluster.jobs.jobs import Job, JobState, PriorityClass, get_job
from cluster.organisations.organisations import StorageLimits
from cluster.records import digest
from cluster.vector_index import collection_name
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.forms.upload_form import FormRules, documented_form, upload_form
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.validation_messages import form_validation_error
from serve_app.routes.stored_files import accepted_type, deleting_orphan_blob, require_kept_blob
from serve_app.routes.vector_store_fields import (
    PRIORITY_CLASS_DESCRIPTION,
    PRIORITY_DESCRIPTION,
    FormPriority,
    Name,
    RequestedClass,
    queue_options,
)

#: Name of the vector store for uploads that name no store.
DEFAULT_STORE = "uploads"
PURPOSE = "assistants"
PERCENT = 100

router = json_router()


class UploadFields(BaseModel):
    """The fields of the form besides the file."""

    model_config = ConfigDict(extra="forbid")

    vector_store: Annotated[Name, Field(min_length=1)] = DEFAULT_STORE
    priority_class: RequestedClass | None = None
    priority: FormPriority | None = None


class AcceptedUpload(ResponseModel):
    """The task that processes an uploaded file."""

    task_id: str
    """Id of the task; see `/tasks/{task_id}`."""
    status: Literal["queued"] = "queued"
    """Always `queued`."""
    file_id: str
    """Id of the file; see `/v1/files/{file_id}`."""
    vector_store_id: str
    """Id of the vector store that the file is attached to."""


class TaskObject(ResponseModel):
    """The state of a task."""

    task_id: str
    """Id of the task."""
    status: JobState
    """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
    progress: Annotated[int, Field(ge=0, le=PERCENT)]
    """Percentage of the task that is done, from 0 to 100."""
    result: dict[str, Any] | None
    """Result of the task; null if the task has not ended or has no result."""
    error: str | None
    """Why the task failed or was cancelled; null otherwise."""

    @classmethod
    def of(cls, job: Job) -> Self:
        """Convert the job into a task."""
        return cls(
            task_id=job.id, status=job.state, progress=_percent(job), result=job.result, error=job.error
        )


FORM = documented_form(
    {
        "file": {"type": "string", "format": "binary", "description": "The file"},
        "vector_store": {
            "type": "string",
            "description": "Name or id of a vector store; created if it does not exist",
            "default": DEFAULT_STORE,
        },
        "priority_class": {
            "type": "string",
            "enum": list(PriorityClass),
            "description": PRIORITY_CLASS_DESCRIPTION,
        },
        "priority": {"type": "string", "description": PRIORITY_DESCRIPTION},
    },
    required=["file"],
)


@router.post(
    "/upload",
    summary="Upload a file and make it searchable",
    openapi_extra=FORM,
    response_model=AcceptedUpload,
    responses=documented_errors(404, 409, 429),
)
async def upload(request: Request, service: ServiceDep, organisation: Organisation, once: Once) -> Response:
    """Stores a file and attaches it to a vector store. The store is created if it does not exist."""
    settings, fingerprint = service.settings, service.models.default.engine.fingerprint
    names = frozenset(UploadFields.model_fields)
    rules = FormRules(
        file="file", fields=names, max_bytes=settings.max_file_bytes, setting="CLUSTER_MAX_FILE_BYTES"
    )
    async with upload_form(request, service, organisation, rules) as form:
        fields, name = _fields(form.fields), plain_name(form.filename)
        type = accepted_type(form.start, name=name, purpose=PURPOSE)
        blob = await form.keep()

    def work(connection: Connection[Any]) -> AcceptedUpload:
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
        service.require_configured(store)
        attached = attach(connection, store, file.id, **queue_options(settings, fields))
        return AcceptedUpload(task_id=attached.job, file_id=file.id, vector_store_id=store.id)

    async with deleting_orphan_blob(service, organisation, blob):
        await service.in_database(
            lambda _, indexes: indexes.default.ensure(collection_name(fingerprint), dim=fingerprint.dim)
        )
        return await once(work, content=digest(blob.sha256, name, fields.model_dump_json()))


@router.get(
    "/tasks/{task_id}", summary="Get the state of a task", responses=documented_errors(HTTPStatus.NOT_FOUND)
)
async def get_task(task_id: str, service: ServiceDep, organisation: Organisation) -> TaskObject:
    """Shows the state of any job of the caller's organisation; `GET /v1/jobs/{job_id}` shows more."""
    job = await service.read(lambda connection: get_job(connection, organisation, task_id))
    return TaskObject.of(job)


def _percent(job: Job) -> int:
    if job.state == JobState.SUCCEEDED:
        return PERCENT
    return min(PERCENT, PERCENT * job.done // job.total) if job.total else 0


def _fields(given: dict[str, str]) -> UploadFields:
    try:
        return UploadFields.model_validate(given)
    except ValidationError as exc:
        raise form_validation_error(exc, given) from exc
