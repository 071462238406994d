"""Fills the frontier of a crawl before the first page is requested. The first URLs are the start, the URLs
that earlier crawls found, and the URLs of sitemaps.

await Seeding(resources, attempt, crawl, client, origins, links, max_urls).seed()
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from psycopg import Connection

from cluster.crawls.crawls import Crawl
from cluster.crawls.frontier import (
    FoundUrl,
    add_urls,
    add_urls_of_earlier,
    earlier_crawl,
    save_state,
)
from cluster.crawls.site_pages import known_urls
from cluster.crawls.urls import origin_of, page_url
from cluster.errors import ClusterError
from cluster.jobs import attempts
from data_jobs.kinds.crawls.links import LinkRules
from data_jobs.kinds.crawls.origins import Origins
from data_jobs.kinds.crawls.polite_client import PoliteClient
from data_jobs.kinds.resources import Resources
from data_jobs.stages.formats.web.sitemaps import MAX_SITEMAP_BYTES, FoundInSitemap
from data_jobs.worker.job_attempt import JobAttempt

log = structlog.get_logger(__name__)

#: Maximum number of sitemaps that a crawl reads, and maximum number of indexes between ``robots.txt`` and a
#: sitemap.
MAX_SITEMAPS, MAX_SITEMAP_DEPTH = 100, 3
#: Where a website has its sitemap, if ``robots.txt`` names none.
USUAL_SITEMAP = "/sitemap.xml"
#: Keys of the crawl's state. The first two have the value true if the step is done. The third has the id of
#: the earlier crawl whose URLs were added.
SEEDED, SITEMAPS_READ, EARLIER = "seeded", "sitemaps_read", "earlier"


@dataclass
class Seeding:
    """Fills the frontier of one crawl. Steps that an earlier attempt has done are not repeated."""

    #: Has the parsing processes, which read sitemaps.
    resources: Resources
    attempt: JobAttempt
    crawl: Crawl
    client: PoliteClient
    origins: Origins
    links: LinkRules
    #: Maximum number of URLs that the crawl may find.
    max_urls: int

    async def seed(self) -> None:
        """Add the start, the URLs that the last crawl with the same options found, and the URLs of the pages
        that the vector store has. If ``sitemap`` is ``only``, the start is not added.
        """
        if self.crawl.state.get(SEEDED):
            return
        asked, known = self.crawl.input, await self._known()
        deepest = asked.max_discovery_depth or 0
        held = [FoundUrl(url=url, depth=deepest, found_on=self.crawl.url) for url in known]

        def write(connection: Connection[Any]) -> None:
            earlier = earlier_crawl(connection, self.crawl) if self.crawl.vector_store else None
            if asked.sitemap != "only":
                add_urls(connection, self.crawl, [FoundUrl(url=self.crawl.url, depth=0)])
            if earlier is not None:
                add_urls_of_earlier(connection, self.crawl, earlier)
            add_urls(connection, self.crawl, held)
            save_state(connection, self.crawl, {SEEDED: True, EARLIER: earlier})
            self.crawl.state.update({SEEDED: True, EARLIER: earlier})

        await self._held(write)

    async def read_sitemaps(self) -> None:
        """Add the URLs of the website's sitemaps.

        Raises:
            HostBusy: a host may get its next request only after a long wait.
            Permanent: a pattern of the caller takes too long.
        """
        if self.crawl.input.sitemap == "skip" or self.crawl.state.get(SITEMAPS_READ):
            return
        rules = await self.origins.rules_of(self.crawl.url)
        named = rules.sitemaps or [origin_of(self.crawl.url) + USUAL_SITEMAP]
        waiting = deque((url, 0) for url in map(page_url, named) if url is not None)
        read: set[str] = set()
        while waiting and len(read) < MAX_SITEMAPS:
            url, depth = waiting.popleft()
            if url in read:
                continue
            read.add(url)
            found = await self._read(url)
            if depth < MAX_SITEMAP_DEPTH:
                inner = (page_url(one, base=url) for one in found.sitemaps)
                waiting.extend((one, depth + 1) for one in inner if one is not None)
            await self._add(url, found)
        done = {SITEMAPS_READ: True}
        await self._held(lambda connection: save_state(connection, self.crawl, done))

    async def _known(self) -> list[str]:
        if self.crawl.vector_store is None:
            return []
        find = partial(known_urls, crawl=self.crawl)
        urls = await self.attempt.in_transaction(lambda connection: find(connection))
        return [url for url in urls if self.links.includes(url)]

    async def _read(self, url: str) -> FoundInSitemap:
        """Return the URLs of a sitemap. A sitemap that cannot be read has no URLs. This does not end the
        crawl, because most crawls also follow links.

        Raises:
            HostBusy: the host may get its next request only after a long wait.
        """
        rules = await self.origins.rules_of(url)
        if not rules.permits(url):
            return FoundInSitemap()
        try:
            answer = await self.client.get(
                url,
                crawl_delay_s=rules.crawl_delay_s,
                max_bytes=MAX_SITEMAP_BYTES,
                follow_redirects=True,
            )
        except ClusterError as exc:
            log.info("sitemap_not_read", crawl=self.crawl.id, reason=str(exc))
            return FoundInSitemap()
        self.attempt.goes_on()
        if answer.status != 200:
            return FoundInSitemap()
        rank = self.attempt.job.priority_class.rank
        found = await self.resources.parsers.read_sitemap(answer.body, url=url, rank=rank)
        if found.fault:
            log.info("sitemap_not_read", crawl=self.crawl.id, reason=f"the sitemap {found.fault}")
        return found

    async def _add(self, sitemap: str, found: FoundInSitemap) -> None:
        accept = partial(self.links.accepted, found.pages, base="")  # URLs of sitemaps are absolute
        urls = (await self.attempt.in_thread(accept))[: self.max_urls]
        pages = [FoundUrl(url=url, depth=0, found_on=sitemap) for url in urls]
        ignored = self.links.take_ignored()

        def write(connection: Connection[Any]) -> None:
            add_urls(connection, self.crawl, pages)
            save_state(connection, self.crawl, {}, ignored=ignored)

        await self._held(write)

    async def _held(self, write: Callable[[Connection[Any]], None]) -> None:
        """Run the writes in one transaction, which also checks that this attempt is still the current attempt
        at the crawl's job.
        """

        def whole(connection: Connection[Any]) -> None:
            attempts.hold(connection, self.attempt.job)
            write(connection)

        await self.attempt.in_transaction(whole)
