"""POST /v1/jobs and GET /v1/jobs/kinds: submit a job of any public kind, and list these kinds.

``cluster.jobs.kinds`` says which kinds are public and what their input is. ``accepting`` checks the input,
and ``cluster.submissions`` accepts the job.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from cluster.errors import InvalidInput
from cluster.jobs.jobs import PriorityClass
from cluster.jobs.kinds import INDEX_FILE, KINDS
from cluster.jobs.kinds.job_kind import JobKind
from cluster.jobs.schedules.windowed_jobs import earliest, mark
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import Moment, RequestModel, Text
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.messages import quoted
from serve_app.routes.jobs.accepting import Submission, submit, validated
from serve_app.routes.jobs.job_objects import JobObject
from serve_app.routes.jobs.window_fields import WindowRequest
from serve_app.routes.vector_store_fields import Priority, RequestedClass, queue_options
from serve_app.service import Service

#: The names of the tasks in the platform that came before this project. If a kind of job does the work of a
#: task, the task's name is an alias of that kind. If no kind does the work, the request is refused, and the
#: error names the task.
OLD_TASKS = (
    "process_document",
    "generate_embeddings_batch",
    "bulk_insert_vectors",
    "compute_hourly_stats",
    "compute_daily_analytics",
    "generate_usage_report",
    "enrich_customer_profile",
    "bulk_agent_creation",
    "discover_urls",
)
#: Maximum time between now and ``not_before``.
LONGEST_DELAY = timedelta(days=366)
#: A ``not_before`` that passed at most this long ago is accepted, because the clock of a client may be behind
#: ours. The job then begins at once.
CLOCK_SKEW = timedelta(minutes=1)


router = json_router()


def public_kinds() -> Iterator[tuple[JobKind, type[BaseModel]]]:
    """Return the kinds that a request may name, each with the model of its input."""
    return ((kind, kind.input) for kind in KINDS.values() if kind.input is not None)


def published_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of the model without references, so that another schema can contain it."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:
        if isinstance(part, list):
            return [inlined(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            part = {**definitions[part["$ref"].rpartition("/")[2]], **part}
        # ``additionalProperties`` is left out because requests may have unknown fields, which are ignored.
        left_out = {("additionalProperties", False), ("default", None)}
        return {
            name: inlined(value)
            for name, value in part.items()
            if name != "$ref" and (isinstance(value, dict | list) or (name, value) not in left_out)
        }

    found: dict[str, Any] = inlined(schema)
    return found


class SubmitRequest(RequestModel):
    """A job to submit."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False for a field of the job itself, because the job would begin at once if a misspelled
        `not_before` were ignored. The name of an unknown field of the input is empty here. Such a field may
        be ignored.
        """
        return not name

    kind: Text
    """Kind of the job, or an older name of the kind; `GET /v1/jobs/kinds` lists both."""
    input: Annotated[
        dict[str, Any],
        Field(json_schema_extra={"anyOf": [published_schema(model) for _, model in public_kinds()]}),
    ]
    """What the job does. Each kind has a schema of its own."""
    priority_class: RequestedClass | None = None
    priority: Priority | None = None
    not_before: Moment | None = None
    """Earliest time at which the job begins, within the next 366 days: RFC 3339 with a time zone, or seconds
    since 1970."""
    window: WindowRequest | None = None
    """The hours and days in which the job may begin; by default, it begins at any time."""


class JobKindObject(ResponseModel):
    """A kind of job that can be submitted."""

    kind: str
    """Name of the kind."""
    object: Literal["job.kind"] = "job.kind"
    """Always `job.kind`."""
    description: str
    """What such a job does."""
    aliases: list[str]
    """Other names by which a request may name the kind."""
    priority_class: PriorityClass
    """Priority class of a job whose request names no priority class."""
    attempts: int
    """Maximum number of attempts at such a job."""
    unit: str
    """What the progress of such a job counts."""
    cancellable: bool
    """True if such a job can be cancelled."""
    retryable: bool
    """True if such a job can be queued again after it failed or was cancelled."""
    result: list[str]
    """Names of the fields of a succeeded job's `result`."""
    input_schema: dict[str, Any]
    """JSON schema of `input`."""

    @classmethod
    def of(cls, kind: JobKind, model: type[BaseModel]) -> Self:
        """Convert the kind into the object that answers contain."""
        return cls(
            kind=kind.name,
            description=" ".join((model.__doc__ or "").split()),
            aliases=list(kind.aliases),
            priority_class=kind.priority_class,
            attempts=kind.attempts,
            unit=kind.unit,
            cancellable=kind.cancellable,
            retryable=kind.retryable,
            result=list(kind.result),
            input_schema=published_schema(model),
        )


class JobKindList(ResponseModel):
    """The kinds of jobs that can be submitted."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[JobKindObject]
    """The kinds."""


@router.get("/v1/jobs/kinds", summary="List the kinds of jobs")
async def get_job_kinds() -> JobKindList:
    """Lists the kinds of jobs that can be submitted, each with the JSON schema of its input."""
    return JobKindList(data=[JobKindObject.of(kind, model) for kind, model in public_kinds()])


@router.post(
    "/v1/jobs", summary="Submit a job", response_model=JobObject, responses=documented_errors(404, 409, 429)
)
async def submit_job(
    body: SubmitRequest, request: Request, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Queues a job of a public kind. The input must have the form that `GET /v1/jobs/kinds` shows."""
    kind, model = named_kind(body.kind)
    window = None if body.window is None else body.window.window()
    check_not_before(body.not_before)
    submission = Submission(
        service=service,
        organisation=organisation,
        kind=kind,
        input=validated(model, body.input, body=await request.json()),
        body=await request.json(),
        options={**_options(service, kind, body), "run_at": earliest(window, body.not_before)},
    )
    return await once(
        lambda connection: JobObject.of(mark(connection, submit(connection, submission), run_window=window))
    )


def named_kind(name: str) -> tuple[JobKind, type[BaseModel]]:
    """Return the public kind with this name or alias, and the model of its input.

    Raises:
        InvalidInput: no public kind has this name. The message lists the kinds.
    """
    for kind, model in public_kinds():
        if name in {kind.name, *kind.aliases}:
            return kind, model
    kinds = ", ".join(kind.name for kind, _ in public_kinds())
    if name in OLD_TASKS:
        raise InvalidInput(
            f"kind is {quoted(name)}, a task of the older platform that this release cannot run yet; "
            f"the kinds are {kinds}",
            param="kind",
        )
    raise InvalidInput(f"kind is {quoted(name)}; it must be one of {kinds}", param="kind")


def _options(service: Service, kind: JobKind, body: SubmitRequest) -> dict[str, Any]:
    """Return the queue options of the request. If the request names no priority class, use the priority class
    of the kind.
    """
    options = queue_options(service.settings, body)
    if body.priority_class is None and not isinstance(body.priority, str):
        options["priority_class"] = kind.priority_class
    if kind is not INDEX_FILE:  # the setting ``job_attempts`` is only for jobs about a file
        options["attempts"] = kind.attempts
    return options


def check_not_before(not_before: datetime | None) -> None:
    """Check the earliest time of a job or a schedule.

    Raises:
        InvalidInput: the time passed more than a minute ago, or is more than 366 days away.
    """
    now = datetime.now(UTC)
    if not_before is not None and not now - CLOCK_SKEW <= not_before <= now + LONGEST_DELAY:
        raise InvalidInput(
            f"not_before is {not_before.isoformat()}; it must be within the next {LONGEST_DELAY.days} days",
            param="not_before",
        )
