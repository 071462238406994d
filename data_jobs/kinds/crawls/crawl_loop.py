"""Visits the pages of a crawl, several at the same time, until no page waits or the crawl reaches its limit.

``crawl_site`` calls ``CrawlLoop.run`` in the stage ``fetch``.

    await CrawlLoop(attempt, crawl, visitor, recorder, held).run()
"""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial

from cluster.crawls.crawls import Crawl
from cluster.crawls.frontier import FrontierCounts, WaitingPage, count_pages, next_pages
from cluster.crawls.outcomes import PageOutcome
from cluster.crawls.urls import host_of
from data_jobs.kinds.crawls.polite_client import LONG_WAIT_S, WAITS_FOR_HOST, HostBusy, later
from data_jobs.kinds.crawls.recorder import Recorder
from data_jobs.kinds.crawls.repeated_blocks import HeldPages, Released
from data_jobs.kinds.crawls.visit import Visit, Visitor
from data_jobs.worker.job_attempt import JobAttempt

#: Default of ``maxConcurrency``, the maximum number of simultaneous visits of one crawl.
DEFAULT_CONCURRENCY = 10
#: Maximum number of waiting pages that one query reads.
PAGES_AT_ONCE = 500
#: Seconds after which a crawl gives its slot to other jobs. The crawl continues when it gets a slot again.
TURN_S = 300.0
#: Minimum seconds for which the loop waits before it tries to begin visits again, if no visit ends before.
LOOK_INTERVAL_S = 0.05


@dataclass
class CrawlLoop:
    """Visits the pages of one crawl in one attempt at its job."""

    attempt: JobAttempt
    crawl: Crawl
    visitor: Visitor
    recorder: Recorder
    held: HeldPages
    _visits: dict[asyncio.Task[None], WaitingPage] = field(default_factory=dict)
    _waiting: deque[WaitingPage] = field(default_factory=deque)
    _requested: int = 0
    _done: int = 0
    #: The monotonic time at which a host may get its next request, for each host that must wait for it.
    _busy: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Visit the pages that wait, until no page waits or the crawl reaches its limit.

        Raises:
            TryLater: the crawl gives up its slot, and continues later.
            NotWanted, StageFailed: see ``Recorder.record``.
            Permanent: a pattern of the caller takes too long.
        """
        count = partial(count_pages, crawl=self.crawl)
        counts: FrontierCounts = await self.attempt.in_transaction(lambda connection: count(connection))
        self._requested, self._done, self.recorder.found = counts.requested, counts.done, counts.found
        turn_ends = time.monotonic() + TURN_S
        try:
            while await self._step(turn_ends):
                pass
        finally:
            for visit in self._visits:
                visit.cancel()
            await asyncio.gather(*self._visits, return_exceptions=True)

    async def _step(self, turn_ends: float) -> bool:
        """Begin visits, and wait until a visit ends or another page may be visited. If no visit runs, record
        the pages that are held. Return False if nothing is left to do.

        Raises:
            TryLater, NotWanted, StageFailed, Permanent: see ``run``.
        """
        turn_is_over = time.monotonic() > turn_ends
        wait_s = None if turn_is_over else await self._begin_visits()
        if not self._visits:
            if not self.held.is_empty:
                await self._record_all(await self.held.release())
                return True
            if turn_is_over:
                raise later(0.0, "the crawl gave its slot to other jobs")
            if wait_s is None:
                return False
            if wait_s > LONG_WAIT_S:
                raise later(wait_s, WAITS_FOR_HOST)
            await asyncio.sleep(max(wait_s, LOOK_INTERVAL_S))
            self.attempt.goes_on()
            return True
        timeout = None if wait_s is None else max(wait_s, LOOK_INTERVAL_S)
        ended, _ = await asyncio.wait(self._visits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            self._visits.pop(task)
        for task in ended:
            task.result()
        total = min(self.recorder.found, self.crawl.input.limit)
        await self.attempt.progress(min(self._done, total), total, unit="pages")
        return True

    async def _begin_visits(self) -> float | None:
        """Begin as many visits as the limits permit. Of the remaining pages that may only be visited after a
        wait, return the seconds of the shortest wait; None if there is no such page or the crawl is at its
        limit.
        """
        asked = self.crawl.input
        if len(self._waiting) < PAGES_AT_ONCE // 2:
            self._waiting = deque(await self._look())
        in_flight = Counter(host_of(page.url) for page in self._visits.values())
        at_once, now = self.attempt.settings.crawl_concurrency_per_host, time.monotonic()
        room = min(
            (asked.max_concurrency or DEFAULT_CONCURRENCY) - len(self._visits),
            asked.limit - self._requested - len(self._visits),
        )
        wait_s: float | None = None
        kept: deque[WaitingPage] = deque()
        while self._waiting:
            page = self._waiting.popleft()
            host = host_of(page.url)
            page_wait_s = max(page.wait_s, self._busy.get(host, now) - now)
            if room > 0 and page_wait_s <= 0 and in_flight[host] < at_once:
                room, in_flight[host] = room - 1, in_flight[host] + 1
                self._visits[asyncio.create_task(self._visit(page))] = page
                continue
            if page_wait_s > 0:
                wait_s = page_wait_s if wait_s is None else min(wait_s, page_wait_s)
            kept.append(page)
        self._waiting = kept if wait_s is None else deque()  # the next call reads pages and waits again
        return wait_s if asked.limit > self._requested + len(self._visits) else None

    async def _look(self) -> list[WaitingPage]:
        taken = [*(page.id for page in self._visits.values()), *self.held.ids]
        find = partial(next_pages, crawl=self.crawl, taken=taken, limit=PAGES_AT_ONCE)
        return await self.attempt.in_transaction(lambda connection: find(connection))

    async def _visit(self, page: WaitingPage) -> None:
        try:
            visit = await self.visitor.visit(page)
        except HostBusy as exc:
            self._busy[host_of(page.url)] = time.monotonic() + exc.wait_s
            return
        if visit.result is None or visit.result.requests:
            self._requested += page.attempts == 0
        if self._is_new_text(visit):
            await self.recorder.record_links(visit)
            await self._record_all(await self.held.add(visit))
        else:
            await self._record_all([(visit, ())])

    def _is_new_text(self, visit: Visit) -> bool:
        """Return True if the page is HTML whose text the vector store gets. The blocks that its website
        repeats are left out of this text.
        """
        return (
            self.crawl.vector_store is not None
            and visit.web_page is not None
            and visit.result is not None
            and visit.result.outcome is PageOutcome.VISITED
        )

    async def _record_all(self, visits: Released) -> None:
        for visit, repeated in visits:
            await self.recorder.record(visit, repeated=repeated)
            self.held.ids.discard(visit.page.id)
            self._done += visit.result is not None
