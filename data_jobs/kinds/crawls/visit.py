"""Requests one page of a crawl, and decides its outcome. The recorder stores the result, not this module.

visitor = Visitor(resources, attempt, crawl, client, origins, links, conditional_after=None)
visit = await visitor.visit(page)
visit.result.outcome, visit.links, visit.answer
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.crawls.crawls import Crawl
from cluster.crawls.frontier import FoundUrl, PageResult, WaitingPage, outcome_of, same_content
from cluster.crawls.outcomes import PageOutcome
from cluster.crawls.site_pages import SitePage, equal_page, find_site_page
from cluster.crawls.urls import page_id, page_url
from cluster.errors import Retryable
from cluster.outbound import DeadlineExceeded, OutboundAnswer, Refused, TooLarge
from cluster.outbound.client import MAX_REDIRECTS, REDIRECTS
from cluster.records import Outcome
from data_jobs.kinds.crawls.answer_format import HTML, format_of_answer, is_document
from data_jobs.kinds.crawls.html_reader import HtmlReader
from data_jobs.kinds.crawls.links import LinkRules
from data_jobs.kinds.crawls.origins import Origins
from data_jobs.kinds.crawls.polite_client import PoliteClient, asks_for_less, retry_after_s
from data_jobs.kinds.resources import Resources
from data_jobs.stages.formats.web.web_page import WebPage
from data_jobs.worker.job_attempt import JobAttempt

#: Maximum number of requests for a page: if the server asks for fewer requests, and after other failures.
#: After a timeout, the maximum is 2.
THROTTLED_ATTEMPTS, FAILED_ATTEMPTS = 5, 3
#: Seconds between two requests for a page after a failure; doubled after each further failure.
RETRY_PAUSE_S = 5.0
NOT_MODIFIED, SUCCESS = 304, range(200, 300)
NOT_FOUND = frozenset({404, 410})
SERVER_ERRORS = range(500, 600)
#: Header with which a server can forbid that its answer is indexed, and the value that forbids it.
ROBOTS_HEADER, NOINDEX = "x-robots-tag", "noindex"
FORBIDS_INDEX = "the page forbids that its text is indexed (noindex)"
#: Outcomes with which a page counts as not found, if the vector store has the page from an earlier crawl.
MISSED = frozenset(
    {
        *(PageOutcome.GONE, PageOutcome.REDIRECTED, PageOutcome.CANONICAL, PageOutcome.DUPLICATE),
        *(PageOutcome.NOINDEX, PageOutcome.ROBOTS, PageOutcome.EMPTY, PageOutcome.UNSUPPORTED),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """The result of one attempt to visit a page."""

    page: WaitingPage
    #: What became of the page; None if the page waits for another attempt.
    result: PageResult | None
    #: Seconds until the next attempt, if this attempt failed.
    wait_s: float = 0.0
    #: A sentence about the failure, if this attempt failed.
    failure: str = ""
    #: Status of the HTTP answer, if this attempt failed; None if there was no answer.
    status: int | None = None
    #: The page as the vector store has it; None if the store does not have the page.
    known: SitePage | None = None
    #: URLs that the page names and that the crawl follows.
    links: Sequence[FoundUrl] = ()
    #: The answer with content to store; None if there is no content to store. For HTML, the body is empty.
    answer: OutboundAnswer | None = None
    #: What the parsing process read from the page; None if the content is not HTML or was not read.
    web_page: WebPage | None = None
    #: True if ``robots.txt`` could not be read. The page then does not count as not found.
    robots_unreadable: bool = False

    @property
    def missed(self) -> bool:
        """True if the page counts as not found."""
        return self.result is not None and self.result.outcome in MISSED and not self.robots_unreadable


class Visitor:
    """Requests pages of a crawl.

    Args:
        resources: has the parsing processes.
        attempt: the attempt at the crawl's job.
        crawl: the crawl.
        client: sends the requests.
        origins: the rules of ``robots.txt``.
        links: decides which URLs belong to the crawl.
        conditional_after: id of the earlier crawl whose URLs this crawl has. If that crawl was the last crawl
            that visited a page, the server sends the page again only if the page has changed. None: the
            server sends every page.
    """

    def __init__(
        self,
        resources: Resources,
        attempt: JobAttempt,
        crawl: Crawl,
        client: PoliteClient,
        origins: Origins,
        links: LinkRules,
        *,
        conditional_after: str | None,
    ) -> None:
        self._reader, self._attempt, self._crawl = HtmlReader(resources, attempt), attempt, crawl
        self._client, self._origins = client, origins
        self._links, self._conditional_after = links, conditional_after
        #: URL of the first page with each content, by the SHA-256 of the content.
        self._first_with: dict[str, str] = {}

    async def visit(self, page: WaitingPage) -> Visit:
        """Request the page if the crawl needs it, and if the transport and ``robots.txt`` permit its URL.

        Raises:
            HostBusy: the host may get the next request only after a long wait.
            Permanent: a pattern of the caller takes too long.
        """
        visit = Visit(page=page, result=None, known=await self._known(page))
        if self._crawl.vector_store is None and self._is_only_listed(page.url):
            return replace(visit, result=PageResult(outcome=PageOutcome.LISTED))
        try:
            self._client.check(page.url)
        except Refused as exc:
            return replace(visit, result=PageResult(outcome=PageOutcome.REFUSED, detail=str(exc)))
        rules = await self._origins.rules_of(page.url)
        if not rules.permits(page.url):
            reason = rules.unreadable
            why = "forbids this page" if reason is None else f"cannot be read: {reason}"
            result = PageResult(outcome=PageOutcome.ROBOTS, detail=f"robots.txt {why}")
            return replace(visit, result=result, robots_unreadable=reason is not None)
        try:
            answer = await self._client.get(
                page.url,
                crawl_delay_s=rules.crawl_delay_s,
                max_bytes=self._max_bytes(page.url),
                headers=self._conditions(visit.known),
            )
        except Refused as exc:
            return replace(visit, result=_failed(PageOutcome.REFUSED, str(exc)))
        except TooLarge as exc:
            return replace(visit, result=_failed(PageOutcome.TOO_LARGE, str(exc)))
        except Retryable as exc:
            late = isinstance(exc, DeadlineExceeded)
            outcome = PageOutcome.TIMEOUT if late else PageOutcome.NO_ANSWER
            return _again(visit, outcome, str(exc), most=2 if late else FAILED_ATTEMPTS)
        return await self._read(visit, answer)

    async def _known(self, page: WaitingPage) -> SitePage | None:
        if self._crawl.vector_store is None:
            return None
        find = partial(find_site_page, crawl=self._crawl, page=page.id)
        return await self._attempt.in_transaction(lambda connection: find(connection))

    def _is_only_listed(self, url: str) -> bool:
        """Return True if a crawl that only discovers URLs does not request the page, because the crawl would
        follow no link of the page.
        """
        return self._crawl.input.sitemap == "only" or is_document(url)

    def _max_bytes(self, url: str) -> int:
        settings = self._attempt.settings
        return settings.crawl_document_bytes if is_document(url) else settings.crawl_page_bytes

    def _conditions(self, known: SitePage | None) -> dict[str, str]:
        """Return the headers that ask the server to send the page only if the page has changed (RFC 9110,
        section 13). Return no headers if the crawl needs the page in any case.
        """
        if known is None or not known.searchable or known.crawl != self._conditional_after:
            return {}
        marks = {"if-none-match": known.etag, "if-modified-since": known.last_modified}
        return {name: value for name, value in marks.items() if value}

    async def _read(self, visit: Visit, answer: OutboundAnswer) -> Visit:
        status = answer.status
        if status == NOT_MODIFIED and visit.known is not None:
            known = visit.known
            unchanged = PageResult(
                outcome=PageOutcome.UNCHANGED,
                status=status,
                title=known.title,
                file=known.file,
                requests=1,
                sha256=known.sha256,
            )
            return replace(visit, result=unchanged)
        if status in REDIRECTS and "location" in answer.headers:
            return self._redirected(visit, answer)
        if status in NOT_FOUND:
            outcome = PageOutcome.NOT_FOUND if visit.known is None else PageOutcome.GONE
            return replace(visit, result=_failed(outcome, f"the server answers with {status}", status))
        if asks_for_less(answer):
            return _again(
                visit,
                PageOutcome.THROTTLED,
                f"the server asks for fewer requests ({status})",
                most=THROTTLED_ATTEMPTS,
                wait_s=retry_after_s(answer),
                status=status,
            )
        if status not in SUCCESS:
            detail = f"the server answers with {status}"
            most = FAILED_ATTEMPTS if status in SERVER_ERRORS else 1
            return _again(visit, PageOutcome.HTTP_ERROR, detail, most=most, status=status)
        return await self._content(visit, answer)

    def _redirected(self, visit: Visit, answer: OutboundAnswer) -> Visit:
        """Add the target as a page of its own, because its host and the host's rules can be different."""
        page = visit.page
        target = page_url(answer.headers["location"], base=page.url)
        if target is None:
            detail = "the page redirects to something that is no URL of a page"
            return replace(visit, result=_failed(PageOutcome.REFUSED, detail, answer.status))
        if page.hops >= MAX_REDIRECTS or page_id(target) == page.id:
            detail = f"the page redirects more than {MAX_REDIRECTS} times, or to itself"
            return replace(visit, result=_failed(PageOutcome.TOO_MANY_REDIRECTS, detail, answer.status))
        if page.found_on is None:
            self._links.move_start(target)
        elif not self._links.includes(target):
            detail = f"the page redirects to {target}, which is not a part of the crawl"
            return replace(visit, result=_failed(PageOutcome.OUT_OF_SCOPE, detail, answer.status))
        result = _failed(PageOutcome.REDIRECTED, f"the page redirects to {target}", answer.status)
        # The target of the start gets ``found_on=None``, as the start has, so that a further redirect moves
        # the start again.
        origin = None if page.found_on is None else page.url
        found = FoundUrl(url=target, depth=page.depth, hops=page.hops + 1, found_on=origin)
        return replace(visit, result=result, links=[found])

    async def _content(self, visit: Visit, answer: OutboundAnswer) -> Visit:
        """Read the content, and decide the outcome. A parsing process with limits reads HTML."""
        page, body = visit.page, answer.body
        format = format_of_answer(answer, page.url)
        seen = PageResult(
            outcome=PageOutcome.VISITED,
            status=answer.status,
            media_type=format.media_type,
            bytes=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            requests=1,
        )
        forbidden = NOINDEX in answer.headers.get(ROBOTS_HEADER, "").lower()
        twin = await self._twin(page, seen.sha256 or "")
        if twin is not None and not (format.media_type == HTML and self._reader.renders):
            return _duplicate(visit, seen, twin)
        if format.media_type == HTML:
            visit = replace(visit, result=seen, answer=answer)
            return await self._web_page(visit, twin=twin, forbidden=forbidden)
        if forbidden:
            seen = replace(seen, outcome=PageOutcome.NOINDEX, detail=FORBIDS_INDEX)
        elif format.parser is None:
            seen = replace(
                seen, outcome=PageOutcome.UNSUPPORTED, detail=f"no parser reads {format.media_type}"
            )
        else:
            return replace(visit, result=seen, answer=answer)
        return replace(visit, result=seen)

    async def _twin(self, page: WaitingPage, sha256: str) -> str | None:
        """Return the URL of another page with the same bytes; None if no earlier page has these bytes."""

        def find(connection: Connection[Any]) -> str | None:
            other = None
            if self._crawl.vector_store is not None:
                other = equal_page(connection, self._crawl, page.id, sha256)
            return other or same_content(connection, self._crawl, page.id, sha256)

        found = await self._attempt.in_transaction(find)
        first = self._first_with.setdefault(sha256, page.url) if found is None else found
        return None if first == page.url else first

    async def _web_page(self, visit: Visit, *, twin: str | None, forbidden: bool) -> Visit:
        """Read the page. A rendered page is compared by its rendered HTML (decision 064)."""
        page, seen = visit.page, visit.result
        assert visit.answer is not None
        assert seen is not None
        found = await self._reader.read(visit.answer, url=page.url)
        read, answer = found.page, found.answer
        if found.sha256 != seen.sha256:
            twin = await self._twin(page, found.sha256)
        if twin is not None:
            return _duplicate(visit, seen, twin)
        seen = replace(seen, title=read.title or None, sha256=found.sha256)
        links = await self._links.of_page(page, read.links)
        visit = replace(visit, result=seen, answer=answer, links=links, web_page=read)
        canonical = page_url(read.canonical) if read.canonical else None
        if canonical is not None and page_id(canonical) != page.id and page.hops < MAX_REDIRECTS:
            return await self._canonical(visit, canonical)
        outcome, detail = _outcome_of(read, forbidden=forbidden)
        if outcome is PageOutcome.VISITED:
            return replace(visit, answer=replace(answer, body=b""))
        return replace(visit, result=replace(seen, outcome=outcome, detail=detail), answer=None)

    async def _canonical(self, visit: Visit, canonical: str) -> Visit:
        """Add the canonical URL as a page of its own, and do not store this page. If the crawl may not visit
        the canonical URL, or the page there names another canonical URL, store this page instead.
        """
        assert visit.result is not None
        assert visit.answer is not None
        page = visit.page
        find = partial(outcome_of, crawl=self._crawl, page=page_id(canonical))
        before = await self._attempt.in_transaction(lambda connection: find(connection))
        if before == PageOutcome.CANONICAL or not self._links.includes(canonical):
            return replace(visit, answer=replace(visit.answer, body=b""))
        detail = f"the canonical URL of the page is {canonical}"
        found = FoundUrl(url=canonical, depth=page.depth, hops=page.hops + 1, found_on=page.url)
        result = replace(visit.result, outcome=PageOutcome.CANONICAL, detail=detail)
        return replace(visit, result=result, answer=None, links=[*visit.links, found])


def _outcome_of(read: WebPage, *, forbidden: bool) -> tuple[PageOutcome, str]:
    if read.noindex or forbidden:
        return PageOutcome.NOINDEX, FORBIDS_INDEX
    if read.needs_browser:
        return PageOutcome.NEEDS_BROWSER, f"the page {read.detail}"
    if read.outcome.searchable:
        return PageOutcome.VISITED, ""
    outcome = PageOutcome.EMPTY if read.outcome is Outcome.EMPTY else PageOutcome.UNSUPPORTED
    return outcome, f"the page {read.detail}"


def _duplicate(visit: Visit, seen: PageResult, twin: str) -> Visit:
    result = replace(seen, outcome=PageOutcome.DUPLICATE, detail=f"{twin} has the same content")
    return replace(visit, result=result, answer=None)


def _failed(outcome: PageOutcome, detail: str, status: int | None = None) -> PageResult:
    return PageResult(outcome=outcome, detail=detail, status=status, requests=1)


def _again(
    visit: Visit,
    outcome: PageOutcome,
    detail: str,
    *,
    most: int,
    wait_s: float | None = None,
    status: int | None = None,
) -> Visit:
    """Return a visit that is repeated later. If this was request number ``most`` for the page, return a visit
    with the outcome.
    """
    failures = visit.page.attempts + 1
    if failures >= most:
        return replace(visit, result=_failed(outcome, detail, status))
    wait_s = RETRY_PAUSE_S * 2 ** (failures - 1) if wait_s is None else wait_s
    return replace(visit, wait_s=wait_s, failure=detail, status=status)
