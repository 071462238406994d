"""Choose the pages of a parsed document that optical character recognition reads, and take the results.

    work = Recognition(ocr, pages, unread, media_type=media_type, settings=settings)
    for number in work.waiting:
        work.take(number, parser.parse(data, name=name, **work.call(number)))
    work.pages, work.unread, work.with_facts(parsed.facts)

The worker and the bulk job ask the parsing process for one page at a time. So other documents are parsed
between two pages, and each page has a time limit of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cluster.formats import format_of
from cluster.formats.recognition import Ocr
from cluster.records import Fact, Facts, Outcome, Page, ParsedDocument
from cluster.settings import Settings
from data_jobs.stages.formats.contract import OcrRequest
from data_jobs.stages.formats.pdf.faults import GARBAGE, PICTURE
from data_jobs.stages.parsing.tesseract_program import installed
from data_jobs.stages.parsing.unread_parts import unread_sentence, with_unread

#: The reasons for unread pages that recognition can remove.
RECOGNISABLE = frozenset({PICTURE, GARBAGE})


def may_be_recognised(parsed: ParsedDocument, ocr: Ocr) -> bool:
    """Return True if recognition may find text in a document that has been parsed."""
    if ocr.mode == "off" or not format_of(parsed.media_type).recognisable:
        return False
    if parsed.outcome.searchable and ocr.mode == "force":
        return True
    return parsed.outcome is Outcome.NEEDS_OCR or not RECOGNISABLE.isdisjoint(parsed.unread.values())


class Recognition:
    """Prepares the recognition of the pages of one document, and collects the results.

    Args:
        ocr: the options.
        pages: the pages as they were parsed.
        unread: see ``ParsedDocument.unread``.
        media_type: the media type of the document. Recognition reads only formats that are ``recognisable``.
        settings: the settings of this node.
    """

    def __init__(
        self,
        ocr: Ocr,
        pages: Sequence[Page],
        unread: Mapping[int, str],
        *,
        media_type: str,
        settings: Settings,
    ) -> None:
        self.pages = list(pages)
        self.unread = dict(unread)
        self._limit_s = settings.ocr_page_timeout_s
        self._confidences: list[tuple[float, int]] = []
        self._recognised = 0
        readable = pages if format_of(media_type).recognisable else []
        wanted = [page.number for page in readable if _is_wanted(ocr, unread.get(page.number, ""))]
        self._request, self._why_not = _request(ocr) if wanted else (None, "")
        #: Numbers of the pages to recognise, from 1.
        self.waiting: list[int] = wanted if self._request else []
        if self._why_not:
            self.unread |= dict.fromkeys(wanted, self._why_not)

    def call(self, number: int) -> dict[str, Any]:
        """Return the arguments of ``Parser.parse`` that recognise this page."""
        return {"part": (number - 1, number), "timeout_s": self._limit_s, "ocr": self._request}

    def take(self, number: int, parsed: ParsedDocument) -> None:
        """Keep the result of the call for this page: the recognised page, or why the page is unread."""
        if not parsed.outcome.searchable:
            self.unread[number] = self._why_unread(parsed)
            return
        self.unread.pop(number, None)
        self._recognised += 1
        place = next(place for place, page in enumerate(self.pages) if page.number == number)
        (self.pages[place],) = parsed.pages
        confidence = parsed.facts.get(Fact.OCR_CONFIDENCE)
        if isinstance(confidence, int | float):
            self._confidences.append((confidence, len(parsed.pages[0].text)))

    def with_facts(self, before: Facts) -> Facts:
        """Return the facts of the document: the facts of its parser, the pages that are unread now, the
        number of recognised pages, and the mean confidence of these pages, weighted by the length of their
        text.
        """
        facts: dict[Fact, str | float | bool] = dict(before)
        facts.pop(Fact.UNREAD_PAGES, None)
        if not self._recognised:
            return with_unread(facts, self.unread)
        facts[Fact.OCR_PAGES] = self._recognised
        if letters := sum(length for _, length in self._confidences):
            total = sum(confidence * length for confidence, length in self._confidences)
            facts[Fact.OCR_CONFIDENCE] = round(total / letters, 1)
        return with_unread(facts, self.unread)

    def result(self, parsed: ParsedDocument) -> ParsedDocument:
        """Return the document with the recognised pages in place of the parsed pages."""
        outcome = Outcome.PARTIAL_TEXT if self.unread else Outcome.OK
        detail = unread_sentence(self.unread, parsed.page_count)
        why = None if any(page.text.strip() for page in self.pages) else self.why_no_text()
        if why is not None:
            outcome, detail = why
        return replace(
            parsed,
            outcome=outcome,
            detail=detail,
            pages=tuple(self.pages),
            facts=self.with_facts(parsed.facts),
            unread=self.unread,
        )

    def why_no_text(self) -> tuple[Outcome, str] | None:
        """Return the outcome and the detail of a document without text.

        None means that recognition was not needed or not possible, so the reason of the parser holds.
        """
        if not self.waiting and not self._why_not:
            return None
        if self.unread:
            return Outcome.NEEDS_OCR, unread_sentence(self.unread, len(self.pages))
        return Outcome.EMPTY, "holds pictures in which Tesseract recognises no text"

    def _why_unread(self, parsed: ParsedDocument) -> str:
        if parsed.outcome is Outcome.TIMEOUT:
            limit = f"{self._limit_s:g} seconds (CLUSTER_OCR_PAGE_TIMEOUT_S)"
            return f"is a picture that took longer to recognise than {limit}"
        if parsed.outcome is Outcome.FAILED:
            return parsed.detail
        return f"is a picture that could not be recognised: it {parsed.detail}"


def _is_wanted(ocr: Ocr, reason: str) -> bool:
    """Return True if recognition should read a page. ``reason`` says why it is unread; "" if it was read."""
    return ocr.mode == "force" or reason in RECOGNISABLE


def _request(ocr: Ocr) -> tuple[OcrRequest | None, str]:
    """Return the request for the parsing process, or None and the reason why pages cannot be recognised. The
    reason is empty if recognition is switched off, or if Tesseract is missing and the mode is not ``force``.
    """
    if ocr.mode == "off":
        return None, ""
    tesseract = installed()
    if tesseract is None:
        why = "cannot be recognised, because Tesseract is not installed on this node (ocr is force)"
        return None, why if ocr.mode == "force" else ""
    missing = [language for language in ocr.languages if language not in tesseract.languages]
    if missing:
        return None, (
            f"is a picture, and Tesseract has no data for the language {missing[0]} on this node: install "
            f"tesseract-ocr-{missing[0]}, or choose other languages"
        )
    return OcrRequest(program=tesseract.program, languages=ocr.tesseract_languages), ""
