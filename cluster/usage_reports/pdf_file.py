"""Write a report as PDF: a cover with totals, daily charts, tables, event counts and definitions.

The PDF has no time of creation and a fixed id. So the same content gives the same bytes, with the same
versions of ReportLab and of the fonts.

    pdf_of(content, csv_sha256=csv_blob.sha256)         # b"%PDF-1.4 ..."
"""

import io
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    KeepTogether,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
)

from cluster.usage_reports import pdf_tables as tables
from cluster.usage_reports.content import ReportContent
from cluster.usage_reports.definitions import TERMS, definition_of, unit_of
from cluster.usage_reports.exact import exact_sum, grouped
from cluster.usage_reports.fonts import TEXT, markup, register
from cluster.usage_reports.pdf_chart import daily_charts
from cluster.usage_reports.pdf_style import ACCENT, BODY, COVER, DRAFT, FINAL, HEADING, MARGIN, MUTED, SMALL

#: Maximum number of characters of a name, so that a name never fills a page.
MAX_NAME = 120
#: Points between the margin of the page and its text. This is the default padding of ReportLab's frames.
FRAME_PADDING = 6
#: Height in points that a heading and the first rows of a table need.
ROOM_AFTER_HEADING = 130
#: ReportLab keeps the fonts of a document in shared objects, so one PDF is made at a time.
ONE_AT_A_TIME = threading.Lock()


def pdf_of(content: ReportContent, *, csv_sha256: str) -> bytes:
    """Return the report as PDF.

    Args:
        csv_sha256: SHA-256 of the report's CSV in hexadecimal, which the PDF prints.
    """
    register()
    file = io.BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN + 10,
        bottomMargin=MARGIN + 6,
        title=f"Usage report {content.organisation} {content.period.start} to {content.period.last_day}",
        author="embedding-cluster",
        subject="Final usage report" if content.final else "Draft of a usage report",
        creator="embedding-cluster",
        lang="en",
        invariant=1,
        initialFontName=TEXT,
    )
    with ONE_AT_A_TIME:
        document.build(
            list(_parts(content, csv_sha256, document.width - 2 * FRAME_PADDING)),
            canvasmaker=partial(_NumberedPages, head=_head(content)),
        )
    return file.getvalue()


def _parts(content: ReportContent, csv_sha256: str, width: float) -> Iterator[Flowable]:
    """Return the parts of the document, from the first page to the last."""
    yield from _cover(content, csv_sha256, width)
    yield PageBreak()
    yield from _heading("Usage by day")
    yield from daily_charts(content, width)
    yield from _heading("Usage by agent and model")
    yield from tables.by_agent_and_model(content.usage, width, named=_shown)
    if content.adjustments:
        yield from _heading("Adjustments of earlier periods")
        yield Paragraph(TERMS["Adjustment"], BODY)
        yield Spacer(1, 6)
        yield from tables.adjustments(content.adjustments, width, named=_shown)
    yield KeepTogether([Paragraph("Event counts", HEADING), *tables.event_counts(content, width)])
    yield from _definitions(content)


def _heading(text: str) -> Iterator[Flowable]:
    """Return a heading that begins a new page if the page has no room for the beginning of a table."""
    yield CondPageBreak(ROOM_AFTER_HEADING)
    yield Paragraph(text, HEADING)


def _cover(content: ReportContent, csv_sha256: str, width: float) -> Iterator[Flowable]:
    period = content.period
    yield Spacer(1, 30)
    yield Paragraph("Usage report", COVER)
    yield Spacer(1, 4)
    yield Paragraph("FINAL" if content.final else "DRAFT", FINAL if content.final else DRAFT)
    yield Spacer(1, 16)
    yield tables.facts(
        [
            ("Organisation", _shown(content.name)),
            ("Id", _shown(content.organisation)),
            ("Period", f"{period.start} to {period.last_day} ({len(period.days())} days)"),
            ("Time zone", _shown(content.time_zone)),
            ("State", "Final. This report never changes." if content.final else TERMS["Draft"]),
        ],
        width,
    )
    yield Paragraph("Amount", HEADING)
    usage, adjustments = (
        exact_sum(line.cost for line in lines) for lines in (content.usage, content.adjustments)
    )
    yield tables.amounts(
        [
            ("Usage of the period", grouped(usage)),
            ("Adjustments of earlier periods", grouped(adjustments)),
            ("Total in US dollars", grouped(exact_sum([usage, adjustments]))),
        ],
        width,
    )
    yield Paragraph("Totals of the period", HEADING)
    yield from tables.by_kind(content.usage, width)
    yield Spacer(1, 14)
    rows = f"The CSV of this report has {grouped(len(content.lines))} rows. Its SHA-256 is"
    yield Paragraph(f"{rows}<br/>{csv_sha256}", SMALL)


def _definitions(content: ReportContent) -> Iterator[Flowable]:
    kinds = sorted({line.kind for line in content.lines})
    rows = [
        (definition_of(kind).title, f"{definition_of(kind).definition} Unit: {unit_of(kind)}.")
        for kind in kinds
    ]
    terms = [(name, text) for name, text in TERMS.items()]
    heading: list[Flowable] = [Paragraph("Definitions", HEADING)]
    for name, text in (*rows, *terms):
        heading.append(Paragraph(f"<b>{markup(name, bold=True)}.</b> {markup(text)}", BODY))
        yield KeepTogether(heading)
        heading = []


def _shown(text: str) -> str:
    """Return a name in ReportLab's markup. A long name is shortened."""
    return markup(text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…")


def _head(content: ReportContent) -> str:
    state = "Final" if content.final else "Draft"
    return f"Usage report · {content.period.start} to {content.period.last_day} · {state}"


class _NumberedPages(Canvas):  # type: ignore[misc]  # ReportLab has no types
    """Draws the head of each page except the first, and ``Page x of y`` at the foot of each page. The number
    of pages is known only at the end, so pages are kept until then.
    """

    def __init__(self, *arguments: Any, head: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = head
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:
        """Keep the page until ``save`` writes it."""
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Draw the head and the foot of each page, and write all pages."""
        for number, page in enumerate(self._pages, start=1):
            self.__dict__.update(page)
            self._draw_margins(number, len(self._pages))
            super().showPage()
        super().save()

    def _draw_margins(self, number: int, total: int) -> None:
        width, height = A4
        self.setFont(TEXT, 7)
        self.setFillColor(MUTED)
        if number > 1:
            self.drawString(MARGIN, height - MARGIN + 2, self._head)
        self.drawRightString(width - MARGIN, MARGIN - 12, f"Page {number} of {total}")
        self.setStrokeColor(ACCENT)
        self.setLineWidth(0.6)
        self.line(MARGIN, MARGIN - 2, width - MARGIN, MARGIN - 2)
