"""POST /api/v1/crawler/enqueue and GET /api/v1/crawler/{task_id}, which are older than /v1/crawls.

These paths are for older clients. A task is a job.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from psycopg import Connection
from pydantic import Field
from starlette.responses import Response

from cluster.documents.vector_stores.stores import ensure_store
from cluster.jobs.jobs import get_job
from cluster.vector_index import collection_name
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.compatible.tasks import TaskObject
from serve_app.routes.crawls.crawl_requests import CrawledFilesRequest, queue_crawl
from serve_app.routes.vector_store_fields import Name

#: Name of the vector store for websites if the request names no store.
DEFAULT_STORE = "websites"

router = json_router()


class EnqueueRequest(CrawledFilesRequest):
    """A website to read into a vector store."""

    vector_store: Annotated[Name, Field(min_length=1, alias="vector_store")] = DEFAULT_STORE
    """Name or id of a vector store; created if it does not exist."""


class AcceptedCrawl(ResponseModel):
    """The task that reads a website."""

    task_id: str
    """Id of the task; see `/api/v1/crawler/{task_id}`."""
    status: Literal["queued"] = "queued"
    """Always `queued`."""
    crawl_id: str
    """Id of the crawl; see `/v1/crawls/{crawl_id}`."""
    vector_store_id: str
    """Id of the vector store that gets the pages."""


@router.post(
    "/api/v1/crawler/enqueue",
    summary="Read a website and make it searchable",
    response_model=AcceptedCrawl,
    responses=documented_errors(404, 409, 429),
)
async def enqueue(
    body: EnqueueRequest, service: ServiceDep, organisation: Organisation, once: Once
) -> Response:
    """Queues a crawl into a vector store. The store is created if it does not exist."""
    settings, fingerprint = service.settings, service.models.default.engine.fingerprint

    def work(connection: Connection[Any]) -> AcceptedCrawl:
        store = ensure_store(
            connection,
            organisation,
            body.vector_store,
            fingerprint=fingerprint,
            index=settings.vector_index,
        )
        service.require_configured(store)
        crawl = queue_crawl(connection, settings, organisation, body, body.crawl_input(store.id))
        return AcceptedCrawl(task_id=crawl.job, crawl_id=crawl.id, vector_store_id=store.id)

    await service.in_database(
        lambda _, indexes: indexes.default.ensure(collection_name(fingerprint), dim=fingerprint.dim)
    )
    return await once(work)


@router.get(
    "/api/v1/crawler/{task_id}",
    summary="Get the state of a crawl's task",
    responses=documented_errors(HTTPStatus.NOT_FOUND),
)
async def get_task(task_id: str, service: ServiceDep, organisation: Organisation) -> TaskObject:
    """Shows the state of a task; `GET /v1/crawls/{crawl_id}` shows more."""
    job = await service.read(lambda connection: get_job(connection, organisation, task_id))
    return TaskObject.of(job)
