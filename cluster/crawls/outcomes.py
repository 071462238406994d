"""What became of each page of a crawl."""

from enum import StrEnum


class PageOutcome(StrEnum):
    """What became of a page in one crawl."""

    #: The page was fetched for the first time, and its content became a file of the vector store.
    NEW = "new"
    #: The content differs from the content at the last crawl. The file has the new content.
    CHANGED = "changed"
    #: The content is the same as at the last crawl.
    UNCHANGED = "unchanged"
    #: The page was fetched to find its links. Only crawls without a vector store have this outcome.
    VISITED = "visited"
    #: A sitemap or a page names the URL, and the URL was not requested. Only crawls without a vector store
    #: have this outcome.
    LISTED = "listed"
    #: The server says that the page does not exist (404 or 410). No earlier crawl has found it.
    NOT_FOUND = "not_found"
    #: The server says that the page no longer exists. Its file of an earlier crawl still exists.
    GONE = "gone"
    #: The page was not found in so many crawls in a row that its file was deleted.
    REMOVED = "removed"
    #: The server redirects to another URL, which counts as a page of its own.
    REDIRECTED = "redirected"
    #: The page names another URL of its website as its canonical URL, which counts as a page of its own.
    CANONICAL = "canonical"
    #: Another page of the crawl has exactly the same content.
    DUPLICATE = "duplicate"
    #: ``robots.txt`` forbids the page, or cannot be read.
    ROBOTS = "robots"
    #: The page itself forbids that it is indexed.
    NOINDEX = "noindex"
    #: The page leads outside the part of the website that the crawl may visit.
    OUT_OF_SCOPE = "out_of_scope"
    #: The URL has a segment more often than a page that people wrote.
    REPEATED_SEGMENTS = "repeated_segments"
    #: The crawl has requested as many pages as its limit permits.
    LIMIT = "limit"
    #: The page is larger than the limit.
    TOO_LARGE = "too_large"
    #: The page did not arrive in time.
    TIMEOUT = "timeout"
    #: The page redirects more often than the crawl follows.
    TOO_MANY_REDIRECTS = "too_many_redirects"
    #: The URL leads to an address that requests of the cluster must not reach.
    REFUSED = "refused"
    #: The page has no text.
    EMPTY = "empty"
    #: The content has a format that no parser reads, or is damaged.
    UNSUPPORTED = "unsupported"
    #: The page shows its text only in a browser that runs its scripts.
    NEEDS_BROWSER = "needs_browser"
    #: The server answers with a status that is not a success.
    HTTP_ERROR = "http_error"
    #: The server asked for fewer requests, in every attempt.
    THROTTLED = "throttled"
    #: No valid answer arrived, in any attempt.
    NO_ANSWER = "no_answer"
