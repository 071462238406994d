"""Draw the daily charts of the PDF: the cost and the tokens of each day.

The heights of bars are floating-point numbers, which is exact enough for a drawing. All printed amounts are
exact.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.platypus import Flowable, KeepTogether, Paragraph, Spacer

from cluster.usage_reports.content import ReportContent, ReportLine
from cluster.usage_reports.exact import exact_sum
from cluster.usage_reports.fonts import TEXT
from cluster.usage_reports.pdf_style import ACCENT, BODY, GRID, MUTED

HEIGHT = 135
#: Kinds of usage whose tokens are summed for the chart. The tokens that
#: a provider reports are already counted in ``embedding``.
TOKEN_KINDS = frozenset({"embedding", "reranking", "chat_input", "chat_output"})

AmountOf = Callable[[ReportLine], Decimal | int | None]


def daily_charts(content: ReportContent, width: float) -> Iterator[Flowable]:
    """Yield a chart of the cost of each day and a chart of the tokens of each day. A chart without any amount
    is left out. Without both charts, yield a sentence that says so.
    """
    days = content.period.days()
    cost = _by_day(content.usage, lambda line: line.cost)
    tokens = _by_day(content.usage, lambda line: line.quantity if line.kind in TOKEN_KINDS else None)
    drawn = False
    for title, amounts in (("Cost in US dollars", cost), ("Tokens of embeddings and reranking", tokens)):
        if any(amounts.values()):
            drawn = True
            yield KeepTogether([Paragraph(title, BODY), _chart(days, amounts, width), Spacer(1, 8)])
    if not drawn:
        yield Paragraph("No day of the period has a cost or tokens.", BODY)


def _by_day(lines: list[ReportLine], amount: AmountOf) -> dict[date, Decimal]:
    found: dict[date, list[Decimal | int | None]] = defaultdict(list)
    for line in lines:
        found[line.day].append(amount(line))
    return {day: exact_sum(amounts) for day, amounts in found.items()}


def _chart(days: list[date], amounts: dict[date, Decimal], width: float) -> Drawing:
    drawing = Drawing(width, HEIGHT)
    chart = VerticalBarChart()
    chart.x, chart.y, chart.width, chart.height = 62, 20, width - 66, HEIGHT - 30
    chart.data = [[float(amounts.get(day, 0)) for day in days]]
    chart.bars[0].fillColor = ACCENT
    chart.bars[0].strokeColor = None
    chart.barSpacing, chart.groupSpacing = 0, 3
    axis = chart.categoryAxis
    axis.categoryNames = [str(day.day) for day in days]
    axis.labels.fontName, axis.labels.fontSize, axis.labels.fillColor = TEXT, 6, MUTED
    axis.strokeColor, axis.tickDown = GRID, 0
    values = chart.valueAxis
    values.valueMin, values.rangeRound = 0, "ceiling"
    values.labels.fontName, values.labels.fontSize, values.labels.fillColor = TEXT, 6, MUTED
    values.labelTextFormat = _label
    values.strokeColor, values.visibleGrid, values.gridStrokeColor, values.gridStrokeWidth = (
        None,
        1,
        GRID,
        0.4,
    )
    drawing.add(chart)
    return drawing


def _label(value: float) -> str:
    """Return the label of a line of the grid."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.12f}".rstrip("0").rstrip(".") or "0"
