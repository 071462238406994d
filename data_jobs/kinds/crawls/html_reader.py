"""Read a fetched page of HTML. A page that needs a browser is rendered first, if this node has a browser.

    read = await HtmlReader(resources, attempt).read(answer)
    read.page.blocks, read.rendered

Crawls and the jobs of files that stand for a URL call this.
"""

import hashlib
from dataclasses import dataclass, replace
from functools import cache

from cluster.outbound import OutboundAnswer
from cluster.settings import Settings
from data_jobs.kinds.crawls.answer_format import charset_of
from data_jobs.kinds.crawls.polite_client import user_agent
from data_jobs.kinds.resources import Resources
from data_jobs.stages.formats.web.web_page import WebPage
from data_jobs.stages.rendering.browser import Browser
from data_jobs.worker.job_attempt import JobAttempt

#: Headers that say whether the page of the server has changed. The text of a rendered page can change without
#: them.
CONDITIONS = ("etag", "last-modified")


@dataclass(frozen=True, kw_only=True)
class ReadHtml:
    """A page, as it was read."""

    page: WebPage
    #: The answer of the server. If the page was rendered, its body is the rendered HTML, and the headers with
    #: which a later request asks for changes only are removed.
    answer: OutboundAnswer
    #: SHA-256 of the body.
    sha256: str


@cache
def browser_of(settings: Settings) -> Browser:
    """Return the browser that all jobs of this process share."""
    return Browser(settings)


class HtmlReader:
    """Reads pages for one attempt at a job."""

    def __init__(self, resources: Resources, attempt: JobAttempt) -> None:
        self._parsers, self._attempt = resources.parsers, attempt
        self._browser = browser_of(attempt.settings)

    @property
    def renders(self) -> bool:
        """True if this node has a browser."""
        return self._browser.is_installed

    async def read(self, answer: OutboundAnswer, *, url: str) -> ReadHtml:
        """Read the page. If it needs a browser and cannot be rendered, ``needs_browser`` of the page is True.

        Args:
            url: URL that links of the page are relative to.
        """
        page = await self._read(answer.body, url, charset_of(answer))
        if page.needs_browser and self.renders:
            self._attempt.goes_on()
            rendered = await self._browser.render(
                url,
                answer.body,
                content_type=answer.headers.get("content-type", "text/html"),
                user_agent=user_agent(self._attempt.settings),
            )
            self._attempt.goes_on()
            if rendered.failure:
                page = replace(page, detail=rendered.failure)
            else:
                headers = answer.headers.copy()
                for name in CONDITIONS:
                    headers.pop(name, None)
                answer = replace(answer, body=rendered.html.encode(errors="replace"), headers=headers)
                page = await self._read(answer.body, url, "utf-8")
        return ReadHtml(page=page, answer=answer, sha256=hashlib.sha256(answer.body).hexdigest())

    async def _read(self, body: bytes, url: str, charset: str | None) -> WebPage:
        rank = self._attempt.job.priority_class.rank
        return await self._parsers.read_web_page(body, url=url, charset=charset, rank=rank)
