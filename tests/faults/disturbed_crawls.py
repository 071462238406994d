"""Crawls that a test disturbs, and what they leave. ``test_crawls`` and the tests of several nodes use it.

crawling = Crawling(home, site)
found = crawling.ended(*crawling.begin())
"""

from cluster.crawls.crawls import Crawl, create_crawl, get_crawl, list_pages
from cluster.crawls.outcomes import PageOutcome
from cluster.database.paging import PageRequest
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.stores import NewStore, VectorStore, create_store
from cluster.engines import Registry, describe
from cluster.jobs.jobs import JobState
from cluster.jobs.kinds.crawl_inputs import CrawlInput
from tests.conftest import new_organisation
from tests.faults.accepted_files import Home
from tests.simulators.site import TrapSite
from tests.waiting import until

#: Pages of the documentation with more bytes are left out, because it takes long to embed them.
MAX_PAGE_BYTES = 10_000
OPEN_JOBS = "SELECT count(*) FROM jobs WHERE organisation = %s AND state IN ('queued', 'running')"
Found = tuple[dict[str, PageOutcome | None], set[tuple[str, str]]]


def slow_down(site: TrapSite) -> None:
    """Let a crawl of the site last long enough for faults, with few chunks to embed."""
    site.pages = {path: page for path, page in site.pages.items() if len(page.body) <= MAX_PAGE_BYTES}
    site.robots = "User-agent: *\nCrawl-delay: 0.04\n"


class Crawling:
    """Crawls the site for an organisation of its own.

    Args:
        url: URL of the site for the workers; None: the URL on this machine.
    """

    def __init__(self, home: Home, site: TrapSite, url: str | None = None) -> None:
        self.home, self.site = home, site
        self.url = url or site.url(by_name=False)
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
                url=f"{self.url}sqlite/",
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

        until(open_jobs, lambda now: now == 0)
        with self.home.pool.connection() as connection:
            done = get_crawl(connection, self.organisation, crawl.id)
            assert done.job_state == JobState.SUCCEEDED, done.error
            pages = list_pages(connection, self.organisation, crawl.id, PageRequest(limit=1_000))
        index = ChunkIndexes(self.home.settings, self.home.pool).of(store)
        rows = index.scan(self.organisation, store.id, collection=store.collection)
        chunks = {(str(row.attributes["url"]), row.text) for row in rows}
        return {page.url: page.outcome for page in pages.items}, chunks
