"""Define the requests of /v1/crawls. They have the fields of the jobs' inputs and some of ``OF_THE_JOB``."""

from typing import Annotated, Any, TypeVar

from psycopg import Connection
from pydantic import Field

from cluster.crawls.crawls import Crawl, create_crawl
from cluster.jobs.kinds.crawl_inputs import MAX_OWN_ATTRIBUTES, CrawlInput, CrawlOptions, DiscoverInput
from cluster.settings import Settings
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.routes.vector_store_fields import (
    Attributes,
    ChunkingStrategy,
    Priority,
    RequestedClass,
    queue_options,
    stored_json,
)

CrawlModel = TypeVar("CrawlModel", bound=CrawlOptions)
#: Fields of requests that are not part of the job's input.
OF_THE_JOB = frozenset({"priority_class", "priority", "vector_store"})


class CrawlScopeRequest(CrawlOptions, RequestModel):
    """Says which pages of a website are visited, by the names of Firecrawl's API, version 2."""

    priority_class: Annotated[RequestedClass | None, Field(alias="priority_class")] = None
    priority: Priority | None = None

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because more pages than intended would be visited if a misspelled option were
        ignored.
        """
        del name
        return False

    def input_of(self, kind: type[CrawlModel], **more: object) -> CrawlModel:
        """Return the input of the job.

        Args:
            kind: the model of the input.
            more: fields of the input that the request does not have, or that replace fields of the request.
        """
        given = self.model_dump(exclude=set(OF_THE_JOB), exclude_none=True)
        return kind.model_validate({**given, **more})


class DiscoverRequest(CrawlScopeRequest):
    """A search for the URLs of a website. None of its pages is stored."""

    def discover_input(self) -> DiscoverInput:
        """Return the input of the job."""
        return self.input_of(DiscoverInput)


class CrawledFilesRequest(CrawlScopeRequest):
    """What a crawl does with the pages that it visits."""

    remove_gone_after: Annotated[Whole, Field(ge=1, le=100)] = 2
    """Number of crawls in a row that do not find a page (status 404 or 410, or forbidden by the website),
    after which the file of the page is deleted."""
    attributes: Annotated[Attributes, Field(max_length=MAX_OWN_ATTRIBUTES)] | None = None
    """Up to 10 named values for each page, which the filters of a search can test."""
    chunking_strategy: ChunkingStrategy | None = None

    def crawl_input(self, vector_store: str) -> CrawlInput:
        """Return the input of the job.

        Args:
            vector_store: id of the vector store.
        """
        strategy = stored_json(self.chunking_strategy)
        return self.input_of(CrawlInput, vector_store_id=vector_store, chunking_strategy=strategy)


class NewCrawlRequest(CrawledFilesRequest):
    """A website to read into a vector store."""

    vector_store_id: Text
    """Id of the vector store."""


def queue_crawl(
    connection: Connection[Any],
    settings: Settings,
    organisation: str,
    body: CrawlScopeRequest,
    asked: CrawlInput | DiscoverInput,
) -> Crawl:
    """Create a crawl with the priority of the request, in the caller's transaction.

    Args:
        body: the request.
        asked: the input of the crawl, which ``body`` made.

    Raises:
        ClusterError: the errors of ``create_crawl`` and of ``queue_options``.
    """
    options = queue_options(settings, body)
    return create_crawl(connection, organisation, asked, max_pages=settings.crawl_max_pages, **options)
