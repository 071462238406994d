"""Reads the overview for many listeners at the same time. ``edge.sse`` sends the overview to the listeners.

Listeners of the same organisation share the result of one query. So a replica asks the database at most once
every ``PERIOD_S`` seconds for each organisation, however many pages are open.

    feed = OverviewFeed(service, read_fleet)
    source = OverviewEvents(feed, "organisation", "acme")
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast

import structlog
from fastapi import Depends, Request
from psycopg import Connection

from cluster.analytics.overview.overview import Overview, read_overview
from cluster.database import for_all_organisations
from cluster.errors import Retryable
from serve_app.edge.sse import Batch, Listeners, ServerSentEvent
from serve_app.fleet.fleet_state import FleetState, ReadFleet
from serve_app.routes.overview.overview_objects import OverviewObject
from serve_app.service import Service

log = structlog.get_logger(__name__)

OverviewScope = Literal["organisation", "cluster"]
#: Seconds for which a result is used before the database is asked again.
PERIOD_S = 2.0
#: Maximum seconds that an overview waits for Ray.
FLEET_TIMEOUT_S = 5.0
#: Maximum number of organisations whose last result is kept.
MAX_KEPT = 256
#: Maximum number of listeners of one replica. Each listener counts towards ``main.MAX_ONGOING_REQUESTS``.
MAX_LISTENERS = 64


@dataclass(slots=True)
class _Reading:
    """The last overview of one organisation or of the cluster, and the time at which it was read."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = float("-inf")
    found: OverviewObject | None = None


class OverviewFeed:
    """Reads the overview of organisations and of the cluster.

    Args:
        read_fleet: returns the state of the fleet. It blocks, so the feed calls it in a thread.
    """

    def __init__(self, service: Service, read_fleet: ReadFleet) -> None:
        self._service, self._read_fleet = service, read_fleet
        self._readings: dict[str | None, _Reading] = {}
        self._fleet_call: asyncio.Task[FleetState | None] | None = None
        self.listeners = Listeners(MAX_LISTENERS, instead="ask GET /v1/overview from time to time")

    async def read(self, scope: OverviewScope, organisation: str) -> OverviewObject:
        """Return the overview, at most ``PERIOD_S`` seconds old.

        Args:
            scope: ``cluster`` for all organisations. The caller must check that the request may see them.

        Raises:
            Unavailable: the database does not answer.
        """
        key = None if scope == "cluster" else organisation
        reading = self._readings.pop(key, None) or _Reading()
        self._readings[key] = reading  # moved to the end, because the entries at the beginning are dropped
        while len(self._readings) > MAX_KEPT:
            del self._readings[next(iter(self._readings))]
        async with reading.lock:
            if reading.found is None or time.monotonic() - reading.at >= PERIOD_S:
                reading.found, reading.at = await self._ask(scope, key), time.monotonic()
            return reading.found

    async def _ask(self, scope: OverviewScope, organisation: str | None) -> OverviewObject:
        lease_s = self._service.settings.lease_s

        def ask(connection: Connection[Any]) -> Overview:
            return read_overview(connection, organisation, lease_s=lease_s)

        if scope == "organisation":
            return OverviewObject.of(await self._service.read(ask), scope, None)
        with for_all_organisations():
            overview = await self._service.read(ask)
        return OverviewObject.of(overview, scope, await self._fleet())

    async def _fleet(self) -> FleetState | None:
        """Return the state of the fleet; None if Ray does not answer in time. While a call hangs, no second
        call begins.
        """
        if self._fleet_call is None or self._fleet_call.done():
            self._fleet_call = asyncio.create_task(asyncio.to_thread(self._read_fleet))
        done, _ = await asyncio.wait([self._fleet_call], timeout=FLEET_TIMEOUT_S)
        return self._fleet_call.result() if done else None


class OverviewEvents:
    """An ``edge.sse.EventSource`` that gives the overview to one listener each time the overview changes."""

    def __init__(self, feed: OverviewFeed, scope: OverviewScope, organisation: str) -> None:
        self._feed, self._scope, self._organisation = feed, scope, organisation
        self._sent: OverviewObject | None = None
        self._count = 0

    async def next(self, timeout_s: float) -> Batch | None:
        """Return the overview as soon as it differs from the overview that was sent last. Return None if the
        overview does not change within ``timeout_s`` seconds.
        """
        until = time.monotonic() + timeout_s
        while True:
            if self._sent is not None:
                await asyncio.sleep(PERIOD_S)
            found: OverviewObject | None
            try:
                found = await self._feed.read(self._scope, self._organisation)
            except Retryable as exc:
                log.warning("overview_not_read", reason=str(exc))
                found = self._sent
                if found is None:
                    await asyncio.sleep(PERIOD_S)
            if found is not None and found != self._sent:
                self._sent = found
                self._count += 1
                data = found.model_dump(mode="json")
                event = ServerSentEvent(id=self._count, type="overview", data=data)
                return Batch(events=[event], last=False)
            if time.monotonic() >= until:
                return None


async def _feed(request: Request) -> OverviewFeed:
    return cast(OverviewFeed, request.app.state.overviews)


OverviewFeedDep = Annotated[OverviewFeed, Depends(_feed)]
