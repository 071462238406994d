"""Define the models of the answers of /v1/crawls: a crawl, and the pages that a crawl has found."""

from typing import Any, Literal, Self

from cluster.crawls.crawls import Crawl, CrawlPage
from cluster.crawls.outcomes import PageOutcome
from cluster.jobs.jobs import JobState
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.routes.files import unix
from serve_app.routes.jobs.job_objects import JobError


class CrawlCounts(ResponseModel):
    """Numbers of the URLs that a crawl has found."""

    discovered: int
    """Number of URLs that the crawl has found."""
    waiting: int
    """Number of these URLs that the crawl has not visited yet."""
    by_outcome: dict[PageOutcome, int]
    """Numbers of the other URLs by outcome, such as `new`, `unchanged`, `gone` or `robots`."""
    ignored: dict[str, int]
    """Numbers of the links that the crawl did not follow, by reason."""


class CrawlObject(ResponseModel):
    """A crawl. Times are in seconds since 1970."""

    id: str
    """Id of the crawl, `crawl_...`."""
    object: Literal["crawl"] = "crawl"
    """Always `crawl`."""
    url: str
    """URL at which the crawl starts."""
    vector_store_id: str | None
    """Id of the vector store that gets the pages; null if the crawl only discovers URLs."""
    status: JobState
    """`queued`, `running`, `succeeded`, `failed` or `cancelled`."""
    pages: CrawlCounts
    """Numbers of the pages."""
    options: dict[str, Any]
    """The options of the crawl."""
    error: JobError | None
    """Why the crawl failed or was cancelled; null otherwise."""
    job_id: str
    """Id of the job that runs the crawl; `GET /v1/jobs/{job_id}/events` follows it."""
    created_at: int
    """Time at which the crawl was asked for."""
    started_at: int | None
    """Time at which the crawl began; null if it has not begun."""
    finished_at: int | None
    """Time at which the crawl ended; null if it has not ended."""

    @classmethod
    def of(cls, crawl: Crawl) -> Self:
        """Convert the crawl into the object that answers contain."""
        ignored = crawl.state.get("ignored") or {}
        return cls(
            id=crawl.id,
            url=crawl.url,
            vector_store_id=crawl.vector_store,
            status=crawl.job_state,
            pages=CrawlCounts(
                discovered=crawl.discovered,
                waiting=crawl.waiting,
                by_outcome=dict(crawl.outcomes),
                ignored={str(reason): int(number) for reason, number in ignored.items()},
            ),
            options=crawl.input.model_dump(by_alias=True, exclude_none=True),
            error=None if crawl.error is None else JobError(code=crawl.error_code, message=crawl.error),
            job_id=crawl.job,
            created_at=unix(crawl.created_at),
            started_at=None if crawl.started_at is None else unix(crawl.started_at),
            finished_at=None if crawl.finished_at is None else unix(crawl.finished_at),
        )


class CrawlList(ListObject[CrawlObject]):
    """One page of the crawls."""


class CrawlPageObject(ResponseModel):
    """A URL that a crawl has found."""

    id: str
    """Id of the URL in this crawl, `page_...`."""
    object: Literal["crawl.page"] = "crawl.page"
    """Always `crawl.page`."""
    url: str
    """The URL."""
    outcome: PageOutcome | None
    """What became of the page, such as `new`, `unchanged` or `robots`; null while it waits."""
    detail: str | None
    """A sentence about the outcome; null if there is none."""
    depth: int
    """Number of links between the start and this page."""
    found_on: str | None
    """URL of the page or the sitemap that names this URL; null for the start."""
    http_status: int | None
    """Status of the HTTP answer; null if no answer arrived."""
    media_type: str | None
    """Media type of the answer; null if it is not known."""
    bytes: int | None
    """Number of bytes of the answer's body; null if there is no body."""
    title: str | None
    """Title of the page; null if it is not known."""
    file_id: str | None
    """Id of the file with the content of the page; null if there is none."""
    fetched_at: int | None
    """Time at which the page was requested; null if it was not requested."""

    @classmethod
    def of(cls, page: CrawlPage) -> Self:
        """Convert the page into the object that answers contain."""
        return cls(
            id=page.id,
            url=page.url,
            outcome=page.outcome,
            detail=page.detail,
            depth=page.depth,
            found_on=page.found_on,
            http_status=page.status,
            media_type=page.media_type,
            bytes=page.bytes,
            title=page.title,
            file_id=page.file,
            fetched_at=None if page.fetched_at is None else unix(page.fetched_at),
        )


class CrawlPageList(ListObject[CrawlPageObject]):
    """One page of the URLs that a crawl has found."""
