"""Parse one document of a job part by part, so that an urgent job waits only a short time for a parser.

    document = PartedDocument(attempt, parsers, data, name="manual.pdf", partial=store.partial)
    pages, media_type, page_count = await document.parse()
    document.unread, document.facts

The job ``index_file`` calls this module.
"""

from cluster.formats import format_of
from cluster.records import Fact, Outcome, Page, ParsedDocument
from data_jobs.worker.job_attempt import JobAttempt
from data_jobs.worker.parser_pool import Parsers
from data_jobs.worker.stage_errors import StageFailed

#: Number of pages that are parsed in one call. A call takes some tenths of a second, so an urgent job waits
#: only that long for a parser.
PAGES_PER_PART = 50
#: Minimum time limit of a part, as a share of ``parse_timeout_s``. A part with half the pages has half the
#: time limit. So a page whose parsing never ends is found after 2.5 times ``parse_timeout_s``, not after 7
#: times.
MIN_TIME_SHARE = 0.1


class PartedDocument:
    """A document that is parsed in parts.

    Args:
        attempt: the attempt at the job.
        parsers: the parsing processes of the worker.
        data: the file.
        name: the file name.
        partial: True to accept a document of which some pages cannot be read.
    """

    def __init__(
        self, attempt: JobAttempt, parsers: Parsers, data: bytes, *, name: str, partial: bool
    ) -> None:
        self._attempt = attempt
        self._parsers = parsers
        self._data = data
        self._name = name
        self._partial = partial
        #: The pages that could not be read, each with the reason; see ``ParsedDocument.unread``.
        self.unread: dict[int, str] = {}
        self.facts: dict[Fact, str | float | bool] = {}

    async def parse(self) -> tuple[list[Page], str, int]:
        """Return the pages, the media type, and the number of pages of the document.

        Raises:
            StageFailed: the document has too much text, or cannot be read.
        """
        pages: list[Page] = []
        kind, first, total, characters = "", 0, 0, 0
        most = self._attempt.settings.max_document_characters
        while first < total or first == 0:
            part = (first, first + PAGES_PER_PART)
            found, kind, total = await self._part(part, known=total)
            pages += found
            characters += sum(len(page.text) for page in found)
            if characters > most:
                detail = (
                    f"holds {characters:,} characters of text; the limit is {most:,} "
                    "(CLUSTER_MAX_DOCUMENT_CHARACTERS)"
                )
                raise StageFailed("parse", detail, Outcome.TOO_LARGE)
            # A document whose format has no parts was parsed whole in the first call.
            first = part[1] if format_of(kind).parsed_in_parts else total
            await self._attempt.progress(len(pages), total, unit="pages")
        return pages, kind, total

    async def why_empty(self) -> tuple[Outcome, str]:
        """Parse the whole document again, and return the outcome and the reason why it has no text."""
        parsed = await self._ask(None)
        outcome = Outcome.EMPTY if parsed.outcome.searchable else parsed.outcome
        return outcome, parsed.detail or "holds no text"

    async def _part(self, part: tuple[int, int], *, known: int) -> tuple[list[Page], str, int]:
        """Return the pages of the part, the media type, and the number of pages of the document.

        If the store accepts partly read documents, divide an unreadable part of a PDF into halves until the
        faulty pages are found.

        Args:
            known: the number of pages of the document; 0 if this number is not known yet.

        Raises:
            StageFailed: the part cannot be read, and is not divided.
        """
        parsed = None
        for _ in range(self._attempt.settings.stage_attempts):
            parsed = await self._ask(part)
            has_parts = format_of(parsed.media_type).parsed_in_parts
            halves = self._partial and has_parts and part[1] - part[0] > 1
            if halves or not parsed.outcome.may_change:  # do not repeat a part whose halves are parsed next
                break
        assert parsed is not None
        if parsed.outcome.searchable:
            self.unread |= parsed.unread
            self.facts |= parsed.facts
            return list(parsed.pages), parsed.media_type, parsed.page_count
        known = known or (await self._ask((0, 0))).page_count
        first, last = part[0], min(part[1], known)
        if not self._partial or not known or not format_of(parsed.media_type).parsed_in_parts:
            raise StageFailed("parse", parsed.detail, parsed.outcome)
        if last < part[1]:
            return await self._part((first, last), known=known)
        if last - first <= 1:
            self.unread[first + 1] = parsed.detail
            return [Page(number=first + 1, text="")], parsed.media_type, known
        middle = (first + last) // 2
        head, kind, _ = await self._part((first, middle), known=known)
        tail, _, _ = await self._part((middle, last), known=known)
        return head + tail, kind, known

    async def _ask(self, part: tuple[int, int] | None) -> ParsedDocument:
        rank, goes_on = self._attempt.job.priority_class.rank, self._attempt.goes_on
        pages = PAGES_PER_PART if part is None or part == (0, 0) else part[1] - part[0]
        timeout_s = self._attempt.settings.parse_timeout_s * max(MIN_TIME_SHARE, pages / PAGES_PER_PART)
        parsed = await self._parsers.parse(
            self._data, name=self._name, part=part, rank=rank, timeout_s=timeout_s, on_begin=goes_on
        )
        goes_on()
        return parsed
