"""What happens to jobs, as it happens: server-sent events (HTML Living Standard, section 9.2) for any number of listeners.

Whoever follows a job waits in a feed that one query serves, twice a second, while anybody waits: a listener holds no
connection to the database and no thread. An event's id is the ledger's, so a listener that was cut off names the last it
saw and gets what came after it, whichever replica it asks.

    feed = EventFeed(service)
    return EventStream(feed, Watch(organisation="default", job="job_..."), first=news, stopping=stopping, longest_s=96)
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, cast

import orjson
import structlog
from fastapi import Depends, Request
from psycopg_pool import ConnectionPool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cluster.database import translated
from cluster.documents.chunk_indexes import ChunkIndexes
from cluster.errors import Retryable, Throttled
from cluster.jobs.view import JobEvent, News, Watch, read_news
from serve_app.service import Service

log = structlog.get_logger(__name__)

POLL_S = 0.5
#: After a look that failed: the database is away.
AWAY_S = 2.0
#: A comment this often keeps proxies from closing a connection on which nothing happens.
HEARTBEAT_S = 5.0
#: Of one replica. Each is a request it holds, out of ``main.MAX_ONGOING_REQUESTS``.
MAX_STREAMS = 64
FULL_RETRY_AFTER_S = 10.0
#: Milliseconds that a browser waits before it comes again.
RECONNECT_MS = 1_000
GONE = News(events=(), last=True)


class EventFeed:
    """Of one replica."""

    def __init__(self, service: Service, *, max_streams: int = MAX_STREAMS) -> None:
        self._service = service
        self._max_streams = max_streams
        self._waiting: dict[Watch, set[asyncio.Future[News]]] = defaultdict(set)
        self._poller: asyncio.Task[None] | None = None
        #: Listeners now.
        self.streams = 0

    async def read(self, watches: Sequence[Watch]) -> dict[Watch, News]:
        """What each has not seen yet; nothing about a job that is not there.

        Raises:
            Unavailable: the database does not answer.
        """

        def ask(pool: ConnectionPool, _: ChunkIndexes) -> dict[Watch, News]:
            with translated(), pool.connection() as connection:
                return read_news(connection, watches)

        return await self._service.in_database(ask)

    async def news(self, watch: Watch, *, timeout_s: float) -> News | None:
        """The next events of the job, when there are any; None when the time is over."""
        future: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        self._waiting[watch].add(future)
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            return await asyncio.wait_for(future, timeout_s)
        except TimeoutError:
            return None
        finally:
            self._leave(watch, future)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """One more listener inside the block.

        Raises:
            Throttled: there are as many as may be.
        """
        self.require_room()
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def require_room(self) -> None:
        """Return if one more may listen.

        Raises:
            Throttled: there are as many as may be.
        """
        if self.streams >= self._max_streams:
            raise Throttled(
                f"{self.streams} listeners follow jobs here, and more are not taken: ask GET /v1/jobs/{{id}} from time to time instead",
                retry_after_s=FULL_RETRY_AFTER_S,
            )

    def _leave(self, watch: Watch, future: asyncio.Future[News]) -> None:
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
            asked = list(self._waiting)
            try:
                found = await self.read(asked) if asked else {}
            except Retryable as exc:
                log.warning("job_events_not_read", listeners=self.streams, reason=str(exc))
                pause_s = AWAY_S
                continue
            except Exception as exc:  # the edge of a task of its own: whoever waits is told
                log.exception("job_events_failed", listeners=self.streams)
                for watch in asked:
                    for future in self._waiting.pop(watch, ()):
                        if not future.done():
                            future.set_exception(exc)
                continue
            for watch in asked:
                news = found.get(watch, GONE)
                if news.events or news.last:
                    for future in self._waiting.pop(watch, ()):
                        if not future.done():
                            future.set_result(news)


class EventStream(Response):
    """A job's events as a response that goes on until the last one, or until the listener, the replica or the time ends it.

    Args:
        first: what was read already.
        stopping: True once the replica wants to end; listeners go on at another.
        longest_s: before something between us and the listener cuts the connection.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        feed: EventFeed,
        watch: Watch,
        *,
        first: News,
        stopping: Callable[[], bool],
        longest_s: float,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed, self._watch, self._first = feed, watch, first
        self._stopping, self._longest_s, self._heartbeat_s = stopping, longest_s, heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        with self._feed.listening():
            # The request's body is empty, but only behind it the boundary sees the listener leave, and ends this task.
            while (await receive()).get("more_body", False):
                pass
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            await _part(send, f"retry: {RECONNECT_MS}\n\n".encode())
            await self._follow(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, send: Send) -> None:
        until = time.monotonic() + self._longest_s
        news: News | None = self._first
        watch = self._watch
        while True:
            if news is None:
                await _part(send, b": nothing new\n\n")
            else:
                if news.events:
                    await _part(send, b"".join(_written(event, watch.job) for event in news.events))
                    watch = Watch(organisation=watch.organisation, job=watch.job, after=news.events[-1].id)
                if news.last:
                    return
            if self._stopping() or time.monotonic() >= until:
                return
            news = await self._feed.news(watch, timeout_s=self._heartbeat_s)


async def _part(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


def _written(event: JobEvent, job: str) -> bytes:
    """JSON has no line break of its own, so one ``data`` line holds it."""
    said = {
        **event.data,
        "object": "job.event",
        "job_id": job,
        "type": event.type,
        "at": round(event.at.timestamp(), 3),
    }
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.encode(), orjson.dumps(said))


async def _feed(request: Request) -> EventFeed:
    return cast(EventFeed, request.app.state.events)


FeedOf = Annotated[EventFeed, Depends(_feed)]
