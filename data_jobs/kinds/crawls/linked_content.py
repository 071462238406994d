"""Fetch the content of a file that names a URL. ``index_file`` calls this module before it indexes the file.

data, file, facts = await linked_content(resources, attempt, data, file)

The request goes through the guarded transport, and waits for the turn of its host, as the requests of crawls
do. ``robots.txt`` is not read, because a person named this one URL. Only crawls obey ``robots.txt``.
"""

from dataclasses import replace
from functools import cache, partial

from cluster.documents.files import File
from cluster.documents.linked_files import INTERNET_SHORTCUT, url_of
from cluster.errors import Unavailable
from cluster.outbound import AsyncOutboundClient, OutboundAnswer, Refused, TooLarge
from cluster.records import MAX_FACT_LENGTH, Fact, Outcome
from cluster.retrying import requested_wait_s
from cluster.settings import Settings
from data_jobs.kinds.crawls.html_reader import HtmlReader
from data_jobs.kinds.crawls.polite_client import WAITS_FOR_HOST, HostBusy, PoliteClient, later
from data_jobs.kinds.resources import Resources
from data_jobs.stages.formats.web.stored_page import stored_page
from data_jobs.stages.formats.web.web_page import WebPage
from data_jobs.worker.job_attempt import JobAttempt
from data_jobs.worker.stage_errors import StageFailed

#: Seconds within which the whole content must arrive, with all redirects.
FETCH_TIMEOUT_S = 60.0
#: Media types of web pages. Only the main content of a web page is kept.
PAGES = frozenset({"text/html", "application/xhtml+xml"})
#: Statuses after which another attempt may succeed, in addition to the statuses from 500 on.
TRY_AGAIN = frozenset({408, 425, 429})
#: Maximum seconds until the next attempt, if the server asks for a wait with ``Retry-After``.
MAX_RETRY_AFTER_S = 3_600.0
STAGE = "fetch"


async def linked_content(
    resources: Resources, attempt: JobAttempt, data: bytes, file: File
) -> tuple[bytes, File, dict[Fact, str]]:
    """Return the content, the file, and facts about the page. If the file names a URL, the content is fetched
    from the URL, and the returned file has the size of this content. Otherwise the content is ``data``, and
    there are no facts.

    Args:
        data: the stored bytes of the file.

    Raises:
        StageFailed: no content could be fetched, or the page has no text.
        TryLater: the next attempt must wait so long that the job gives up its slot.
    """
    if file.media_type != INTERNET_SHORTCUT:
        return data, file, {}
    data, facts = await attempt.stage(STAGE, partial(_fetched, resources, attempt, url_of(data)))
    return data, replace(file, bytes=len(data)), facts


@cache
def _client(settings: Settings) -> AsyncOutboundClient:
    """Return the client that all jobs of this process share."""
    return AsyncOutboundClient(settings)


async def _fetched(resources: Resources, attempt: JobAttempt, url: str) -> tuple[bytes, dict[Fact, str]]:
    settings = attempt.settings
    client = PoliteClient(attempt, _client(settings), delay_s=0.0)
    try:
        client.check(url)
        answer = await client.get(
            url,
            crawl_delay_s=0.0,
            max_bytes=settings.max_document_bytes,
            follow_redirects=True,
            deadline_s=FETCH_TIMEOUT_S,
        )
    except HostBusy as exc:
        raise later(exc.wait_s, WAITS_FOR_HOST) from exc
    except Refused as exc:
        raise StageFailed(STAGE, f"the URL cannot be fetched: {exc}", Outcome.UNREADABLE) from exc
    except TooLarge as exc:
        limit = "the limit is CLUSTER_MAX_DOCUMENT_BYTES"
        raise StageFailed(STAGE, f"{exc}; {limit}", Outcome.TOO_LARGE) from exc
    _require_success(answer)
    if answer.headers.get("content-type", "").split(";")[0].strip().lower() not in PAGES:
        return answer.body, {}
    page = (await HtmlReader(resources, attempt).read(answer, url=answer.url)).page
    if page.needs_browser:
        raise StageFailed("parse", f"the page {page.detail}", Outcome.NEEDS_BROWSER)
    if not page.blocks:
        raise StageFailed("parse", f"the page {page.detail}", page.outcome)
    return stored_page(page), _facts(page)


def _facts(page: WebPage) -> dict[Fact, str]:
    """Return the title and the dates that the page states."""
    stated = {Fact.TITLE: page.title, Fact.PUBLISHED: page.published, Fact.MODIFIED: page.modified}
    return {fact: value[:MAX_FACT_LENGTH] for fact, value in stated.items() if value}


def _require_success(answer: OutboundAnswer) -> None:
    status = answer.status
    if status == 200:
        return
    sentence = f"the server of the URL answers with the status {status}"
    if status >= 500 or status in TRY_AGAIN:
        wait_s = requested_wait_s(answer.headers.get("retry-after"), most_s=MAX_RETRY_AFTER_S)
        raise Unavailable(sentence, retry_after_s=wait_s)
    raise StageFailed(STAGE, sentence, Outcome.UNREADABLE)
