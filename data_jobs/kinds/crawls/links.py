"""Decides which links of a page a crawl follows, and counts the links that the crawl does not follow.

links = LinkRules(crawl.input, start=crawl.url)
found = await links.of_page(page, ["https://example.com/docs/a", "mailto:a@example.com"])
links.take_ignored()          # {"not_a_page": 1}
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from cluster.crawls.frontier import FoundUrl, WaitingPage
from cluster.crawls.scope import CrawlScope
from cluster.crawls.urls import page_url, repeats_segments
from cluster.errors import Permanent
from cluster.jobs.kinds.crawl_inputs import CrawlOptions

#: Maximum seconds for the links of one page. Only slow patterns of the caller take so long.
MAX_SECONDS = 5.0
#: Reasons for which a link is not followed.
NOT_A_PAGE, DEPTH, REPEATED, OUT_OF_SCOPE = "not_a_page", "depth", "repeated_segments", "out_of_scope"


class LinkRules:
    """The rules for links of one crawl.

    Args:
        options: the options of the crawl.
        start: the URL at which the crawl starts, after redirects.
    """

    def __init__(self, options: CrawlOptions, *, start: str) -> None:
        self._options = options
        #: The URL at which the crawl starts, after redirects.
        self.start = start
        self._scope = CrawlScope(options, start=start)
        self._ignored: Counter[str] = Counter()

    def move_start(self, url: str) -> None:
        """Replace the start by a URL to which the start redirects."""
        self.start, self._scope = url, CrawlScope(self._options, start=url)

    def includes(self, url: str) -> bool:
        """Return True if the crawl may visit the URL, apart from ``robots.txt``.

        Raises:
            Permanent: a pattern of the caller takes too long.
        """
        return self._scope.includes(url) and not repeats_segments(url)

    async def of_page(self, page: WaitingPage, links: Sequence[str]) -> list[FoundUrl]:
        """Return the URLs of those links of a page that the crawl follows.

        Raises:
            Permanent: the patterns of the caller take too long.
        """
        if self._options.sitemap == "only":
            return []
        most = self._options.max_discovery_depth
        if most is not None and page.depth >= most:
            self._ignored[DEPTH] += len(links)
            return []
        urls = await asyncio.to_thread(self.accepted, links, base=page.url)
        return [FoundUrl(url=url, depth=page.depth + 1, found_on=page.url) for url in urls]

    def accepted(self, links: Iterable[str], *, base: str) -> list[str]:
        """Return the URLs of the links that the crawl may follow, each URL once. Count the other links.

        Args:
            links: absolute or relative URLs.
            base: URL of the page with the links; "" if all links are absolute.

        Raises:
            Permanent: the patterns of the caller take too long.
        """
        deadline = time.monotonic() + MAX_SECONDS
        urls: dict[str, None] = {}
        for link in links:
            url = page_url(link, base=base, ignore_query=self._options.ignore_query_parameters)
            reason = self._reason(url)
            if reason is None and url is not None:
                urls[url] = None
            elif reason is not None:
                self._ignored[reason] += 1
            if time.monotonic() > deadline:
                raise Permanent(
                    f"the patterns took longer than {MAX_SECONDS:g} s for the links of {base[:200]!r}; use "
                    "simpler regular expressions"
                )
        return list(urls)

    def take_ignored(self) -> dict[str, int]:
        """Return the number of links that were not followed since the last call, by reason."""
        ignored, self._ignored = dict(self._ignored), Counter()
        return ignored

    def _reason(self, url: str | None) -> str | None:
        if url is None:
            return NOT_A_PAGE
        if repeats_segments(url):
            return REPEATED
        return None if self._scope.includes(url) else OUT_OF_SCOPE
