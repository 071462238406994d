"""/v1/jobs: what was asked for and how far it is; follow it, end it, queue it again.

A shape of ours: OpenAI's has no jobs. Times are seconds since 1970.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Request
from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.errors import NotFound
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState, PriorityClass
from cluster.jobs.view import (
    AttemptRun,
    JobFilter,
    JobView,
    StageRun,
    Watch,
    dead_letters,
    list_jobs,
    view_job,
)
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep, listed
from serve_app.edge.request_model import Moment, MomentOfText, RequestModel, Text, Whole
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.job_events import EventStream, FeedOf

#: Postgres' bigint, which the ids of events are.
HIGHEST_EVENT = 2**63 - 1
#: A stream ends by itself before the time limit on requests would break it off.
STREAM_SHARE_OF_TIMEOUT = 0.8
MOST_RETRIED = 1_000
#: For the OpenAPI document: what one event of a stream holds.
EVENT = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
STREAM: dict[str, Any] = {
    "description": "Events, as they happen",
    "content": {"text/event-stream": {"schema": EVENT}},
}

router = json_router(404)


class RetryRequest(RequestModel):
    """Which dead letters; all of them when it says nothing. Times are RFC 3339 or seconds since 1970."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """False: without a condition that is misspelt, more jobs would be queued again."""
        del name
        return False

    kind: Text | None = None
    priority: Annotated[PriorityClass | None, Field(strict=False)] = None
    error_code: Text | None = None
    subject: Text | None = None
    failed_after: Moment | None = None
    failed_before: Moment | None = None
    limit: Annotated[Whole, Field(ge=1, le=MOST_RETRIED)] = 100


@router.get("/v1/jobs", summary="Jobs, the newest first")
async def get_jobs(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    kind: str | None = None,
    state: JobState | None = None,
    priority: PriorityClass | None = None,
    subject: str | None = None,
    error_code: str | None = None,
    created_after: MomentOfText | None = None,
    created_before: MomentOfText | None = None,
) -> dict[str, Any]:
    """Those of the caller's organisation, of one kind, state, class, subject or age if asked; a page at a time."""
    chosen = JobFilter(
        kind=kind,
        state=state,
        priority_class=priority,
        subject=subject,
        error_code=error_code,
        created_after=created_after,
        created_before=created_before,
    )
    found = await service.read(lambda connection: list_jobs(connection, organisation, chosen, page))
    return listed(found, as_json, lambda job: job.id)


@router.get("/v1/jobs/{job_id}", summary="One job and its history")
async def get_job(job_id: str, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """With its stages, its attempts, its place in the queue, and why it waits if it does."""
    now, lease_s = datetime.now(UTC), service.settings.lease_s
    return _detailed(
        await service.read(
            lambda connection: view_job(connection, organisation, job_id, now=now, lease_s=lease_s)
        )
    )


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="What happens to a job, as it happens",
    status_code=HTTPStatus.OK,
    response_class=Response,
    responses={
        **documented_errors(404, 429),
        200: STREAM,
        204: {"description": "The job has ended, and all of its events were seen"},
    },
)
async def get_job_events(
    job_id: str,
    request: Request,
    service: ServiceDep,
    feed: FeedOf,
    organisation: Organisation,
    last_event_id: Annotated[int | None, Header(ge=0, le=HIGHEST_EVENT)] = None,
) -> Response:
    """Server-sent events, from the first or from the one after `Last-Event-ID`; the stream ends with the job."""
    feed.require_room()
    watch = Watch(organisation=organisation, job=job_id, after=last_event_id or 0)
    first = (await feed.read([watch])).get(watch)
    if first is None:
        raise NotFound(f"no job {job_id!r}")
    if first.last and not first.events:
        return Response(status_code=HTTPStatus.NO_CONTENT)  # a browser stops asking then
    longest_s = STREAM_SHARE_OF_TIMEOUT * service.settings.request_timeout_s
    return EventStream(feed, watch, first=first, stopping=request.app.state.stopping, longest_s=longest_s)


@router.post("/v1/jobs/retry", summary="Queue dead letters again")
async def retry_dead_letters(
    body: RetryRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """All failed jobs that match, at most `limit` at once, those that failed first first; `has_more` says to ask again."""
    chosen = JobFilter(
        kind=body.kind,
        priority_class=body.priority,
        subject=body.subject,
        error_code=body.error_code,
        finished_after=body.failed_after,
        finished_before=body.failed_before,
    )
    attempts = service.settings.job_attempts

    def retry(connection: Connection[Any]) -> dict[str, Any]:
        ids = dead_letters(connection, organisation, chosen, limit=body.limit + 1)
        for id in ids[: body.limit]:
            queue.replay(connection, organisation, id, attempts=attempts)
        queued = ids[: body.limit]
        return {
            "object": "job.retry",
            "retried": len(queued),
            "job_ids": queued,
            "has_more": len(ids) > body.limit,
        }

    return await once(retry)


@router.post("/v1/jobs/{job_id}/cancel", summary="End a job")
async def cancel_job(job_id: str, service: ServiceDep, organisation: Organisation) -> dict[str, Any]:
    """At once while it is queued; one that runs is ended by its worker within seconds. A job that has ended stays as it is."""
    return as_json(
        await service.in_transaction(lambda connection: queue.cancel(connection, organisation, job_id))
    )


@router.post("/v1/jobs/{job_id}/retry", summary="Queue a job again", responses=documented_errors(404, 409))
async def retry_job(job_id: str, service: ServiceDep, organisation: Organisation, once: Once) -> Response:
    """A job that failed or was cancelled, with its input, under its id, with as many tries as a new one."""
    attempts = service.settings.job_attempts
    return await once(
        lambda connection: as_json(queue.replay(connection, organisation, job_id, attempts=attempts))
    )


def as_json(job: Job) -> dict[str, Any]:
    """A job as a list shows it."""
    return {
        "id": job.id,
        "object": "job",
        "kind": job.kind,
        "state": job.state,
        "priority": job.priority_class,
        "place": job.priority,
        "subject": job.subject,
        "stage": job.stage,
        "attempt": job.attempt,
        "last_attempt": job.last_attempt,
        "progress": _progress(job),
        "cancel_asked": job.cancel_asked,
        "error": None if job.error is None else {"code": job.error_code, "message": job.error},
        "created_at": _seconds(job.created_at),
        "started_at": _seconds(job.started_at),
        "finished_at": _seconds(job.finished_at),
        "retry_at": _seconds(job.retry_at),
    }


def _detailed(view: JobView) -> dict[str, Any]:
    shown, speed, waiting, current = as_json(view.job), view.speed, view.waiting, view.current
    shown["progress"] |= {
        "stage": None if current is None else {"name": current.name, **_progress(current)},
        "rate_per_s": None if speed is None else round(speed.rate_per_s, 3),
        "eta_s": None if speed is None or speed.eta_s is None else round(speed.eta_s, 1),
    }
    return {
        **shown,
        "input": view.job.input,
        "result": view.job.result,
        "worker": view.job.worker,
        "position": view.position,
        "waiting": None
        if waiting is None
        else {"reason": waiting.reason, "message": waiting.message, "until": _seconds(waiting.until)},
        "stages": [_stage(stage) for stage in view.stages],
        "attempts": [_attempt(attempt) for attempt in view.attempts],
    }


def _progress(of: Job | StageRun) -> dict[str, Any]:
    return {"done": of.done, "total": of.total, "unit": of.unit}


def _stage(stage: StageRun) -> dict[str, Any]:
    return {
        "stage": stage.name,
        "attempt": stage.attempt,
        "tries": stage.tries,
        **_progress(stage),
        "started_at": _seconds(stage.started_at),
        "ended_at": _seconds(stage.ended_at),
        "seconds": _between(stage.started_at, stage.ended_at),
        "error": stage.error,
    }


def _attempt(attempt: AttemptRun) -> dict[str, Any]:
    return {
        "attempt": attempt.number,
        "worker": attempt.worker,
        "outcome": attempt.outcome,
        "started_at": _seconds(attempt.started_at),
        "ended_at": _seconds(attempt.ended_at),
        "seconds": _between(attempt.started_at, attempt.ended_at),
        "error": attempt.error,
    }


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else round(at.timestamp(), 3)


def _between(start: datetime, end: datetime | None) -> float | None:
    return None if end is None else round((end - start).total_seconds(), 3)
