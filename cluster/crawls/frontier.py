"""Stores the frontier of a crawl: the URLs that the crawl has found, each with its outcome or waiting.

The job of the crawl calls these functions. In each transaction that writes, the caller also locks the job
(``attempts.hold``), so only the current attempt at the job writes.

    add_urls(connection, crawl, [FoundUrl(url=url, depth=1, found_on=page.url)])
    for page in next_pages(connection, crawl, taken=(), limit=500): ...
    record_page(connection, crawl, page.id, PageResult(outcome=PageOutcome.NEW, file=file.id, requests=1))
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cluster.crawls.crawls import Crawl
from cluster.crawls.outcomes import CRAWLED_PAGES, PageOutcome
from cluster.crawls.urls import page_id
from cluster.database.queries import queries

SQL = queries("cluster.crawls", "frontier.sql")
#: Outcomes of pages whose content was accepted. Another page with the same content is a duplicate.
STORED = (PageOutcome.NEW, PageOutcome.CHANGED, PageOutcome.UNCHANGED, PageOutcome.VISITED)
#: Options that may differ between two crawls that look for the same URLs (``earlier_crawl``).
OTHER_OPTIONS = (
    *("delay", "max_concurrency", "limit", "attributes", "chunking_strategy", "remove_gone_after"),
    "vector_store_id",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundUrl:
    """A URL that a page, a sitemap or a redirect names."""

    #: A result of ``urls.page_url``.
    url: str
    #: Number of links between the start and this URL.
    depth: int
    #: Number of redirects that led to this URL.
    hops: int = 0
    #: URL of the page or the sitemap that names this URL.
    found_on: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WaitingPage:
    """A page of the frontier without an outcome. ``FoundUrl`` describes the fields that are not described
    here.
    """

    id: str
    url: str
    depth: int
    hops: int
    #: None for the start, also after redirects.
    found_on: str | None
    #: Number of requests for the page that failed.
    attempts: int
    #: Seconds until the next attempt may begin.
    wait_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PageResult:
    """What became of a page; ``crawls.CrawlPage`` describes most of the fields."""

    outcome: PageOutcome
    detail: str | None = None
    status: int | None = None
    media_type: str | None = None
    bytes: int | None = None
    #: SHA-256 of the body that the server sent.
    sha256: str | None = None
    title: str | None = None
    file: str | None = None
    #: 1 if the page was requested to get this result, otherwise 0.
    requests: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontierCounts:
    """How many URLs a crawl has found, how many it has requested, and how many have an outcome."""

    found: int
    requested: int
    done: int


def add_urls(connection: Connection[Any], crawl: Crawl, found: Iterable[FoundUrl]) -> int:
    """Add URLs to the frontier, and return the number of new URLs. URLs that the crawl has found before do
    not change.
    """
    urls = {page_id(one.url): one for one in found}
    if not urls:
        return 0
    values = {
        **_key(crawl),
        "ids": list(urls),
        "urls": [one.url for one in urls.values()],
        "depths": [one.depth for one in urls.values()],
        "hops": [one.hops for one in urls.values()],
        "found_on": [one.found_on for one in urls.values()],
    }
    row = connection.execute(SQL["add"], values).fetchone()
    assert row is not None
    return int(row[0])


def count_pages(connection: Connection[Any], crawl: Crawl) -> FrontierCounts:
    """Return how many URLs the crawl has found, how many it has requested, and how many have an outcome."""
    row = connection.execute(SQL["count"], _key(crawl)).fetchone()
    assert row is not None
    found, requested, done = row
    return FrontierCounts(found=found, requested=requested, done=done)


def next_pages(
    connection: Connection[Any], crawl: Crawl, *, taken: Collection[str], limit: int
) -> list[WaitingPage]:
    """Return pages that wait, sorted by the number of links between the start and the page.

    Args:
        taken: ids of pages that are not returned, because the caller has them already.
        limit: maximum number of pages.
    """
    values = {**_key(crawl), "taken": list(taken), "limit": limit}
    with connection.cursor(row_factory=class_row(WaitingPage)) as cursor:
        return cursor.execute(SQL["next"], values).fetchall()


def record_page(connection: Connection[Any], crawl: Crawl, page: str, result: PageResult) -> bool:
    """Record what became of a page. If the page has an outcome already, change nothing and return False."""
    values = {**_key(crawl), "id": page, **asdict(result)}
    recorded = connection.execute(SQL["record"], values).rowcount > 0
    if recorded:
        CRAWLED_PAGES.add(result.outcome)
    return recorded


def try_later(
    connection: Connection[Any], crawl: Crawl, page: str, *, wait_s: float, detail: str, status: int | None
) -> None:
    """Record that a request for the page failed, and that the page waits for another attempt.

    Args:
        wait_s: minimum seconds until the next attempt.
        detail: a sentence about the failure.
        status: status of the HTTP answer; None if there was no answer.
    """
    values = {**_key(crawl), "id": page, "wait_s": wait_s, "detail": detail, "status": status}
    connection.execute(SQL["later"], values)


def stop_waiting(connection: Connection[Any], crawl: Crawl, outcome: PageOutcome, detail: str) -> int:
    """Give an outcome to all pages that still wait, and return their number."""
    values = {**_key(crawl), "outcome": outcome, "detail": detail}
    return connection.execute(SQL["stop"], values).rowcount


def same_content(connection: Connection[Any], crawl: Crawl, page: str, sha256: str) -> str | None:
    """Return the URL of another page of the crawl whose body has this hash and whose outcome is in
    ``STORED``; None if there is no such page.
    """
    values = {**_key(crawl), "id": page, "sha256": sha256, "outcomes": list(STORED)}
    row = connection.execute(SQL["same_content"], values).fetchone()
    return None if row is None else str(row[0])


def outcome_of(connection: Connection[Any], crawl: Crawl, page: str) -> PageOutcome | None:
    """Return the outcome of a page; None if the page waits, or is not a page of the crawl."""
    row = connection.execute(SQL["outcome"], {**_key(crawl), "id": page}).fetchone()
    return None if row is None or row[0] is None else PageOutcome(row[0])


def rules_of_origin(connection: Connection[Any], crawl: Crawl, origin: str) -> str | None:
    """Return the saved text of the rules of the origin (``robots.txt``); None if no text is saved yet."""
    row = connection.execute(SQL["origin"], {**_key(crawl), "origin": origin}).fetchone()
    return None if row is None else str(row[0])


def save_rules(connection: Connection[Any], crawl: Crawl, origin: str, rules: str) -> None:
    """Save the text of the rules of an origin for the rest of the crawl. A text that is saved already does
    not change.
    """
    connection.execute(SQL["save_origin"], {**_key(crawl), "origin": origin, "rules": rules})


def save_state(
    connection: Connection[Any],
    crawl: Crawl,
    state: Mapping[str, Any],
    *,
    ignored: Mapping[str, int] | None = None,
) -> None:
    """Write values into the state of the crawl. Keys that are not in ``state`` keep their values.

    Args:
        ignored: numbers of links that were not followed, by reason, to add to the stored numbers.
    """
    values = {**_key(crawl), "state": Jsonb(dict(state)), "ignored": Jsonb(dict(ignored or {}))}
    connection.execute(SQL["state"], values)


def earlier_crawl(connection: Connection[Any], crawl: Crawl) -> str | None:
    """Return the id of the newest other crawl into the same store whose options are equal, except
    ``OTHER_OPTIONS``; None if there is no such crawl.
    """
    values = {
        **_key(crawl),
        "vector_store": crawl.vector_store,
        "options": Jsonb(crawl.options),
        "other_options": list(OTHER_OPTIONS),
    }
    row = connection.execute(SQL["earlier"], values).fetchone()
    return None if row is None else str(row[0])


def add_urls_of_earlier(connection: Connection[Any], crawl: Crawl, earlier: str) -> None:
    """Add the URLs that an earlier crawl found, except targets of redirects and canonical URLs. The server
    does not send pages that have not changed, so only the earlier crawl has read the links of these pages.
    """
    connection.execute(SQL["add_earlier"], {**_key(crawl), "earlier": earlier})


def _key(crawl: Crawl) -> dict[str, Any]:
    return {"organisation": crawl.organisation, "crawl": crawl.id}
