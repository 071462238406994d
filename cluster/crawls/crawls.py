"""Create crawls, return crawls with their progress and their pages, cancel crawls, and queue crawls again.

The routes of crawls, ``python -m data_jobs.crawl`` and the submissions of schedules call this module.

    crawl = create_crawl(connection, "acme", CrawlInput(url=url, vector_store_id="vs_1"), max_pages=100_000)
    get_crawl(connection, "acme", crawl.id).outcomes      # {PageOutcome.NEW: 40, PageOutcome.ROBOTS: 2}
    list_pages(connection, "acme", crawl.id, PageRequest(newest_first=False))
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.crawls.outcomes import PageOutcome
from cluster.crawls.scope import require_patterns
from cluster.crawls.urls import page_url
from cluster.database.paging import FIRST_PAGE, ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.documents.vector_stores.stores import get_store, require_live
from cluster.errors import InvalidInput, NotFound
from cluster.jobs import queue
from cluster.jobs.jobs import JobState, new_job_id
from cluster.jobs.kinds import CRAWL, DISCOVER
from cluster.jobs.kinds.crawl_inputs import CrawlInput, CrawlOptions, DiscoverInput
from cluster.organisations.caller import permitted_stores

#: Beginning of the ids of crawls, and of the ids of their jobs. After this beginning, the id of a crawl and
#: the id of its job are equal.
CRAWL_PREFIX, JOB_PREFIX = "crawl_", "job_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Crawl:
    """A crawl, with the state of its job and the number of its pages by outcome."""

    organisation: str
    id: str
    #: Id of the job that runs the crawl.
    job: str
    #: URL at which the crawl starts.
    url: str
    #: Id of the vector store that gets the pages; None if the crawl only discovers URLs.
    vector_store: str | None
    #: The input of the crawl, by the names of the fields of ``CrawlInput`` or ``DiscoverInput``.
    options: dict[str, Any]
    #: What the crawl has recorded about its progress. For example, ``ignored`` has the numbers of links that
    #: the crawl did not follow, by reason.
    state: dict[str, Any]
    created_at: datetime
    #: State of the job.
    job_state: JobState
    #: Error of the job, as a sentence; None if the job has no error.
    error: str | None
    #: Code of this error.
    error_code: str | None
    started_at: datetime | None
    finished_at: datetime | None
    #: Number of pages by outcome.
    outcomes: Mapping[PageOutcome, int] = field(default_factory=dict)
    #: Number of pages without an outcome.
    waiting: int = 0

    @property
    def discovered(self) -> int:
        """Number of URLs that the crawl has found."""
        return self.waiting + sum(self.outcomes.values())

    @property
    def input(self) -> CrawlOptions:
        """The input of the crawl."""
        return (DiscoverInput if self.vector_store is None else CrawlInput).model_validate(self.options)


@dataclass(frozen=True, kw_only=True, slots=True)
class CrawlPage:
    """A page that a crawl has found."""

    id: str
    url: str
    #: Number of links between the start and this page.
    depth: int
    #: URL of the page or the sitemap that names this page; None for the start, also after redirects.
    found_on: str | None
    found_at: datetime
    #: What became of the page; None while the page waits.
    outcome: PageOutcome | None
    #: A sentence about the outcome, such as the reason why the page was skipped, or about the last request
    #: that failed; None if there is nothing to say.
    detail: str | None
    #: Status of the last HTTP answer; None if there was no answer.
    status: int | None
    media_type: str | None
    bytes: int | None
    title: str | None
    #: Id of the file with the content of the page.
    file: str | None
    fetched_at: datetime | None


#: For the fields of ``Crawl`` whose values come from the table ``jobs``: the column of each field.
JOB_COLUMNS = {
    "job_state": "jobs.state",
    **{name: f"jobs.{name}" for name in ("error", "error_code", "started_at", "finished_at")},
}
COUNTED = ("outcomes", "waiting")
COLUMNS = ", ".join(
    f"{JOB_COLUMNS.get(one.name, f'crawls.{one.name}')} AS {one.name}"
    for one in fields(Crawl)
    if one.name not in COUNTED
)
PAGE_COLUMNS = ", ".join(one.name for one in fields(CrawlPage))
SQL = {
    name: text.replace("{columns}", COLUMNS).replace("{page_columns}", PAGE_COLUMNS)
    for name, text in queries("cluster.crawls", "crawls.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])
PAGE_LISTS = ListStatements(newest=SQL["newest_pages"], oldest=SQL["oldest_pages"], places=SQL["page_places"])


def create_crawl(
    connection: Connection[Any],
    organisation: str,
    asked: CrawlInput | DiscoverInput,
    *,
    max_pages: int,
    **options: Any,
) -> Crawl:
    """Create a crawl and submit its job, in the caller's transaction.

    Args:
        asked: the input of the crawl. ``CrawlInput`` names the vector store that gets the pages.
        max_pages: maximum of ``asked.limit`` (the setting ``CLUSTER_CRAWL_MAX_PAGES``).
        options: the arguments ``priority_class``, ``priority``, ``attempts`` and ``run_at`` of
            ``queue.submit``.

    Raises:
        InvalidInput: the URL, a pattern, the limit or the priority is not valid.
        NotFound: the organisation has no such vector store, or does not exist.
        Conflict: the vector store has expired.
    """
    if "limit" not in asked.model_fields_set:
        asked = asked.model_copy(update={"limit": min(asked.limit, max_pages)})
    url = _checked(asked, max_pages=max_pages)
    store = None
    if isinstance(asked, CrawlInput):
        store = require_live(get_store(connection, organisation, asked.vector_store_id)).id
    job = new_job_id()
    id = CRAWL_PREFIX + job.removeprefix(JOB_PREFIX)
    queue.submit(
        connection,
        organisation,
        DISCOVER if store is None else CRAWL,
        {"crawl": id, "url": url, "vector_store": store},
        subject=store or url,
        id=job,
        **options,
    )
    values = {
        "organisation": organisation,
        "id": id,
        "job": job,
        "url": url,
        "vector_store": store,
        "options": Jsonb(asked.model_dump(exclude_none=True)),
    }
    connection.execute(SQL["insert"], values)
    return get_crawl(connection, organisation, id)


def get_crawl(connection: Connection[Any], organisation: str, id: str) -> Crawl:
    """Return the crawl with this id.

    Raises:
        NotFound: the organisation has no such crawl.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["get"], {"organisation": organisation, "id": id}).fetchone()
    if row is None:
        raise NotFound(f"no crawl {id!r}")
    return _with_counts(connection, organisation, [row])[0]


def list_crawls(
    connection: Connection[Any],
    organisation: str,
    page: PageRequest = FIRST_PAGE,
    *,
    vector_store: str | None = None,
) -> ListPage[Crawl]:
    """Return a page of the organisation's crawls that the caller may see. A key that is limited to some
    vector stores sees the crawls into these stores.

    Args:
        vector_store: id of a vector store, to return only crawls into this store; None: all crawls.

    Raises:
        InvalidInput: the cursor of ``page`` names no crawl of the organisation.
    """
    values = {"organisation": organisation, "vector_store": vector_store, "only": permitted_stores()}
    found = read_page(connection, LISTS, values, page)
    return ListPage(items=_with_counts(connection, organisation, found.items), has_more=found.has_more)


def list_pages(
    connection: Connection[Any],
    organisation: str,
    id: str,
    page: PageRequest = FIRST_PAGE,
    *,
    outcome: PageOutcome | None = None,
) -> ListPage[CrawlPage]:
    """Return a page of the URLs that the crawl has found, sorted by the time at which the crawl found them.

    Args:
        page: says which part of the list to return, and whether the newest URL comes first.
        outcome: an outcome, to return only URLs with this outcome; None: all URLs.

    Raises:
        NotFound: the organisation has no such crawl.
        InvalidInput: the cursor of ``page`` names no URL of the crawl.
    """
    get_crawl(connection, organisation, id)
    values = {"organisation": organisation, "crawl": id, "outcome": outcome}
    found = read_page(connection, PAGE_LISTS, values, page)
    return ListPage(items=[_page(row) for row in found.items], has_more=found.has_more)


def cancel_crawl(connection: Connection[Any], organisation: str, id: str) -> Crawl:
    """Cancel the crawl. The pages that the crawl has stored stay. A crawl that has ended does not change.

    Raises:
        NotFound: the organisation has no such crawl.
    """
    crawl = get_crawl(connection, organisation, id)
    queue.cancel(connection, organisation, crawl.job)
    return get_crawl(connection, organisation, id)


def retry_crawl(connection: Connection[Any], organisation: str, id: str) -> Crawl:
    """Queue again a crawl that failed or was cancelled. The crawl continues with the pages that still wait.

    Raises:
        NotFound: the organisation has no such crawl.
        Conflict: the crawl has not ended, or has succeeded.
    """
    crawl = get_crawl(connection, organisation, id)
    queue.replay(connection, organisation, crawl.job)
    return get_crawl(connection, organisation, id)


def _checked(asked: CrawlOptions, *, max_pages: int) -> str:
    """Check the options, and return the URL at which the crawl starts.

    Raises:
        InvalidInput: the URL, a pattern or the limit is not valid.
    """
    url = page_url(asked.url)
    if url is None:
        raise InvalidInput(
            f"url is {asked.url[:200]!r}; it must be a URL that begins with https:// or http://, without a "
            "user name",
            param="url",
        )
    if asked.limit > max_pages:
        raise InvalidInput(
            f"limit is {asked.limit:,}; it must be at most {max_pages:,} (CLUSTER_CRAWL_MAX_PAGES)",
            param="limit",
        )
    require_patterns(asked)
    return url


def _with_counts(
    connection: Connection[Any], organisation: str, rows: Sequence[dict[str, Any]]
) -> list[Crawl]:
    counts: dict[str, dict[str | None, int]] = defaultdict(dict)
    values = {"organisation": organisation, "crawls": [row["id"] for row in rows]}
    for crawl, outcome, number in connection.execute(SQL["outcomes"], values):
        counts[crawl][outcome] = number
    found = []
    for row in rows:
        numbers = counts[row["id"]]
        crawl = Crawl(**{**row, "job_state": JobState(row["job_state"])})
        outcomes = {PageOutcome(name): number for name, number in numbers.items() if name is not None}
        found.append(replace(crawl, outcomes=outcomes, waiting=numbers.get(None, 0)))
    return found


def _page(row: dict[str, Any]) -> CrawlPage:
    return CrawlPage(**{**row, "outcome": row["outcome"] and PageOutcome(row["outcome"])})
