"""GET /v1/stats and /v1/agents/{agent_id}/stats: statistics of the organisation and of an agent."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Depends, Header, Query
from psycopg import Connection
from starlette.responses import Response

from cluster.analytics.rollups import DAY, HOUR, Grain
from cluster.analytics.stats import StatsQuery, read_stats
from cluster.analytics.system_stats import system_stats
from cluster.errors import InvalidInput
from cluster.platform_data.rows import AGENTS
from cluster.text.well_formed import json_bytes
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.request_model import MomentOfText
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.analytics.stats_objects import (
    AgentStatsObject,
    OrganisationStatsObject,
    StatsDefinitionsObject,
    SystemStatsObject,
)

router = json_router(404)

#: Maximum number of windows of an answer.
MAX_BUCKETS = 1_000
#: For each width of a window: its grain, about its length, and the length of the period if the request names
#: no beginning.
WIDTHS: dict[str, tuple[Grain, timedelta, timedelta]] = {
    "1h": (HOUR, timedelta(hours=1), timedelta(hours=24)),
    "1d": (DAY, timedelta(days=1), timedelta(days=30)),
}
TAG_BYTES = 16
#: The conditional request of HTTP caches (RFC 9110, section 13.1.2).
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The statistics are those of the header `If-None-Match`."}
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StatsPeriod:
    """The period and the windows that a request asks for."""

    begin: datetime
    end: datetime
    grain: Grain


async def _period(
    start_time: Annotated[
        MomentOfText | None,
        Query(description="Beginning of the period; by default 24 hours or 30 days before its end"),
    ] = None,
    end_time: Annotated[
        MomentOfText | None, Query(description="End of the period, which is not part of it; by default now")
    ] = None,
    bucket_width: Annotated[
        Literal["1h", "1d"],
        Query(description="`1h`: hours in UTC; `1d`: days in the time zone of the organisation"),
    ] = "1d",
) -> StatsPeriod:
    grain, length, default = WIDTHS[bucket_width]
    end = end_time or datetime.now(UTC)
    try:
        begin = start_time or end - default
        if begin >= end:
            raise InvalidInput("start_time must be before end_time", param="start_time")
        if (end - begin) / length > MAX_BUCKETS:
            raise InvalidInput(
                f"the period has more than {MAX_BUCKETS:,} buckets of {bucket_width}; ask for a shorter"
                " period or for a larger bucket_width",
                param="start_time",
            )
        datetime.astimezone(begin - length, UTC), datetime.astimezone(end + length, UTC)
    except OverflowError:
        raise InvalidInput(
            "start_time and end_time must be in the years 1 to 9999", param="start_time"
        ) from None
    return StatsPeriod(begin=begin, end=end, grain=grain)


PeriodDep = Annotated[StatsPeriod, Depends(_period)]
IfNoneMatch = Annotated[
    str | None, Header(description="`ETag` of an earlier answer; the same statistics are answered by 304")
]


@router.get(
    "/v1/stats", summary="Get statistics", response_model=OrganisationStatsObject, responses=NOT_MODIFIED
)
async def of_organisation(
    service: ServiceDep, organisation: Organisation, period: PeriodDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Shows the statistics of all agents, customers and conversations of the organisation, by hour or by day,
    and counts of its files, documents, chunks and jobs.
    """

    def read(connection: Connection[Any]) -> OrganisationStatsObject:
        query = StatsQuery(organisation=organisation, begin=period.begin, end=period.end, grain=period.grain)
        stats, system = read_stats(connection, query), system_stats(connection, organisation)
        shown = None if system is None else SystemStatsObject.of(system)
        return OrganisationStatsObject.of(stats, agent=None, system=shown)

    return _answer(await service.read(read), if_none_match)


@router.get(
    "/v1/agents/{agent_id}/stats",
    summary="Get statistics of an agent",
    response_model=AgentStatsObject,
    responses=NOT_MODIFIED,
)
async def of_agent(
    agent_id: str,
    service: ServiceDep,
    organisation: Organisation,
    period: PeriodDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Shows the statistics of the agent, by hour or by day."""

    def read(connection: Connection[Any]) -> AgentStatsObject:
        agent = AGENTS.get(connection, organisation, agent_id).id
        query = StatsQuery(
            organisation=organisation, agent=agent, begin=period.begin, end=period.end, grain=period.grain
        )
        return AgentStatsObject.of(read_stats(connection, query), agent=agent)

    return _answer(await service.read(read), if_none_match)


@router.get("/v1/stats/definitions", summary="Get the definitions of rates")
async def definitions(organisation: Organisation) -> StatsDefinitionsObject:
    """Shows how each rate of the statistics is computed."""
    del organisation  # all organisations have the same definitions
    return StatsDefinitionsObject.of_all()


def _answer(stats: ResponseModel, if_none_match: str | None) -> Response:
    """Return the statistics with their tag, or status 304 if the client has the same statistics."""
    body = json_bytes(stats.model_dump(mode="json"))
    tag = f'"{blake2b(body, digest_size=TAG_BYTES).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    given = [one.strip().removeprefix("W/") for one in (if_none_match or "").split(",")]
    if tag in given or "*" in given:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
