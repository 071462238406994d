"""Defines the outcomes of the pages of a crawl."""

from enum import StrEnum

from cluster.event_counts import EventCount


class PageOutcome(StrEnum):
    """The outcomes that a page can have in one crawl."""

    #: The vector store had no file for the page. The content of the page became a file of the store.
    NEW = "new"
    #: The vector store had a file for the page. The file got the content and the title that the page has now.
    CHANGED = "changed"
    #: The file of the page in the vector store has the content that the page has now.
    UNCHANGED = "unchanged"
    #: The page was fetched to find its links. Only crawls without a vector store have this outcome.
    VISITED = "visited"
    #: A sitemap or a page names the URL, and the URL was not requested. Only crawls without a vector store
    #: have this outcome.
    LISTED = "listed"
    #: The server says that the page does not exist (404 or 410). The vector store has no file for the page.
    NOT_FOUND = "not_found"
    #: The server says that the page does not exist (404 or 410). The vector store still has the file that an
    #: earlier crawl made for the page.
    GONE = "gone"
    #: ``remove_gone_after`` crawls in a row did not find the page, so its file was deleted.
    REMOVED = "removed"
    #: The server redirects to another URL, which counts as a page of its own.
    REDIRECTED = "redirected"
    #: The page names another URL of its website as its canonical URL. That URL counts as a page of its own.
    CANONICAL = "canonical"
    #: Another page of the crawl or of the vector store has exactly the same bytes.
    DUPLICATE = "duplicate"
    #: ``robots.txt`` forbids the page, or cannot be read.
    ROBOTS = "robots"
    #: The page itself forbids that it is indexed.
    NOINDEX = "noindex"
    #: The page redirects to a URL outside the part of the website that the crawl may visit.
    OUT_OF_SCOPE = "out_of_scope"
    #: One segment occurs too often in the path of the URL, as in URLs that a program generates without end.
    REPEATED_SEGMENTS = "repeated_segments"
    #: The crawl has requested as many pages as its limit permits.
    LIMIT = "limit"
    #: The page is larger than the limit.
    TOO_LARGE = "too_large"
    #: The page did not arrive in time.
    TIMEOUT = "timeout"
    #: There were more redirects in a row than the crawl follows, or the page redirects to itself.
    TOO_MANY_REDIRECTS = "too_many_redirects"
    #: A rule for requests of the cluster forbids the URL or one of its addresses, or the page redirects to
    #: something that is no URL of a page.
    REFUSED = "refused"
    #: The page has no text.
    EMPTY = "empty"
    #: The content has a format that no parser reads, or is damaged.
    UNSUPPORTED = "unsupported"
    #: The page shows its text only in a browser that runs its scripts.
    NEEDS_BROWSER = "needs_browser"
    #: The server answers with a status that is not a success.
    HTTP_ERROR = "http_error"
    #: At the last permitted attempt, the server asked for fewer requests.
    THROTTLED = "throttled"
    #: At the last permitted attempt, no valid answer arrived.
    NO_ANSWER = "no_answer"


CRAWLED_PAGES = EventCount(
    "crawl_pages", "Pages of crawls that got an outcome, by outcome", "outcome", PageOutcome
)
