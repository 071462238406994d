"""Crawls the site of traps with a consumer in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from cluster.crawls.crawls import Crawl, CrawlPage, create_crawl, get_crawl, list_pages
from cluster.crawls.outcomes import PageOutcome
from cluster.database.paging import PageRequest
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Engine
from cluster.jobs.jobs import JobState
from cluster.jobs.kinds import INDEX_FILE
from cluster.jobs.kinds.crawl_inputs import CrawlInput, DiscoverInput
from cluster.outbound import AsyncOutboundClient
from cluster.settings import Settings
from data_jobs.kinds.crawls import origins, visit
from data_jobs.kinds.crawls.crawl_site import CrawlSite
from tests.data_jobs.running_consumer import LocalClient, consuming
from tests.simulators.site import TrapSite
from tests.waiting import until

#: Settings with which a crawl of the site ends in seconds.
FAST: dict[str, Any] = {
    "crawl_requests_per_s": 500.0,
    "crawl_concurrency_per_host": 6,
    "crawl_page_timeout_s": 1.5,
    "crawl_contact_url": "https://example.com/crawler",
    "browser": "off",
}


def crawling_settings(settings: Settings, site: TrapSite, **more: Any) -> Settings:
    """The settings of the cluster, with which crawls reach the site and are fast."""
    reachable = site.settings()
    names = ("outbound_allow_cidrs", "outbound_ports")
    return settings.model_copy(update={**{name: getattr(reachable, name) for name in names}, **FAST, **more})


@contextmanager
def crawling(settings: Settings, pool: ConnectionPool, engine: Engine, site: TrapSite) -> Iterator[None]:
    """Run a consumer inside the block. Its crawls resolve the names of the site."""
    with pytest.MonkeyPatch.context() as patch, consuming(settings, pool, engine) as consumer:
        patch.setattr(visit, "RETRY_PAUSE_S", 0.1)
        patch.setattr(origins, "ROBOTS_PAUSE_S", 0.1)
        for kind in ("crawl", "discover"):
            run = consumer.kinds[kind]
            assert isinstance(run, CrawlSite)
            run.transport = AsyncOutboundClient(settings, resolver=site.resolve)
        yield


@dataclass(frozen=True)
class CrawlClient:
    """Does what a client does over HTTP, by calling the functions behind the routes."""

    local: LocalClient

    def begin(self, asked: CrawlInput | DiscoverInput) -> Crawl:
        with self.local.pool.connection() as connection:
            return create_crawl(connection, self.local.organisation, asked, max_pages=1_000)

    def crawl(self, store: VectorStore, url: str, **options: Any) -> Crawl:
        """Crawl the site into the store, and return the crawl after its end."""
        return self.ended(self.begin(CrawlInput(url=url, vector_store_id=store.id, **options)))

    def get(self, crawl: Crawl) -> Crawl:
        with self.local.pool.connection() as connection:
            return get_crawl(connection, self.local.organisation, crawl.id)

    def ended(self, crawl: Crawl) -> Crawl:
        found: Crawl = until(lambda: self.get(crawl), lambda crawl: crawl.job_state.ended)
        assert found.job_state == JobState.SUCCEEDED, found.error
        return found

    def pages(self, crawl: Crawl) -> dict[str, CrawlPage]:
        """The pages of the crawl, by their URLs."""
        with self.local.pool.connection() as connection:
            request = PageRequest(limit=5_000, newest_first=False)
            found = list_pages(connection, self.local.organisation, crawl.id, request)
        assert not found.has_more
        return {page.url: page for page in found.items}

    def by_outcome(self, crawl: Crawl) -> dict[PageOutcome | None, set[str]]:
        """The paths of the pages of the crawl, by outcome."""
        found: dict[PageOutcome | None, set[str]] = {}
        for page in self.pages(crawl).values():
            found.setdefault(page.outcome, set()).add(page.url)
        return found

    def indexed(self) -> dict[str, int]:
        """Wait until the jobs of all files have ended. Return the number of embedded chunks of each job that
        embedded some, by its id.
        """
        open_jobs = "SELECT count(*) FROM jobs WHERE organisation = %s AND state IN ('queued', 'running')"
        done = "SELECT id, (result ->> 'embedded')::int FROM jobs WHERE organisation = %s AND kind = %s"
        key = [self.local.organisation]
        with self.local.pool.connection() as connection:
            until(lambda: connection.execute(open_jobs, key).fetchone(), lambda row: row == (0,))
            return {id: chunks for id, chunks in connection.execute(done, [*key, INDEX_FILE.name]) if chunks}

    def texts(self, store: VectorStore) -> dict[str, str]:
        """The texts of the store's chunks, joined, by the URL of their page."""
        index = open_chunk_index(self.local.settings, self.local.pool)
        texts: dict[str, str] = {}
        for row in index.scan(self.local.organisation, store.id, collection=store.collection):
            url = row.attributes["url"]
            texts[url] = texts.get(url, "") + "\n" + row.text
        return texts
