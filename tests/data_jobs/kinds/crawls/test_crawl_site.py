"""A crawl brings a website into a vector store: every permitted page once, and nothing from inside."""

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from psycopg_pool import ConnectionPool

from cluster.crawls.crawls import cancel_crawl, retry_crawl
from cluster.crawls.outcomes import PageOutcome
from cluster.documents.files import list_files
from cluster.documents.vector_stores.stores import delete_store
from cluster.engines import Engine
from cluster.jobs.kinds.crawl_inputs import CrawlInput, DiscoverInput
from cluster.settings import Settings
from tests.data_jobs.kinds.crawls.crawling import FAST, CrawlClient, crawling, crawling_settings
from tests.data_jobs.running_consumer import LocalClient
from tests.simulators.site import MAIN_NAME, TrapSite, site_of_traps
from tests.simulators.site.traps import ADDRESS_FORMS, FORBIDDEN, page
from tests.waiting import until

#: What becomes of the traps.
TRAPPED = {
    PageOutcome.TOO_LARGE: {"large.html", "large-unannounced.html", "bomb.html"},
    PageOutcome.TOO_MANY_REDIRECTS: {"circle", "cookies.html"},
    PageOutcome.TIMEOUT: {"slow.html"},
    PageOutcome.HTTP_ERROR: {"unavailable.html"},
    PageOutcome.NO_ANSWER: {"truncated.html", "reset.html", "headers.html"},
    PageOutcome.UNSUPPORTED: {"film.mp4"},
    PageOutcome.NEEDS_BROWSER: {"app.html"},
}
#: Number of requests for the pages that are requested more than once, because an attempt failed.
ATTEMPTS = {
    **dict.fromkeys(("busy.html", "unavailable.html", "truncated.html", "reset.html", "headers.html"), 3),
    "slow.html": 2,
}

#: Larger pages are left out of the site where its pages are embedded, which takes long.
MAX_PAGE_BYTES = 15_000


@pytest.fixture(scope="module")
def running(only_hashing: Settings, pool: ConnectionPool, hashing_engine: Engine) -> Iterator[TrapSite]:
    with (
        site_of_traps() as site,
        crawling(crawling_settings(only_hashing, site), pool, hashing_engine, site),
    ):
        yield site


@pytest.fixture
def site(running: TrapSite) -> TrapSite:
    """The site in its first version, without the requests of other tests."""
    running.fill(running.port)
    running.requests.clear()
    running.busy_answers, running.robots, running.endless = 0, None, False
    return running


@pytest.fixture
def client(
    only_hashing: Settings, pool: ConnectionPool, hashing_engine: Engine, organisation: str, site: TrapSite
) -> CrawlClient:
    settings = crawling_settings(only_hashing, site)
    return CrawlClient(LocalClient(settings, pool, hashing_engine, organisation))


def requested(site: TrapSite) -> Counter[str]:
    """The number of requests for each path of the site under its own name."""
    own = f"{MAIN_NAME}:{site.port}"
    return Counter(request.path for request in site.requests if request.host == own)


def keep_small(site: TrapSite, most: int) -> None:
    """Remove pages with more bytes from the site, because it takes long to embed them."""
    site.pages = {path: page for path, page in site.pages.items() if len(page.body) <= most}


def paths(urls: set[str]) -> set[str]:
    return {urlsplit(url).path for url in urls}


def test_every_page_that_robots_allow_is_fetched_once_and_nothing_from_inside(
    client: CrawlClient, site: TrapSite
) -> None:
    keep_small(site, MAX_PAGE_BYTES)
    store, everywhere = client.local.store(), [f":{site.port}/"]
    # Links to real websites are left out, links to inner addresses are not.
    crawl = client.crawl(
        store, site.url(), allow_external_links=True, include_paths=everywhere, regex_on_full_url=True
    )
    counts, outcomes = requested(site), client.by_outcome(crawl)
    assert site.inner_requests == []
    assert FORBIDDEN.isdisjoint(counts)
    assert {path: counts[path] for path in site.expected_paths()} == {
        path: ATTEMPTS.get(path.removeprefix("/traps/"), 1) for path in site.expected_paths()
    }
    for outcome, names in TRAPPED.items():
        assert {f"/traps/{name}" for name in names} <= paths(outcomes[outcome]), outcome
    assert paths(outcomes[PageOutcome.ROBOTS]) >= FORBIDDEN
    refused = {
        urlsplit(page.url).netloc: page.outcome
        for page in client.pages(crawl).values()
        if page.url.endswith("/secret")
    }
    assert len(refused) >= 15
    assert set(refused.values()) <= {PageOutcome.REFUSED, PageOutcome.ROBOTS}
    assert {f"{form}:{site.port}" for form in ADDRESS_FORMS} <= {*refused, *_rewritten(site)}
    assert {request.headers["user-agent"] for request in site.requests} == {
        "embedding-cluster/1.0 (+https://example.com/crawler)"
    }
    client.indexed()
    expected = site.expected_paths() - {"/traps/same-1.html", "/traps/same-2.html", "/traps/app.html"}
    texts = {urlsplit(url).path: text for url, text in client.texts(store).items() if MAIN_NAME in url}
    assert len(texts.keys() & {"/traps/same-1.html", "/traps/same-2.html"}) == 1
    assert expected <= {*texts, "/traps/addresses.html"}
    assert "of a forbidden folder" in texts["/private/open.html"]
    assert "A file in Markdown" in texts["/traps/notes.md"]


def _rewritten(site: TrapSite) -> set[str]:
    """Addresses whose form differs in URLs: they are written in lower case and in the shortest form."""
    return {f"{form}:{site.port}" for form in ADDRESS_FORMS if form.startswith("[")}


def test_a_second_crawl_embeds_only_what_changed_and_removes_what_is_gone(
    client: CrawlClient, site: TrapSite
) -> None:
    keep_small(site, MAX_PAGE_BYTES)
    store, start = client.local.store(), site.url("/sqlite/index.html")
    first = client.crawl(store, start)
    stored = client.by_outcome(first)[PageOutcome.NEW]
    before = client.indexed()
    changed = sorted(paths(stored) - {"/sqlite/index.html"})[1:4]
    gone = sorted(paths(stored) - {"/sqlite/index.html"})[0]
    assert len(stored) >= 6
    for path in changed:
        site.change(path, f"The page {path} of the herons has changed.")
    site.remove(gone)
    site.requests.clear()
    second = client.crawl(store, start)
    outcomes = client.by_outcome(second)
    assert paths(outcomes[PageOutcome.CHANGED]) == set(changed)
    assert paths(outcomes[PageOutcome.GONE]) == {gone}
    assert len(outcomes[PageOutcome.UNCHANGED]) == len(stored) - 4
    statuses = Counter(request.status[0] for request in site.requests if request.path in site.pages)
    assert statuses == {304: len(stored) - 4, 200: 3}
    embedded = {job: chunks for job, chunks in client.indexed().items() if job not in before}
    assert len(embedded) == 3
    assert sum(embedded.values()) <= 9
    texts = client.texts(store)
    assert "herons" in texts[site.url(changed[0])]
    assert site.url(gone) in texts
    third = client.crawl(store, start)
    assert paths(client.by_outcome(third)[PageOutcome.REMOVED]) == {gone}
    assert client.texts(store).keys() == texts.keys() - {site.url(gone)}


def test_the_files_of_a_website_are_deleted_with_their_store(client: CrawlClient, site: TrapSite) -> None:
    store, own = client.local.store(), client.local.upload("own.txt", b"A file of a person.")
    client.local.attach(store, own)
    client.crawl(store, site.url("/mako/index.html"), limit=3)
    client.indexed()
    with client.local.pool.connection() as connection:
        assert len(list_files(connection, client.local.organisation).items) == 4
        job = delete_store(connection, client.local.organisation, store.id)
    client.local.ended(job.id)
    with client.local.pool.connection() as connection:
        (left,) = list_files(connection, client.local.organisation).items
    assert left.id == own.id


def test_a_loop_of_generated_links_ends_at_the_limit(client: CrawlClient, site: TrapSite) -> None:
    site.endless = True
    calendar = site.url("/traps/calendar/1")
    crawl = client.crawl(client.local.store(), calendar, limit=25, sitemap="skip", crawl_entire_domain=True)
    assert sum(requested(site).values()) - requested(site)["/robots.txt"] == 25
    assert crawl.outcomes[PageOutcome.LIMIT] == 1
    folder = client.crawl(
        client.local.store(), site.url("/traps/folder/"), sitemap="skip", ignore_query_parameters=True
    )
    assert PageOutcome.LIMIT not in folder.outcomes
    assert folder.state["ignored"]["repeated_segments"] >= 1


def test_urls_are_discovered_without_storing_a_page(client: CrawlClient, site: TrapSite) -> None:
    listed = client.ended(client.begin(DiscoverInput(url=site.url("/lxml/"), sitemap="only")))
    expected = {path for path in site.pages if path.startswith("/lxml/")}
    assert paths(client.by_outcome(listed)[PageOutcome.LISTED]) == expected
    assert expected.isdisjoint(requested(site))
    depth = client.ended(
        client.begin(DiscoverInput(url=site.url("/lxml/index.html"), sitemap="skip", max_discovery_depth=1))
    )
    assert {page.depth for page in client.pages(depth).values()} == {0, 1}
    assert paths(client.by_outcome(depth)[PageOutcome.VISITED]) <= expected
    with client.local.pool.connection() as connection:
        assert not list_files(connection, client.local.organisation).items


def test_a_cancelled_crawl_continues_with_the_pages_that_wait(client: CrawlClient, site: TrapSite) -> None:
    site.robots = "User-agent: *\nCrawl-delay: 0.05\n"
    crawl = client.begin(
        CrawlInput(url=site.url("/sqlite/"), vector_store_id=client.local.store().id, limit=60)
    )
    until(lambda: client.get(crawl).outcomes.get(PageOutcome.NOT_FOUND, 0), lambda done: done >= 1)
    with client.local.pool.connection() as connection:
        cancel_crawl(connection, client.local.organisation, crawl.id)
    assert until(lambda: client.get(crawl), lambda found: found.job_state.ended).waiting
    with client.local.pool.connection() as connection:
        retry_crawl(connection, client.local.organisation, crawl.id)
    client.ended(crawl)
    times = sorted(request.at for request in site.requests)
    # A window has 20 gaps between beginnings of requests. Requests that arrive late, because the machine is
    # busy, make it shorter by at most as many gaps as the host gets requests at the same time. The request
    # for robots.txt comes before its delay is known.
    windows = [later - earlier for earlier, later in zip(times, times[20:], strict=False)]
    assert len(windows) > 20
    assert min(windows) > (20 - FAST["crawl_concurrency_per_host"] - 1) * 0.05


def test_a_block_that_many_pages_repeat_is_left_out(client: CrawlClient, site: TrapSite) -> None:
    again = "<p>Subscribe to our letter about herons and never miss a heron again.</p>"
    for number in range(11):
        own = f"<p>Pond {number} has {number} herons, which is what this sentence is about.</p>"
        links = "".join(f'<a href="{other}.html">Pond {other}</a> ' for other in range(11))
        site.put(f"/ponds/{number}.html", page(f"Pond {number}", again, own, f"<p>{links}</p>"))
    store = client.local.store()
    client.crawl(store, site.url("/ponds/0.html"), sitemap="skip")
    client.indexed()
    texts = client.texts(store)
    assert len(texts) == 11
    assert [text for text in texts.values() if "letter about herons" in text] == []
    assert "Pond 7 has 7 herons" in texts[site.url("/ponds/7.html")]


def test_a_long_delay_of_a_website_frees_the_slot(client: CrawlClient, site: TrapSite) -> None:
    site.robots = "User-agent: *\nCrawl-delay: 40\n"
    crawl = client.begin(DiscoverInput(url=site.url("/lxml/")))
    waiting = until(lambda: client.local.job(crawl.job), lambda job: job.retry_at is not None)
    assert (waiting.state, waiting.error_code, waiting.attempt) == ("queued", "next_turn", 2)
    assert 10 < (waiting.retry_at - waiting.started_at).total_seconds() < 45
    assert waiting.last_attempt > 5  # a turn uses up no attempt
    with client.local.pool.connection() as connection:
        cancel_crawl(connection, client.local.organisation, crawl.id)
    assert set(requested(site)) == {"/robots.txt"}
