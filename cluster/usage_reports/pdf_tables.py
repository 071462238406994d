"""Make the tables of the PDF. Sums are exact, and every amount is printed to its last digit."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby

from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable, Paragraph, Table, TableStyle

from cluster.usage_reports.content import ReportContent, ReportLine
from cluster.usage_reports.definitions import definition_of
from cluster.usage_reports.exact import exact_sum, grouped
from cluster.usage_reports.fonts import BOLD, TEXT, markup
from cluster.usage_reports.pdf_style import ACCENT, BODY, CELL, GRID, SHADE

#: Font sizes of a table. The first size that leaves enough room for names is used.
SIZES = (7.5, 6.5, 5.5, 4.5)
#: Sum of the padding on both sides of a number, in points.
PADDING = 9.0
#: Minimum width of a column of names, in points.
MIN_NAME_WIDTH = 62.0
#: Relative widths of the columns of names. Columns that are not listed have the width 1.
WEIGHTS = {"Day": 0.6, "Unit": 0.6, "Model": 1.2}
#: A long table consists of parts of at most this number of rows, because ReportLab needs quadratic time for
#: one table.
ROWS_PER_PART = 400
NO_PRICE = "–"

Named = Callable[[str], str]
Row = Sequence[str]


def facts(rows: Sequence[tuple[str, str]], width: float) -> Table:
    """Return a table of names and values. The values are in ReportLab's markup."""
    cells = [[Paragraph(f"<b>{name}</b>", BODY), Paragraph(value, BODY)] for name, value in rows]
    table = Table(cells, colWidths=[95, width - 95])
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, GRID),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ]
        )
    )
    return table


def amounts(rows: Sequence[tuple[str, str]], width: float) -> Table:
    """Return a table of amounts, whose last row is the total."""
    table = Table([list(row) for row in rows], colWidths=[width * 0.6, width * 0.4])
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), TEXT, 9),
                ("FONT", (0, -1), (-1, -1), BOLD, 10),
                ("ALIGN", (1, 0), (1, -1), "RIGHT"),
                ("LINEABOVE", (0, -1), (-1, -1), 0.8, ACCENT),
                ("BACKGROUND", (0, -1), (-1, -1), SHADE),
            ]
        )
    )
    return table


def by_kind(lines: Sequence[ReportLine], width: float) -> Iterator[Flowable]:
    """Return a table of the totals of each kind of work."""
    rows = [
        (markup(definition_of(kind).title), markup(unit), *_sums(some))
        for (kind, unit), some in _groups(lines, lambda line: (line.kind, line.unit))
    ]
    yield from _table(("Work", "Unit"), rows, _total(lines), width)


def by_agent_and_model(lines: Sequence[ReportLine], width: float, *, named: Named) -> Iterator[Flowable]:
    """Return a table of the totals of each agent, model and kind of work."""
    rows = [
        (
            _name(line, named),
            named(line.model) if line.model else "no model",
            markup(f"{definition_of(line.kind).title}, {line.unit}"),
            *_sums(some),
        )
        for _, some in _groups(lines, lambda line: (line.agent_name, line.agent, line.model, line.kind))
        for line in some[:1]
    ]
    yield from _table(("Agent", "Model", "Work"), rows, _total(lines), width)


def adjustments(lines: Sequence[ReportLine], width: float, *, named: Named) -> Iterator[Flowable]:
    """Return a table with one row for each adjustment."""
    rows = [
        (
            line.day.isoformat(),
            _name(line, named),
            named(line.model) if line.model else "no model",
            markup(f"{definition_of(line.kind).title}, {line.unit}"),
            *_sums([line]),
        )
        for line in lines
    ]
    yield from _table(("Day", "Agent", "Model", "Work"), rows, _total(lines), width)


def event_counts(content: ReportContent, width: float) -> Iterator[Flowable]:
    """Return a table of the number of usage events of each kind of work: of the period, of adjustments, and
    of both.
    """
    rows = [
        (
            markup(definition_of(kind).title),
            *(
                grouped(sum(line.events for line in some if line.adjustment is late))
                for late in (False, True)
            ),
            grouped(sum(line.events for line in some)),
        )
        for (kind,), some in _groups(content.lines, lambda line: (line.kind,))
    ]
    totals = [
        grouped(sum(line.events for line in some))
        for some in (content.usage, content.adjustments, content.lines)
    ]
    head = ("Work", "Events of the period", "Events of adjustments", "Events")
    yield from _table(head[:1], rows, totals, width, numbers=head[1:])


def _name(line: ReportLine, named: Named) -> str:
    if not line.agent:
        return "no agent"
    return named(line.agent_name or line.agent)


def _sums(lines: Sequence[ReportLine]) -> tuple[str, str, str]:
    """Return the sums of quantity, events and cost of lines with the same unit, as text."""
    return (
        grouped(sum(line.quantity for line in lines)),
        grouped(sum(line.events for line in lines)),
        _cost([line.cost for line in lines]),
    )


def _total(lines: Sequence[ReportLine]) -> list[str]:
    """Return the cells of the last row. Quantities of different units have no sum."""
    return ["", grouped(sum(line.events for line in lines)), grouped(exact_sum(line.cost for line in lines))]


def _cost(costs: Sequence[Decimal | None]) -> str:
    return NO_PRICE if all(cost is None for cost in costs) else grouped(exact_sum(costs))


def _groups(
    lines: Sequence[ReportLine], key: Callable[[ReportLine], tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], list[ReportLine]]]:
    return ((found, list(some)) for found, some in groupby(sorted(lines, key=key), key=key))


def _table(
    names: Sequence[str],
    rows: Sequence[Row],
    total: Row,
    width: float,
    *,
    numbers: Sequence[str] = ("Quantity", "Events", "Cost in US dollars"),
) -> Iterator[Flowable]:
    """Return the parts of a table. All parts have the same columns, and each page repeats the head.

    Args:
        names: heads of the first columns, whose cells are in ReportLab's markup.
        rows: cells of each row.
        total: cells of the last row, for the columns of numbers.
        numbers: heads of the last columns, whose cells are numbers.
    """
    size, widths = _columns(names, rows, total, width, numbers)
    cell = CELL.clone("sized", fontSize=size, leading=size + 2)
    cells = [
        [*(Paragraph(name, cell) for name in row[: len(names)]), *row[len(names) :]] for row in rows
    ] or [["Nothing was used.", *[""] * (len(names) + len(numbers) - 1)]]
    cells.append(["Total", *[""] * (len(names) - 1), *total])
    head = [*names, *numbers]
    for begin in range(0, len(cells), ROWS_PER_PART):
        some = cells[begin : begin + ROWS_PER_PART]
        last = begin + ROWS_PER_PART >= len(cells)
        table = Table([head, *some], colWidths=widths, repeatRows=1, spaceAfter=8 if last else 0)
        table.setStyle(_style(size, len(names), last=last))
        yield table


def _columns(
    names: Sequence[str], rows: Sequence[Row], total: Row, width: float, numbers: Sequence[str]
) -> tuple[float, list[float]]:
    """Return the font size and the widths of all columns. Numbers are never wrapped. The columns of
    names get the remaining width.
    """
    columns = range(len(numbers))
    for size in SIZES:
        needed = [
            PADDING
            + max(
                stringWidth(numbers[column], BOLD, size),
                stringWidth(total[column], BOLD, size),
                *(stringWidth(row[len(names) + column], TEXT, size) for row in rows),
                0,
            )
            for column in columns
        ]
        share = (width - sum(needed)) / len(names)
        if share >= MIN_NAME_WIDTH:
            break
    weights = [WEIGHTS.get(name, 1.0) for name in names]
    room = max(share, MIN_NAME_WIDTH / 2) * len(names)
    return size, [*(room * weight / sum(weights) for weight in weights), *needed]


def _style(size: float, names: int, *, last: bool) -> TableStyle:
    commands: list[tuple[object, ...]] = [
        ("FONT", (0, 0), (-1, -1), TEXT, size),
        ("LEADING", (0, 0), (-1, -1), size + 2),
        ("FONT", (0, 0), (-1, 0), BOLD, size),
        ("BACKGROUND", (0, 0), (-1, 0), SHADE),
        ("LINEBELOW", (0, 0), (-1, 0), 0.8, ACCENT),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, GRID),
        ("ALIGN", (names, 0), (-1, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("TOPPADDING", (0, 0), (-1, -1), 2.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5),
    ]
    if last:
        commands += [
            ("FONT", (0, -1), (-1, -1), BOLD, size),
            ("LINEABOVE", (0, -1), (-1, -1), 0.8, ACCENT),
        ]
    return TableStyle(commands)
