"""/v1/jobs: list jobs, get a job, follow the events of a job, cancel a job, or queue a job again.

OpenAI's API has no jobs, so this project defines the answers (``job_objects``). Times are seconds since 1970.
The module ``submission`` has the routes that submit jobs.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Query, Request
from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.documents.containers.cancellation import cancel_with_entries
from cluster.errors import Conflict, NotFound
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, PriorityClass
from cluster.jobs.jobs import get_job as get_job_record
from cluster.jobs.kinds import kind_named
from cluster.jobs.view import JobFilter, Watch, dead_letters, list_jobs, view_job
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import Moment, MomentOfText, RequestModel, Text, Whole
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.sse import EventStream
from serve_app.routes.jobs.job_events import FeedDep, JobEvents
from serve_app.routes.jobs.job_objects import DetailedJob, JobList, JobObject, RetriedJobs

#: Maximum id of an event: the maximum of Postgres' type ``bigint``.
HIGHEST_EVENT = 2**63 - 1
#: Maximum duration of a stream, as a share of the request timeout. A stream must end before the timeout.
STREAM_SHARE_OF_TIMEOUT = 0.8
MAX_RETRIED = 1_000
#: The schema of one event of a stream, for the OpenAPI document.
EVENT = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
STREAM: dict[str, Any] = {
    "description": "Server-sent events, sent as they happen",
    "content": {"text/event-stream": {"schema": EVENT}},
}

router = json_router(404)


class RetryRequest(RequestModel):
    """The conditions for dead letters that are queued again; without a condition, all dead letters match.

    Times are RFC 3339 or seconds since 1970.
    """

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because more jobs than intended would be queued again if a misspelled condition were
        ignored.
        """
        del name
        return False

    kind: Text | None = None
    """Only jobs of this kind."""
    priority_class: Annotated[PriorityClass | None, Field(strict=False)] = None
    """Only jobs of this priority class."""
    priority: Annotated[PriorityClass | None, Field(strict=False, json_schema_extra={"deprecated": True})] = (
        None
    )
    """The older name of `priority_class`."""
    error_code: Text | None = None
    """Only jobs that failed with this code."""
    subject: Text | None = None
    """Only jobs about the file or vector store with this id."""
    failed_after: Moment | None = None
    """Only jobs that failed at this time or later."""
    failed_before: Moment | None = None
    """Only jobs that failed before this time."""
    limit: Annotated[Whole, Field(ge=1, le=MAX_RETRIED)] = 100
    """Maximum number of jobs."""


@router.get("/v1/jobs", summary="List jobs")
async def get_jobs(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    kind: Annotated[str | None, Query(description="Only jobs of this kind")] = None,
    state: Annotated[JobState | None, Query(description="Only jobs in this state")] = None,
    priority_class: Annotated[PriorityClass | None, Query(description="Only jobs of this class")] = None,
    priority: Annotated[
        PriorityClass | None, Query(description="The older name of `priority_class`", deprecated=True)
    ] = None,
    subject: Annotated[str | None, Query(description="Only jobs about this file or vector store")] = None,
    error_code: Annotated[str | None, Query(description="Only jobs with this error code")] = None,
    created_after: Annotated[
        MomentOfText | None, Query(description="Only jobs accepted at this time or later")
    ] = None,
    created_before: Annotated[
        MomentOfText | None, Query(description="Only jobs accepted before this time")
    ] = None,
) -> JobList:
    """Lists the jobs of the caller's organisation, the newest first."""
    chosen = JobFilter(
        kind=kind,
        state=state,
        priority_class=priority_class or priority,
        subject=subject,
        error_code=error_code,
        created_after=created_after,
        created_before=created_before,
    )
    found = await service.read(lambda connection: list_jobs(connection, organisation, chosen, page))
    return JobList.of(found, JobObject.of, lambda job: job.id)


@router.get("/v1/jobs/{job_id}", summary="Get a job and its history")
async def get_job(job_id: str, service: ServiceDep, organisation: Organisation) -> DetailedJob:
    """Shows a job with its stages, its attempts, its position in the queue, and the reason why it waits."""
    now, lease_s = datetime.now(UTC), service.settings.lease_s
    return DetailedJob.of_view(
        await service.read(
            lambda connection: view_job(connection, organisation, job_id, now=now, lease_s=lease_s)
        )
    )


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow the events of a job",
    status_code=HTTPStatus.OK,
    response_class=Response,
    responses={
        **documented_errors(404, 429),
        200: STREAM,
        204: {"description": "The job has ended, and the listener has all of its events"},
    },
)
async def get_job_events(
    job_id: str,
    request: Request,
    service: ServiceDep,
    feed: FeedDep,
    organisation: Organisation,
    last_event_id: Annotated[
        int | None, Header(ge=0, le=HIGHEST_EVENT, description="Id of the last event that was received")
    ] = None,
) -> Response:
    """Sends the events of a job until the job ends or the time limit is reached. If `Last-Event-ID` is
    given, only later events are sent."""
    feed.listeners.require_room()
    watch = Watch(organisation=organisation, job=job_id, after=last_event_id or 0)
    first = (await feed.read([watch])).get(watch)
    if first is None:
        raise NotFound(f"no job {job_id!r}")
    if first.last and not first.events:
        return Response(status_code=HTTPStatus.NO_CONTENT)  # after 204, a browser does not connect again
    longest_s = STREAM_SHARE_OF_TIMEOUT * service.settings.request_timeout_s
    return EventStream(
        JobEvents(feed, watch, first=first),
        listeners=feed.listeners,
        stopping=request.app.state.stopping,
        longest_s=longest_s,
    )


@router.post("/v1/jobs/retry", summary="Queue dead letters again", response_model=RetriedJobs)
async def retry_dead_letters(
    body: RetryRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Queues again at most `limit` failed jobs that match the conditions, earliest failure first."""
    chosen = JobFilter(
        kind=body.kind,
        priority_class=body.priority_class or body.priority,
        subject=body.subject,
        error_code=body.error_code,
        finished_after=body.failed_after,
        finished_before=body.failed_before,
    )
    attempts = service.settings.job_attempts

    def retry(connection: Connection[Any]) -> RetriedJobs:
        ids = dead_letters(connection, organisation, chosen, limit=body.limit + 1)
        for id in ids[: body.limit]:
            queue.replay(connection, organisation, id, attempts=attempts)
        queued = ids[: body.limit]
        return RetriedJobs(retried=len(queued), job_ids=queued, has_more=len(ids) > body.limit)

    return await once(retry)


@router.post("/v1/jobs/{job_id}/cancel", summary="Cancel a job", responses=documented_errors(404, 409))
async def cancel_job(job_id: str, service: ServiceDep, organisation: Organisation) -> JobObject:
    """Cancels a job.

    A queued job is cancelled at once, and a running job within seconds. A job that has ended does not change.
    If the job indexes an archive or an e-mail, the open jobs of its entries are cancelled, too.
    """

    def cancel(connection: Connection[Any]) -> Job:
        job = get_job_record(connection, organisation, job_id)
        kind = kind_named(job.kind)
        if not kind.cancellable:
            raise Conflict(f"job {job_id} of kind {kind.name} cannot be cancelled; wait for its end")
        return cancel_with_entries(connection, job)

    return JobObject.of(await service.in_transaction(cancel))


@router.post(
    "/v1/jobs/{job_id}/retry",
    summary="Queue a job again",
    response_model=JobObject,
    responses=documented_errors(404, 409),
)
async def retry_job(job_id: str, service: ServiceDep, organisation: Organisation, once: Once) -> Response:
    """Queues a failed or cancelled job again. The job keeps its id and input, and gets new attempts."""
    attempts = service.settings.job_attempts
    return await once(
        lambda connection: JobObject.of(queue.replay(connection, organisation, job_id, attempts=attempts))
    )
