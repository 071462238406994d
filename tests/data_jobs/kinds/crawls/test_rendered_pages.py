"""Crawls and files of URLs render pages that need a browser, if the node has one."""

from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool

from cluster.crawls.outcomes import PageOutcome
from cluster.documents.linked_files import create_linked_file
from cluster.engines import Engine, Registry, open_engine
from cluster.jobs.jobs import JobState
from cluster.organisations.organisations import StorageLimits
from cluster.settings import Settings
from tests.data_jobs.kinds.crawls.crawling import CrawlClient, crawling, crawling_settings
from tests.data_jobs.running_consumer import LocalClient
from tests.data_jobs.stages.rendering.rendered_site import browser_settings, put_application
from tests.simulators.site import TrapSite, site_of_traps


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module")
def site() -> Iterator[TrapSite]:
    with site_of_traps() as site:
        site.robots = "User-agent: *\nDisallow:\n"
        put_application(site)
        yield site


@pytest.fixture(scope="module")
def rendering(settings: Settings, site: TrapSite) -> Settings:
    return browser_settings(crawling_settings(settings, site), site)


@pytest.fixture(scope="module")
def local(
    rendering: Settings, pool: ConnectionPool, engine: Engine, site: TrapSite
) -> Iterator[tuple[Settings, ConnectionPool, Engine]]:
    with crawling(rendering, pool, engine, site):
        yield rendering, pool, engine


@pytest.fixture
def client(local: tuple[Settings, ConnectionPool, Engine], organisation: str) -> CrawlClient:
    return CrawlClient(LocalClient(*local, organisation))


def test_a_crawl_reads_and_follows_what_scripts_show(client: CrawlClient, site: TrapSite) -> None:
    store = client.local.store()
    start, other = (site.url(f"/app/{name}", by_name=False) for name in ("quokkas", "numbats"))
    crawl = client.crawl(store, start, sitemap="skip", crawlEntireDomain=True)
    # Both pages have the same HTML before their scripts run.
    assert client.by_outcome(crawl) == {PageOutcome.NEW: {start, other}}
    client.indexed()
    texts = client.texts(store)
    assert "Quokkas live on Rottnest Island." in texts[start]
    assert "Numbats eat termites all day." in texts[other]


def test_a_file_of_a_url_has_what_scripts_show(client: CrawlClient, site: TrapSite) -> None:
    local, url = client.local, site.url("/app/quokkas", by_name=False)
    store = local.store()
    with local.pool.connection() as connection, connection.transaction():
        file = create_linked_file(
            connection, local.blobs, local.organisation, url, default_limits=StorageLimits()
        )
    job = local.ended(local.attach(store, file))
    assert (job.state, (job.result or {})["chunks"]) == (JobState.SUCCEEDED, 1)
