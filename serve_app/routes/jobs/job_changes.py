"""GET /v1/jobs/events sends each job of an organisation when the job changes, for pages that show many jobs.

All listeners of a replica share one query a second, which reads the changed jobs of all organisations that
have listeners. Each listener collects the jobs of its organisation until it sends the next batch.
"""

import asyncio
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated, Any, cast
from weakref import WeakSet

import structlog
from fastapi import Depends, Query, Request
from psycopg import Connection
from starlette.responses import Response

from cluster.database import on_behalf_of_the_cluster
from cluster.errors import Retryable
from cluster.jobs.changes.job_changes import ChangeReader
from cluster.jobs.jobs import Job
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.sse import Batch, EventStream, Listeners, ServerSentEvent
from serve_app.routes.jobs.job_objects import JobObject
from serve_app.routes.jobs.jobs import STREAM, STREAM_SHARE_OF_TIMEOUT
from serve_app.service import Service

log = structlog.get_logger(__name__)

POLL_S = 1.0
#: Maximum number of jobs in one event. If more jobs have changed, the client has to read the list again.
MAX_JOBS = 200
#: Maximum number of listeners of one replica. Each listener counts towards ``main.MAX_ONGOING_REQUESTS``.
MAX_LISTENERS = 64

router = json_router()
Duration = Annotated[
    float | None,
    Query(
        ge=0,
        allow_inf_nan=False,
        description="Seconds after which the stream ends, if no other limit ends the stream earlier",
    ),
]


class JobChanges:
    """An ``edge.sse.EventSource`` that gives the changed jobs of one organisation to one listener.

    The first event has the type ``ready``. Every later change is sent, so the client reads the list of jobs
    when this event arrives. Later events have the type ``jobs``.
    """

    def __init__(self, organisation: str) -> None:
        self.organisation = organisation
        #: Jobs that are not sent yet, at most ``MAX_JOBS``.
        self._changed: dict[str, Job] = {}
        #: True if further jobs have changed.
        self._has_more = False
        self._error: BaseException | None = None
        self._arrived = asyncio.Event()
        self._count = 0

    def add(self, jobs: Iterable[Job]) -> None:
        """Keep the jobs of this organisation until they are sent, but at most ``MAX_JOBS`` jobs, because a
        client can read slowly. A later state of a job replaces an earlier one.
        """
        for job in jobs:
            if job.organisation != self.organisation:
                continue
            if job.id in self._changed or len(self._changed) < MAX_JOBS:
                self._changed[job.id] = job
            else:
                self._has_more = True
            self._arrived.set()

    def fail(self, error: BaseException) -> None:
        """End the stream of this listener with the error, because no further change is read for it."""
        self._error = error
        self._arrived.set()

    async def next(self, timeout_s: float) -> Batch | None:
        """Return the event ``ready`` at the first call, and then the jobs that have changed; None if no job
        changes within ``timeout_s`` seconds. If the changes cannot be read because of an unexpected error,
        this error is raised here.
        """
        if self._count == 0:
            return self._batch("ready", [], has_more=False)
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout_s)
        except TimeoutError:
            return None
        if self._error is not None:
            raise self._error
        jobs, has_more = list(self._changed.values()), self._has_more
        self._changed, self._has_more = {}, False
        self._arrived.clear()
        return self._batch("jobs", jobs, has_more=has_more)

    def _batch(self, type: str, jobs: list[Job], *, has_more: bool) -> Batch:
        self._count += 1
        data = {
            "object": "job.changes",
            "data": [JobObject.of(job).model_dump(mode="json", by_alias=True) for job in jobs],
            "has_more": has_more,
        }
        return Batch(events=[ServerSentEvent(id=self._count, type=type, data=data)], last=False)


class ChangeFeed:
    """Reads the changed jobs for the listeners of one replica."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._open: WeakSet[JobChanges] = WeakSet()
        self._poller: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self.listeners = Listeners(MAX_LISTENERS, instead="ask GET /v1/jobs from time to time")

    async def follow(self, organisation: str) -> JobChanges:
        """Return a source that gets every later change of the organisation's jobs. When the stream that holds
        the source ends, the feed forgets the source.
        """
        changes = JobChanges(organisation)
        self._open.add(changes)
        if self._poller is None or self._poller.done():
            self._started.clear()
            # One task reads for all organisations, so it must not inherit the access of this request.
            self._poller = on_behalf_of_the_cluster(asyncio.create_task, self._poll())
        await self._started.wait()
        return changes

    async def _poll(self) -> None:
        reader = ChangeReader()
        try:
            while organisations := {one.organisation for one in self._open}:
                began = time.monotonic()

                def ask(connection: Connection[Any], asked: set[str] = organisations) -> list[Job]:
                    return reader.read(connection, sorted(asked))

                try:
                    jobs = await self._service.read(ask)
                except Retryable as exc:
                    log.warning("job_changes_not_read", listeners=len(self._open), reason=str(exc))
                except Exception as exc:  # nothing awaits this task, so the listeners get the error
                    log.exception("job_changes_failed", listeners=len(self._open))
                    for changes in list(self._open):
                        changes.fail(exc)
                    self._open.clear()
                else:
                    self._started.set()
                    for changes in list(self._open):
                        changes.add(jobs)
                await asyncio.sleep(max(0.0, POLL_S - (time.monotonic() - began)))
        finally:
            self._started.set()  # so that no listener waits for a task that has ended


async def _feed(request: Request) -> ChangeFeed:
    return cast(ChangeFeed, request.app.state.job_changes)


@router.get(
    "/v1/jobs/events",
    summary="Follow the changes of all jobs",
    status_code=HTTPStatus.OK,
    response_class=Response,
    responses={**documented_errors(429), 200: STREAM},
)
async def get_jobs_events(
    request: Request,
    service: ServiceDep,
    feed: Annotated[ChangeFeed, Depends(_feed)],
    organisation: Organisation,
    duration_s: Duration = None,
) -> Response:
    """Sends the jobs of the caller's organisation as they change.

    The first event, `ready`, has no jobs: read the list of jobs when it arrives. Each event `jobs` after it
    holds in `data` the changed jobs as they are now. If `has_more` is true, more jobs have changed than the
    event holds; read the list again. Connect again when the stream ends."""
    feed.listeners.require_room()
    longest_s = STREAM_SHARE_OF_TIMEOUT * service.settings.request_timeout_s
    return EventStream(
        await feed.follow(organisation),
        listeners=feed.listeners,
        stopping=request.app.state.stopping,
        longest_s=longest_s if duration_s is None else min(duration_s, longest_s),
    )
