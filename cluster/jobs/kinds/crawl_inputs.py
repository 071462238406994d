"""Define the inputs of the jobs that read websites. The names of most fields are those of Firecrawl's API,
version 2.

    CrawlInput.model_validate({"url": "https://example.com/docs/", "vector_store_id": "vs_1", "limit": 500})

A field can also be given in Python's spelling (``include_paths`` for ``includePaths``).
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from cluster.jobs.kinds.inputs import MAX_URL_CHARACTERS, GivenAttributes, JobInput, StorableText

#: Maximum number of patterns in ``includePaths`` and in ``excludePaths``, and of characters in each pattern.
MAX_PATTERNS, MAX_PATTERN_CHARACTERS = 50, 500
#: Default of ``limit``, as at Firecrawl.
DEFAULT_LIMIT = 10_000
#: Names of two of the attributes that the crawl gives to the file of each page.
URL_ATTRIBUTE = "url"
TITLE_ATTRIBUTE = "title"
#: Maximum number of attributes that the caller gives. A file can have 16 attributes, and the crawl adds some.
MAX_OWN_ATTRIBUTES = 10
#: Fields whose names are the same in requests as in Python. Firecrawl's API does not have these fields.
SNAKE_CASE = frozenset({"vector_store_id", "chunking_strategy"})

Pattern = Annotated[StorableText, Field(min_length=1, max_length=MAX_PATTERN_CHARACTERS)]
Patterns = Annotated[list[Pattern], Field(max_length=MAX_PATTERNS)]


def public_name(name: str) -> str:
    """Return the name of a field in requests, such as ``includePaths`` for ``include_paths``."""
    if name in SNAKE_CASE:
        return name
    if name == "regex_on_full_url":
        return "regexOnFullURL"
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


class CrawlOptions(JobInput):
    """Says which pages of a website a crawl visits. Rules of ``robots.txt`` always apply."""

    model_config = ConfigDict(alias_generator=public_name, populate_by_name=True)

    url: Annotated[StorableText, Field(min_length=1, max_length=MAX_URL_CHARACTERS)]
    """The URL at which the crawl starts."""
    include_paths: Patterns | None = None
    """Regular expressions. Only pages whose path matches one of them are visited, such as `^/docs/.*`."""
    exclude_paths: Patterns | None = None
    """Regular expressions. Pages whose path matches one of them are not visited."""
    regex_on_full_url: bool = False
    """True: the expressions are compared with the whole URL, not only with its path."""
    max_discovery_depth: Annotated[int, Field(ge=0, le=1_000)] | None = None
    """Maximum number of links between the start and a page. The start and URLs of sitemaps have depth 0. By
    default, there is no maximum."""
    sitemap: Literal["include", "skip", "only"] = "include"
    """`include` visits the URLs of the website's sitemaps and follows links, `skip` ignores sitemaps, and
    `only` visits the URLs of sitemaps and follows no link."""
    ignore_query_parameters: bool = False
    """True: URLs that differ only in their query are one page."""
    limit: Annotated[int, Field(ge=1)] = DEFAULT_LIMIT
    """Maximum number of pages that are requested."""
    crawl_entire_domain: bool = False
    """True: all pages of the host are visited. By default, only pages below the path of the start are."""
    allow_subdomains: bool = False
    """True: pages on subdomains of the start's host are visited, too."""
    allow_external_links: bool = False
    """True: links to other websites are followed, too."""
    delay: Annotated[float, Field(ge=0, le=3_600)] | None = None
    """Minimum seconds between two requests to a host. It cannot be shorter than the cluster's own minimum."""
    max_concurrency: Annotated[int, Field(ge=1, le=100)] | None = None
    """Maximum number of simultaneous requests of this crawl."""


class CrawlInput(CrawlOptions):
    """Reads a website into a vector store. Each page becomes a file that is attached to the store.

    Another crawl into the same store changes only the files of pages that have changed.
    """

    vector_store_id: StorableText
    """Id of the vector store."""
    remove_gone_after: Annotated[int, Field(ge=1, le=100)] = 2
    """Number of crawls in a row that do not find a page (status 404 or 410, or forbidden by the website),
    after which the file of the page is deleted."""
    attributes: Annotated[GivenAttributes, Field(max_length=MAX_OWN_ATTRIBUTES)] | None = None
    """Up to 10 named values for each page, which the filters of a search can test."""
    chunking_strategy: dict[Literal["type", "static"], Any] | None = None
    """How the pages are cut into chunks, as in `POST /v1/vector_stores/{vector_store_id}/files`."""


class DiscoverInput(CrawlOptions):
    """Finds the URLs of a website, and stores none of its pages."""
