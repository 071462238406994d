"""Routes of /v1/crawls: read a website into a vector store or find its URLs; show, cancel or retry a crawl.

OpenAI's API has no crawls. The options have the names of Firecrawl's API, version 2. A schedule of the kind
``crawl`` (``POST /v1/schedules``) reads a website again and again.
"""

from typing import Annotated, Any

from fastapi import Query
from psycopg import Connection
from starlette.responses import Response

from cluster.crawls import crawls
from cluster.crawls.crawls import Crawl
from cluster.crawls.outcomes import PageOutcome
from cluster.documents.vector_stores.stores import get_store
from cluster.organisations.caller import require_store
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.crawls.crawl_objects import CrawlList, CrawlObject, CrawlPageList, CrawlPageObject
from serve_app.routes.crawls.crawl_requests import DiscoverRequest, NewCrawlRequest, queue_crawl

router = json_router(404)


@router.post(
    "/v1/crawls",
    summary="Read a website into a vector store",
    response_model=CrawlObject,
    responses=documented_errors(404, 409, 429),
)
async def create(
    body: NewCrawlRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Queues a crawl. Each page becomes a file that is attached to the vector store. Another crawl into the
    same store changes only the files of pages that have changed."""

    def work(connection: Connection[Any]) -> CrawlObject:
        service.require_configured(get_store(connection, organisation, body.vector_store_id))
        asked = body.crawl_input(body.vector_store_id)
        return CrawlObject.of(queue_crawl(connection, service.settings, organisation, body, asked))

    return await once(work)


@router.post(
    "/v1/crawls/discover",
    summary="Find the URLs of a website",
    response_model=CrawlObject,
    responses=documented_errors(429),
)
async def discover(
    body: DiscoverRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Queues a crawl that stores no page. `GET /v1/crawls/{crawl_id}/pages` lists the URLs that it finds."""

    def work(connection: Connection[Any]) -> CrawlObject:
        asked = body.discover_input()
        return CrawlObject.of(queue_crawl(connection, service.settings, organisation, body, asked))

    return await once(work)


@router.get("/v1/crawls", summary="List crawls")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    vector_store_id: Annotated[str | None, Query(description="Only crawls into this vector store")] = None,
) -> CrawlList:
    """Lists the crawls of the caller's organisation, one page at a time."""
    found = await service.read(
        lambda connection: crawls.list_crawls(connection, organisation, page, vector_store=vector_store_id)
    )
    return CrawlList.of(found, CrawlObject.of, lambda crawl: crawl.id)


@router.get("/v1/crawls/{crawl_id}", summary="Get a crawl")
async def retrieve(crawl_id: str, service: ServiceDep, organisation: Organisation) -> CrawlObject:
    """Shows the crawl, with the numbers of its pages by outcome."""
    return CrawlObject.of(
        await service.read(lambda connection: _permitted(connection, organisation, crawl_id))
    )


@router.get("/v1/crawls/{crawl_id}/pages", summary="List the pages of a crawl")
async def list_pages(
    crawl_id: str,
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    outcome: Annotated[PageOutcome | None, Query(description="Only pages with this outcome")] = None,
) -> CrawlPageList:
    """Lists the URLs that the crawl has found, with the outcome of each, one page at a time."""

    def read(connection: Connection[Any]) -> Any:
        _permitted(connection, organisation, crawl_id)
        return crawls.list_pages(connection, organisation, crawl_id, page, outcome=outcome)

    return CrawlPageList.of(await service.read(read), CrawlPageObject.of, lambda found: found.id)


@router.post(
    "/v1/crawls/{crawl_id}/cancel",
    summary="Cancel a crawl",
    response_model=CrawlObject,
    responses=documented_errors(404),
)
async def cancel(crawl_id: str, organisation: Organisation, once: Once) -> Response:
    """Cancels a crawl. The pages that it has stored stay. A crawl that has ended does not change."""

    def work(connection: Connection[Any]) -> CrawlObject:
        _permitted(connection, organisation, crawl_id)
        return CrawlObject.of(crawls.cancel_crawl(connection, organisation, crawl_id))

    return await once(work)


@router.post(
    "/v1/crawls/{crawl_id}/retry",
    summary="Run a crawl again",
    response_model=CrawlObject,
    responses=documented_errors(404, 409),
)
async def retry(crawl_id: str, organisation: Organisation, once: Once) -> Response:
    """Queues a crawl again that failed or was cancelled. It continues with the pages that still wait."""

    def work(connection: Connection[Any]) -> CrawlObject:
        _permitted(connection, organisation, crawl_id)
        return CrawlObject.of(crawls.retry_crawl(connection, organisation, crawl_id))

    return await once(work)


def _permitted(connection: Connection[Any], organisation: str, crawl_id: str) -> Crawl:
    """Return the crawl if the caller may see it.

    Raises:
        NotFound: the organisation has no such crawl.
        NotPermitted: the caller's key is limited to other vector stores than the crawl's store.
    """
    crawl = crawls.get_crawl(connection, organisation, crawl_id)
    if crawl.vector_store is not None:
        require_store(crawl.vector_store)
    return crawl
