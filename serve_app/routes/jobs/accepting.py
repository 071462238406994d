"""Check the input of a request for a job or a schedule, and accept the job with ``cluster.submissions``.

``submission`` and the routes of schedules first call ``validated``, which checks the input against the model
of the kind. Then they call ``submit`` or ``checked_arguments`` in the transaction of the request.

    job = submit(connection, submission)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from psycopg import Connection
from pydantic import BaseModel, ValidationError

from cluster.documents.vector_stores.stores import get_store, require_live
from cluster.jobs.jobs import Job
from cluster.jobs.kinds import CRAWL, ESTIMATE_QUALITY, INDEX_FILE, INGEST_FILES
from cluster.jobs.kinds.job_kind import JobKind
from cluster.organisations.caller import require_model
from cluster.organisations.organisations import StorageLimits
from cluster.submissions import AskedJob, accept
from serve_app.routes.file_references import with_url
from serve_app.routes.vector_store_fields import Attributes, ChunkingStrategy, OcrFields, stored_json
from serve_app.routes.vector_store_files import AttachRequest
from serve_app.service import Service

M = TypeVar("M", bound=BaseModel)


class SharedByFiles(OcrFields):
    """The attributes and the options that a job gives to each file that the job attaches."""

    attributes: Attributes | None = None
    chunking_strategy: ChunkingStrategy | None = None


def validated(model: type[M], value: Any, *, body: Any) -> M:
    """Validate the input of a job. An error names the field by its path in the body of the request.

    Args:
        model: the model of the input.
        value: the input.
        body: the whole body of the request. After an error about unknown fields, the route removes these
            fields from the body and calls the handler again.

    Raises:
        RequestValidationError: the model refuses the input.
    """
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        errors = [{**error, "loc": ("body", "input", *error["loc"])} for error in exc.errors()]
        raise RequestValidationError(errors, body=body) from exc


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job that a request asks for."""

    service: Service
    organisation: str
    kind: JobKind
    #: The validated input, an instance of the model ``kind.input``.
    input: Any
    #: The whole body of the request, for messages about its fields.
    body: Any
    #: The arguments ``priority_class``, ``priority``, ``attempts`` and ``run_at`` for functions that queue a
    #: job.
    options: Mapping[str, Any]


def checked(connection: Connection[Any], submission: Submission) -> Submission:
    """Run the further checks of the job's kind, if the kind has such checks. Return the submission with the
    input in the form that a job or a schedule stores.

    Raises:
        ClusterError: a check failed, for example because the vector store does not exist.
        RequestValidationError: the attributes or the chunking strategy in the input are wrong.
    """
    if submission.kind.name not in CHECKS:
        return submission
    return replace(submission, input=CHECKS[submission.kind.name](connection, submission))


def checked_arguments(connection: Connection[Any], submission: Submission) -> dict[str, Any]:
    """Check that a job with this input would be accepted now, and return the input in the form that a
    schedule stores.

    This function accepts the job and then rolls the job back, so a schedule passes every check of a job.

    Raises:
        ClusterError: the job would be refused.
        RequestValidationError: as in ``checked``.
    """
    found = checked(connection, submission)
    with connection.transaction(force_rollback=True):
        _accept(connection, found)
    arguments: dict[str, Any] = found.input.model_dump(exclude_none=True)
    return arguments


def submit(connection: Connection[Any], submission: Submission) -> Job:
    """Check the submission and accept its job, in the transaction of the request.

    Raises:
        ClusterError: the job is refused.
        RequestValidationError: as in ``checked``.
    """
    return _accept(connection, checked(connection, submission))


def _accept(connection: Connection[Any], found: Submission) -> Job:
    asked = AskedJob(
        organisation=found.organisation,
        input=found.input,
        default_limits=StorageLimits.of(found.service.settings),
        report_grace_days=found.service.settings.usage_report_grace_days,
        crawl_max_pages=found.service.settings.crawl_max_pages,
        options=found.options,
    )
    return accept(connection, found.kind, asked)


def _index_file(connection: Connection[Any], submission: Submission) -> BaseModel:
    """Check the input as the route of a store's files does. A URL is replaced by the file for this URL."""
    asked: BaseModel = submission.input
    store = get_store(connection, submission.organisation, submission.input.vector_store_id)
    submission.service.require_configured(store)
    body = validated(AttachRequest, asked.model_dump(exclude={"vector_store_id"}), body=submission.body)
    file = body.file_in(connection, submission.service, submission.organisation)
    settled = _with(asked, with_url(body.attributes, body.url), body.chunking_strategy)
    return settled.model_copy(update={"file_id": file, "url": None})


def _files_of_a_store(connection: Connection[Any], submission: Submission) -> BaseModel:
    asked: BaseModel = submission.input
    store = get_store(connection, submission.organisation, submission.input.vector_store_id)
    submission.service.require_configured(require_live(store))
    shared = asked.model_dump(include=set(SharedByFiles.model_fields))
    body = validated(SharedByFiles, shared, body=submission.body)
    return _with(asked, body.attributes, body.chunking_strategy)


def _estimate_quality(connection: Connection[Any], submission: Submission) -> BaseModel:
    """Check that the caller may use the default model, which the job asks."""
    del connection
    require_model(submission.service.models.default.name)
    asked: BaseModel = submission.input
    return asked


def _with(asked: BaseModel, attributes: Any, chunking_strategy: BaseModel | None) -> BaseModel:
    """Return the input with these attributes and this chunking strategy, in the form that the database
    stores.
    """
    fields = {"attributes": attributes, "chunking_strategy": stored_json(chunking_strategy)}
    return asked.model_copy(update=fields)


#: For some kinds, by name, a function that checks the input further in the transaction of the request.
CHECKS: Mapping[str, Callable[[Connection[Any], Submission], BaseModel]] = MappingProxyType(
    {
        INDEX_FILE.name: _index_file,
        INGEST_FILES.name: _files_of_a_store,
        CRAWL.name: _files_of_a_store,
        ESTIMATE_QUALITY.name: _estimate_quality,
    }
)
