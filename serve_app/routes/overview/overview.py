"""GET /v1/overview shows the queues, the dead letters, the throughput and the fleet at this moment, and GET
/v1/overview/events sends the overview each time it changes. GET /v1/caller shows the caller of the request.

The console calls these routes.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from cluster.errors import NotPermitted
from cluster.organisations.caller import current_caller
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.sse import EventStream
from serve_app.routes.jobs.job_changes import Duration
from serve_app.routes.jobs.jobs import STREAM, STREAM_SHARE_OF_TIMEOUT
from serve_app.routes.overview.overview_feed import OverviewEvents, OverviewFeedDep, OverviewScope
from serve_app.routes.overview.overview_objects import CallerObject, OverviewObject

router = json_router()

ScopeParameter = Annotated[
    OverviewScope,
    Query(
        description="`organisation` for the caller's organisation, or `cluster` for all organisations and the"
        " fleet, which only the operator may see"
    ),
]


def _permitted(scope: OverviewScope) -> None:
    """Check that the caller may see the scope.

    Raises:
        NotPermitted: the scope is ``cluster``, and the caller does not operate the cluster.
    """
    if scope == "cluster" and not current_caller().operates:
        raise NotPermitted(
            "only the operator's key (CLUSTER_API_KEY) may see the whole cluster; leave out the scope"
        )


@router.get("/v1/caller", summary="Show the caller of the request")
async def get_caller() -> CallerObject:
    """Shows the organisation and the scopes of the API key or token of this request."""
    return CallerObject.of(current_caller())


@router.get("/v1/overview", summary="Show queues, throughput and fleet", responses=documented_errors(403))
async def get_overview(
    feed: OverviewFeedDep, organisation: Organisation, scope: ScopeParameter = "organisation"
) -> OverviewObject:
    """Shows how many jobs wait, how many run and how many ended lately, the dead letters, and the tokens
    embedded lately; for the whole cluster, also the fleet. The numbers are at most two seconds old."""
    _permitted(scope)
    return await feed.read(scope, organisation)


@router.get(
    "/v1/overview/events",
    summary="Follow queues, throughput and fleet",
    status_code=HTTPStatus.OK,
    response_class=Response,
    responses={**documented_errors(403, 429), 200: STREAM},
)
async def get_overview_events(
    request: Request,
    service: ServiceDep,
    feed: OverviewFeedDep,
    organisation: Organisation,
    scope: ScopeParameter = "organisation",
    duration_s: Duration = None,
) -> Response:
    """Sends the overview now, and again every two seconds if it has changed. Connect again when the stream
    ends."""
    _permitted(scope)
    feed.listeners.require_room()
    longest_s = STREAM_SHARE_OF_TIMEOUT * service.settings.request_timeout_s
    return EventStream(
        OverviewEvents(feed, scope, organisation),
        listeners=feed.listeners,
        stopping=request.app.state.stopping,
        longest_s=longest_s if duration_s is None else min(duration_s, longest_s),
    )
