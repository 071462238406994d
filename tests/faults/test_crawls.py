"""SIGKILL of the worker and of Postgres in the middle of a crawl. The pages and their chunks are those of a
crawl that nobody disturbed.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from cluster.crawls.crawls import Crawl, create_crawl, get_crawl, list_pages
from cluster.crawls.outcomes import PageOutcome
from cluster.database import open_pool
from cluster.database.paging import PageRequest
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.stores import NewStore, VectorStore, create_store
from cluster.engines import Registry, describe
from cluster.jobs.jobs import JobState
from cluster.jobs.kinds.crawl_inputs import CrawlInput
from tests.conftest import NewHome, kill_postmaster, new_organisation
from tests.data_jobs.kinds.crawls.crawling import crawling_settings
from tests.data_jobs.running_consumer import until
from tests.faults.accepted_files import Home
from tests.faults.conftest import LEASE_S
from tests.faults.worker_processes import Workers
from tests.simulators.site import TrapSite, site_of_traps

pytestmark = pytest.mark.timeout(300)

#: Pages of the documentation with more bytes are left out, because it takes long to embed them.
MAX_PAGE_BYTES = 10_000
OPEN_JOBS = "SELECT count(*) FROM jobs WHERE organisation = %s AND state IN ('queued', 'running')"
Found = tuple[dict[str, PageOutcome | None], set[tuple[str, str]]]


@pytest.fixture(scope="module")
def home(new_home: NewHome) -> Iterator[Home]:
    """A home of its own. The workers of the shared home would take the crawl, and may not reach the site."""
    settings = new_home("crawls").model_copy(update={"lease_s": LEASE_S, "engine_threads": 1})
    pool = open_pool(settings, access=OWNER)
    yield Home(settings, pool)
    pool.close()


def test_a_crawl_that_is_killed_stores_what_a_quiet_crawl_stores(
    home: Home, tmp_path: Path, chance: Random
) -> None:
    with site_of_traps() as site:
        site.pages = {path: page for path, page in site.pages.items() if len(page.body) <= MAX_PAGE_BYTES}
        site.robots = "User-agent: *\nCrawl-delay: 0.04\n"
        settings = crawling_settings(home.settings, site)
        disturbed, quiet = (Crawling(home, site) for _ in range(2))
        with Workers(settings, 1, tmp_path) as workers:
            crawl, store = disturbed.begin()
            kills: list[Callable[[], None]] = [
                lambda: kill_postmaster(home.settings),
                lambda: workers.alive()[0].send_signal(signal.SIGKILL),
            ]
            for wanted, kill in zip((15, 35), kills, strict=True):
                until(disturbed.requests, lambda now, wanted=wanted: now >= wanted, within_s=90)
                kill()
                time.sleep(chance.uniform(0.0, 0.5))
            found = disturbed.ended(crawl, store)
            again = Counter(request.path for request in site.requests)
            site.requests.clear()
            assert found == quiet.ended(*quiet.begin())
    assert len(found[0]) > 40
    assert Counter(found[0].values())[PageOutcome.NEW] >= 5
    # Only the pages that were under way, or not yet stored, are requested again.
    assert sum(count - 1 for count in again.values()) < 30


class Crawling:
    """Crawls the site for an organisation of its own."""

    def __init__(self, home: Home, site: TrapSite) -> None:
        self.home, self.site = home, site
        self.organisation = new_organisation(home.pool)

    def begin(self) -> tuple[Crawl, VectorStore]:
        """Begin a crawl into a new store."""
        fingerprint = describe(Registry(self.home.settings).default)
        with self.home.pool.connection() as connection:
            store = create_store(
                connection, self.organisation, NewStore(name="site"), fingerprint=fingerprint
            )
            ChunkIndexes(self.home.settings, self.home.pool).of(store).ensure(
                store.collection, dim=store.fingerprint.dim
            )
            asked = CrawlInput(
                url=self.site.url("/sqlite/", by_name=False),
                vector_store_id=store.id,
                crawl_entire_domain=True,
                include_paths=["^/(lxml|mako|sqlite)/"],
            )
            return create_crawl(connection, self.organisation, asked, max_pages=500), store

    def requests(self) -> int:
        """Number of requests that the site got."""
        return len(self.site.requests)

    def ended(self, crawl: Crawl, store: VectorStore) -> Found:
        """Wait until the crawl and the jobs of its files have ended. Return the outcomes of its pages, and
        the chunks of the store.
        """

        def open_jobs() -> int | None:
            try:
                with self.home.pool.connection() as connection:
                    row = connection.execute(OPEN_JOBS, [self.organisation]).fetchone()
            except Exception:  # noqa: BLE001  Postgres was killed, and comes back
                return None
            return None if row is None else int(row[0])

        until(open_jobs, lambda now: now == 0, within_s=120)
        with self.home.pool.connection() as connection:
            done = get_crawl(connection, self.organisation, crawl.id)
            assert done.job_state == JobState.SUCCEEDED, done.error
            pages = list_pages(connection, self.organisation, crawl.id, PageRequest(limit=1_000))
        index = ChunkIndexes(self.home.settings, self.home.pool).of(store)
        rows = index.scan(self.organisation, store.id, collection=store.collection)
        chunks = {(str(row.attributes["url"]), row.text) for row in rows}
        return {page.url: page.outcome for page in pages.items}, chunks
