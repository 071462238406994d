"""Reads the events of jobs for many listeners at the same time; ``edge.sse`` sends the events.

All listeners of a replica wait in one feed. While listeners wait, the feed runs one query twice a second. The
query reads the new events of all jobs that the listeners follow, so a listener needs no database connection
and no thread of its own. The ids of events come from the database. A listener that was disconnected can
therefore send its last event id to any replica, and gets the events after that id.

    feed = EventFeed(service)
    source = JobEvents(feed, Watch(organisation="default", job="job_..."), first=news)
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated, cast

import structlog
from fastapi import Depends, Request
from psycopg_pool import ConnectionPool

from cluster.database import on_behalf_of_the_cluster, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.errors import Retryable
from cluster.jobs.view import JobEvent, News, Watch, read_news
from serve_app.edge.sse import Batch, Listeners, ServerSentEvent
from serve_app.service import Service

log = structlog.get_logger(__name__)

POLL_S = 0.5
#: Seconds until the next query if the database did not answer the last query.
AWAY_S = 2.0
#: Maximum number of listeners of one replica. Each listener counts towards ``main.MAX_ONGOING_REQUESTS``.
MAX_LISTENERS = 64
GONE = News(events=(), last=True)


class EventFeed:
    """Reads the events of the jobs that the listeners of one replica follow."""

    def __init__(self, service: Service, *, max_listeners: int = MAX_LISTENERS) -> None:
        self._service = service
        self.listeners = Listeners(max_listeners, instead="ask GET /v1/jobs/{id} from time to time")
        self._waiting: dict[Watch, set[asyncio.Future[News]]] = defaultdict(set)
        self._poller: asyncio.Task[None] | None = None

    async def read(self, watches: Sequence[Watch]) -> dict[Watch, News]:
        """Return the events that each watch has not seen. The result has no entry for a job that does not
        exist.

        Raises:
            Unavailable: the database does not answer.
        """

        def ask(pool: ConnectionPool, _: ChunkIndexes) -> dict[Watch, News]:
            with translated(), pool.connection() as connection:
                return read_news(connection, watches)

        return await self._service.in_database(ask)

    async def news(self, watch: Watch, *, timeout_s: float) -> News | None:
        """Wait until the job has new events or has ended, and return the new events. Return None if neither
        happens within ``timeout_s``. If the query fails with an unexpected error, this error is raised here.
        """
        future: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        self._waiting[watch].add(future)
        if self._poller is None or self._poller.done():
            # One task reads for the listeners of all organisations, so it must not inherit the access of the
            # request that starts it. Each listener's watch names its organisation.
            self._poller = on_behalf_of_the_cluster(asyncio.create_task, self._poll())
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return None
        finally:
            self._remove(watch, future)

    def _remove(self, watch: Watch, future: asyncio.Future[News]) -> None:
        others = self._waiting.get(watch)
        if others is not None:
            others.discard(future)
            if not others:
                del self._waiting[watch]

    async def _poll(self) -> None:
        pause_s = POLL_S
        while self._waiting:
            await asyncio.sleep(pause_s)
            pause_s = POLL_S
            watches = list(self._waiting)
            try:
                found = await self.read(watches) if watches else {}
            except Retryable as exc:
                log.warning("job_events_not_read", listeners=self.listeners.count, reason=str(exc))
                pause_s = AWAY_S
                continue
            except Exception as exc:  # nothing awaits this task, so the waiting listeners get the error
                log.exception("job_events_failed", listeners=self.listeners.count)
                for watch in watches:
                    for future in self._waiting.pop(watch, ()):
                        if not future.done():
                            future.set_exception(exc)
                continue
            for watch in watches:
                news = found.get(watch, GONE)
                if news.events or news.last:
                    for future in self._waiting.pop(watch, ()):
                        if not future.done():
                            future.set_result(news)


class JobEvents:
    """An ``edge.sse.EventSource`` that gives the events of one job to one listener.

    Args:
        first: events that were already read. The first call of ``next`` returns these events.
    """

    def __init__(self, feed: EventFeed, watch: Watch, *, first: News) -> None:
        self._feed, self._watch = feed, watch
        self._first: News | None = first

    async def next(self, timeout_s: float) -> Batch | None:
        """Return the next events of the job. Return None if the job has no new events and does not end within
        ``timeout_s``.
        """
        news, self._first = self._first, None
        if news is None:
            news = await self._feed.news(self._watch, timeout_s=timeout_s)
        if news is None:
            return None
        watch = self._watch
        if news.events:
            self._watch = Watch(organisation=watch.organisation, job=watch.job, after=news.events[-1].id)
        return Batch(events=[_sent(event, watch.job) for event in news.events], last=news.last)


def _sent(event: JobEvent, job: str) -> ServerSentEvent:
    data = {
        **event.data,
        "object": "job.event",
        "job_id": job,
        "type": event.type,
        "at": round(event.at.timestamp(), 3),
    }
    return ServerSentEvent(id=event.id, type=event.type, data=data)


async def _feed(request: Request) -> EventFeed:
    return cast(EventFeed, request.app.state.events)


FeedDep = Annotated[EventFeed, Depends(_feed)]
