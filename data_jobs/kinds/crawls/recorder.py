"""Records what became of each page: its outcome, its links, and its content as a file of the vector store.

One transaction records the outcome and the content of a page, and checks that this attempt at the crawl's job
is still the current attempt. So after a crash, a page either has both records or is requested again.

    recorder = Recorder(resources, attempt, crawl, links, max_urls)
    await recorder.record(visit, repeated=frozenset())
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from psycopg import Connection

from cluster.blobs import Blob
from cluster.crawls.crawls import Crawl
from cluster.crawls.frontier import PageResult, add_urls, record_page, save_state, try_later
from cluster.crawls.outcomes import PageOutcome
from cluster.crawls.site_pages import (
    PageContent,
    StoredPage,
    record_found,
    record_missed,
    save_site_page,
    store_page,
)
from cluster.documents.file_names import LONGEST_NAME, shown_name
from cluster.documents.files import release_blobs
from cluster.errors import NotFound, Throttled
from cluster.jobs import attempts
from cluster.jobs.jobs import GONE
from cluster.jobs.kinds.crawl_inputs import TITLE_ATTRIBUTE, URL_ATTRIBUTE, CrawlInput
from cluster.jobs.progress import renew_attempts
from cluster.organisations.organisations import StorageLimits
from data_jobs.kinds.crawls.answer_format import HTML
from data_jobs.kinds.crawls.links import LinkRules
from data_jobs.kinds.crawls.visit import Visit
from data_jobs.kinds.resources import Resources
from data_jobs.stages.formats.web.stored_page import stored_page
from data_jobs.worker.job_attempt import JobAttempt, NotWanted
from data_jobs.worker.stage_errors import StageFailed

#: Error code of a crawl that the organisation's storage limits stopped.
QUOTA_EXCEEDED = "quota_exceeded"
#: Key of the crawl's state: the URL at which the crawl starts, after redirects.
START = "start"
#: Reason for which links are not followed if the crawl has found ``Recorder.max_urls`` URLs.
TOO_MANY_URLS = "too_many_urls"
#: Name of the file of a page if the path of the page's URL is empty.
HOME = "index"


@dataclass
class Recorder:
    """Records the visits of one attempt at a crawl."""

    resources: Resources
    attempt: JobAttempt
    crawl: Crawl
    links: LinkRules
    #: Maximum number of URLs that the crawl may find.
    max_urls: int
    #: Number of URLs that the crawl has found.
    found: int = 0
    _renewed: bool = False

    async def record_links(self, visit: Visit) -> None:
        """Record only the links of a page. ``record`` records the outcome and the content later."""
        if visit.links:
            await self._in_transaction(partial(self._add_links, visit, self.links.take_ignored()))

    async def record(self, visit: Visit, *, repeated: Collection[str] = ()) -> None:
        """Record what became of the page.

        Args:
            repeated: digests of blocks that are left out of the content.

        Raises:
            NotWanted: the vector store was deleted.
            StageFailed: the organisation would exceed a storage limit.
        """
        content = None
        if visit.answer is not None and self.crawl.vector_store is not None:
            content = await self._content(visit, repeated)
        released = await self._in_transaction(partial(self._write, visit, content, self.links.take_ignored()))
        if released:
            await self.attempt.in_thread(partial(self._release, released))

    async def _content(self, visit: Visit, repeated: Collection[str]) -> PageContent:
        """Store the content of the page in the blob store, and return the content's description."""
        answer, read, result = visit.answer, visit.web_page, visit.result
        assert answer is not None
        assert result is not None
        data = answer.body if read is None else stored_page(read, without=repeated)
        asked = self.crawl.input
        assert isinstance(asked, CrawlInput)
        own = {URL_ATTRIBUTE: visit.page.url, TITLE_ATTRIBUTE: result.title}
        if read is not None:
            own |= {"published": read.published, "modified": read.modified}
        return PageContent(
            filename=file_name(visit.page.url, html=read is not None),
            media_type=HTML if read is not None else result.media_type or "",
            blob=await self.attempt.in_thread(partial(self._write_blob, data)),
            attributes={**(asked.attributes or {}), **{name: value for name, value in own.items() if value}},
            sha256=result.sha256 or "",
            etag=answer.headers.get("etag"),
            last_modified=answer.headers.get("last-modified"),
            title=result.title,
        )

    def _write_blob(self, data: bytes) -> Blob:
        with self.resources.blobs.writer(self.crawl.organisation) as writer:
            writer.write(data)
            return writer.commit()

    async def _in_transaction(self, write: Any) -> Any:
        """Run the writes of a page in one transaction. If this is the attempt's first page, permit further
        attempts, because later attempts do not repeat this page.

        Raises:
            NotWanted, StageFailed: see ``record``.
        """

        def whole(connection: Connection[Any]) -> Any:
            written = write(connection)
            # The job is locked after the rows of the file, because attaching and detaching use the same
            # order. Another order could cause a deadlock.
            attempts.hold(connection, self.attempt.job)
            if not self._renewed:
                renew_attempts(connection, self.attempt.job)
            return written

        try:
            written = await self.attempt.in_transaction(whole)
        except NotFound as exc:
            raise NotWanted(str(exc), GONE) from exc
        except Throttled as exc:
            raise StageFailed("fetch", str(exc), QUOTA_EXCEEDED) from exc
        self._renewed = True
        self.attempt.goes_on()
        return written

    def _write(
        self,
        visit: Visit,
        content: PageContent | None,
        ignored: Mapping[str, int],
        connection: Connection[Any],
    ) -> tuple[str, ...]:
        """Write everything about the page, and return the hashes of blobs to release."""
        crawl, page = self.crawl, visit.page
        self._add_links(visit, ignored, connection)
        if visit.result is None:
            try_later(
                connection,
                crawl,
                page.id,
                wait_s=visit.wait_s,
                detail=visit.failure,
                status=visit.status,
            )
            return ()
        result, stored = visit.result, None
        if content is not None:
            result, stored = self._store(connection, visit, content)
        elif result.outcome is PageOutcome.UNCHANGED:
            record_found(connection, crawl, page.id)
        elif visit.known is not None and visit.missed:
            asked = crawl.input
            assert isinstance(asked, CrawlInput)
            stored = record_missed(connection, crawl, page.id, remove_after=asked.remove_gone_after)
            if stored is not None:
                result = replace(result, outcome=PageOutcome.REMOVED)
        record_page(connection, crawl, page.id, result)
        return () if stored is None else stored.released

    def _store(
        self, connection: Connection[Any], visit: Visit, content: PageContent
    ) -> tuple[PageResult, StoredPage | None]:
        """Store the content of the page, unless the vector store already has the same content. Return the
        result with its outcome and its file, and the stored page; None if nothing was stored.
        """
        crawl, page, known, result = self.crawl, visit.page, visit.known, visit.result
        assert result is not None
        equal = known is not None and known.content_sha256 == content.blob.sha256
        if known is not None and equal and known.searchable and known.title == content.title:
            save_site_page(connection, crawl, page=page.id, url=page.url, file=known.file, content=content)
            return replace(result, outcome=PageOutcome.UNCHANGED, file=known.file), None
        settings = self.attempt.settings
        stored = store_page(
            connection,
            crawl,
            page=page.id,
            url=page.url,
            content=content,
            known=known,
            blobs=self.resources.blobs,
            job=self.attempt.job,
            job_attempts=settings.job_attempts,
            default_limits=StorageLimits.of(settings),
        )
        outcome = PageOutcome.NEW if known is None else PageOutcome.CHANGED
        return replace(result, outcome=outcome, file=stored.file), stored

    def _add_links(self, visit: Visit, ignored: Mapping[str, int], connection: Connection[Any]) -> None:
        room = max(0, self.max_urls - self.found)
        self.found += add_urls(connection, self.crawl, visit.links[:room])
        if len(visit.links) > room:
            ignored = {**ignored, TOO_MANY_URLS: len(visit.links) - room}
        moved = self.links.start != self.crawl.state.get(START, self.crawl.url)
        if ignored or moved:
            save_state(connection, self.crawl, {START: self.links.start}, ignored=ignored)

    def _release(self, released: Collection[str]) -> None:
        with self.attempt.pool.connection() as connection:
            release_blobs(connection, self.resources.blobs, self.crawl.organisation, released)


def file_name(url: str, *, html: bool) -> str:
    """Return the name of the file for a page, which is the last segment of the URL's path; ``index`` if the
    path is empty. The name of an HTML page ends in ``.html``.
    """
    parts = urlsplit(url)
    last = shown_name(unquote(parts.path.rstrip("/").rpartition("/")[2])).replace("/", "_")
    if not html:
        return last[-LONGEST_NAME:] or HOME
    stem = last.removesuffix(".html").removesuffix(".htm") or HOME
    return f"{stem[: LONGEST_NAME - 5]}.html"
