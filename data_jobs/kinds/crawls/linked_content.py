"""Fetch the content of a file that stands for a URL, before the file is indexed. ``index_file`` calls this.

data, file = await linked_content(resources, attempt, data, file)

The request goes through the guarded transport. Rules of ``robots.txt`` are not asked for, because a person
named this one URL; crawls obey them.
"""

from dataclasses import replace
from functools import cache, partial

from cluster.documents.files import File
from cluster.documents.linked_files import INTERNET_SHORTCUT, url_of
from cluster.errors import Unavailable
from cluster.outbound import AsyncOutboundClient, OutboundAnswer, Refused, TooLarge
from cluster.records import Outcome
from cluster.settings import Settings
from data_jobs.kinds.resources import Resources
from data_jobs.stages.formats.web.stored_page import stored_page
from data_jobs.worker.job_attempt import JobAttempt
from data_jobs.worker.stage_errors import StageFailed

#: Seconds within which the content must arrive whole, with all redirects.
FETCH_TIMEOUT_S = 60.0
#: Media types whose main content is kept.
PAGES = frozenset({"text/html", "application/xhtml+xml"})
#: Statuses after which another attempt may succeed, besides those from 500 on.
TRY_AGAIN = frozenset({408, 425, 429})
#: Maximum seconds that a server can ask an attempt to wait.
MAX_RETRY_AFTER_S = 3_600.0
STAGE = "fetch"


async def linked_content(
    resources: Resources, attempt: JobAttempt, data: bytes, file: File
) -> tuple[bytes, File]:
    """Return the content of the file and the file, with the size of the content if it was fetched.

    Raises:
        StageFailed: the URL gives no content.
        TryLater: the server asks for a long pause.
    """
    if file.media_type != INTERNET_SHORTCUT:
        return data, file
    data = await attempt.stage(STAGE, partial(_fetched, resources, attempt, url_of(data)))
    return data, replace(file, bytes=len(data))


@cache
def _client(settings: Settings) -> AsyncOutboundClient:
    """Return the client that all jobs of this process share."""
    return AsyncOutboundClient(settings)


async def _fetched(resources: Resources, attempt: JobAttempt, url: str) -> bytes:
    settings = attempt.settings
    try:
        answer = await _client(settings).get(
            url, max_bytes=settings.max_document_bytes, deadline_s=FETCH_TIMEOUT_S
        )
    except Refused as exc:
        raise StageFailed(STAGE, f"the URL cannot be fetched: {exc}", Outcome.UNREADABLE) from exc
    except TooLarge as exc:
        limit = "the limit is CLUSTER_MAX_DOCUMENT_BYTES"
        raise StageFailed(STAGE, f"{exc}; {limit}", Outcome.TOO_LARGE) from exc
    _require_success(answer)
    media_type, charset = _declared(answer)
    if media_type not in PAGES:
        return answer.body
    page = await resources.parsers.read_web_page(
        answer.body, url=answer.url, charset=charset, rank=attempt.job.priority_class.rank
    )
    if not page.blocks:
        raise StageFailed("parse", f"the page {page.detail}", page.outcome)
    return stored_page(page)


def _require_success(answer: OutboundAnswer) -> None:
    status = answer.status
    if status == 200:
        return
    sentence = f"the server of the URL answers with the status {status}"
    if status >= 500 or status in TRY_AGAIN:
        asked = answer.headers.get("retry-after", "")
        wait_s = min(float(asked), MAX_RETRY_AFTER_S) if asked.isdecimal() else None
        raise Unavailable(sentence, retry_after_s=wait_s)
    raise StageFailed(STAGE, sentence, Outcome.UNREADABLE)


def _declared(answer: OutboundAnswer) -> tuple[str, str | None]:
    """Return the media type and the character set that the server declares."""
    given, *parameters = answer.headers.get("content-type", "").split(";")
    named = (parameter.partition("=") for parameter in parameters)
    charsets = (value.strip().strip("\"'") for name, _, value in named if name.strip().lower() == "charset")
    return given.strip().lower(), next(charsets, None)
