"""Finds the blocks of text that a website repeats on many pages, before the pages are stored.

The first pages of a host are held back until there are enough pages to find the blocks that they repeat. The
repeated blocks are saved for the vector store, so that later crawls leave out the same blocks.

    held = HeldPages(attempt, crawl)
    visits = await held.add(visit)            # the visits to record now, each with the blocks to leave out
    visits = await held.release()             # at the end: all visits that are still held
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.crawls.crawls import Crawl
from cluster.crawls.site_pages import repeated_blocks_of, save_repeated_blocks
from cluster.crawls.urls import host_of
from cluster.jobs import attempts
from data_jobs.kinds.crawls.visit import Visit
from data_jobs.stages.formats.web.stored_page import block_digests, repeated_blocks
from data_jobs.worker.job_attempt import JobAttempt

#: Number of pages of a host that are compared to find its repeated blocks.
SAMPLE_PAGES = 40
#: As soon as the held pages of a host have more characters than this number, these pages are compared, even
#: if they are fewer than ``SAMPLE_PAGES``.
SAMPLE_CHARACTERS = 20_000_000

Released = list[tuple[Visit, Collection[str]]]


@dataclass
class HeldPages:
    """Holds back the pages of each host until the repeated blocks of the host are known."""

    attempt: JobAttempt
    crawl: Crawl
    _held: defaultdict[str, list[Visit]] = field(default_factory=lambda: defaultdict(list))
    _decided: dict[str, set[str]] = field(default_factory=dict)
    #: Ids of the pages that were held back and are not recorded yet.
    ids: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        """True if no page is held."""
        return not self._held

    async def add(self, visit: Visit) -> Released:
        """Hold the page back if the repeated blocks of its host are not known. Return the pages that can be
        recorded now, each with the digests of the blocks to leave out.
        """
        host = host_of(visit.page.url)
        if host not in self._decided and host not in self._held:
            find = partial(repeated_blocks_of, crawl=self.crawl, host=host)
            stored = await self.attempt.in_transaction(lambda connection: find(connection))
            if stored:
                self._decided[host] = stored
        if host in self._decided:
            return [(visit, self._decided[host])]
        self._held[host].append(visit)
        self.ids.add(visit.page.id)
        characters = sum(_characters(one) for one in self._held[host])
        full = len(self._held[host]) >= SAMPLE_PAGES or characters > SAMPLE_CHARACTERS
        return await self._decide(host) if full else []

    async def release(self) -> Released:
        """Find the repeated blocks of each host from the pages that are held, and return these pages with the
        digests of the blocks to leave out.
        """
        return [one for host in list(self._held) for one in await self._decide(host)]

    async def _decide(self, host: str) -> Released:
        visits = self._held.pop(host, [])
        digests = [block_digests(one.web_page) for one in visits if one.web_page is not None]
        repeated = repeated_blocks(digests)

        def save(connection: Connection[Any]) -> None:
            attempts.hold(connection, self.attempt.job)
            save_repeated_blocks(connection, self.crawl, host, repeated)

        if repeated:
            await self.attempt.in_transaction(save)
        self._decided[host] = repeated
        return [(visit, repeated) for visit in visits]


def _characters(visit: Visit) -> int:
    return 0 if visit.web_page is None else sum(map(len, visit.web_page.blocks))
