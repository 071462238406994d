"""Read the lines of a report from the roll-ups, and keep the lines of a final report.

A line of a report counts all usage of a day, an agent, a model and a kind of work. The usage of a day can
still change after its final report, because events can arrive late. The next report has adjustments: the
current roll-ups, minus everything that final reports have billed. So the sum of all final reports equals the
roll-ups at the time of the last report.

    content = read_content(connection, "acme", period, final=True)
    keep_lines(connection, "acme", report.id, content.lines)
"""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.usage_reports.content import ReportContent, ReportLine
from cluster.usage_reports.definitions import unit_of
from cluster.usage_reports.periods import BillingPeriod

SQL = queries("cluster.usage_reports", "lines.sql")


def read_content(
    connection: Connection[Any], organisation: str, period: BillingPeriod, *, final: bool
) -> ReportContent:
    """Return what a report of this period contains now.

    Raises:
        NotFound: there is no such organisation.
    """
    owner = connection.execute(SQL["organisation"], {"organisation": organisation}).fetchone()
    if owner is None:
        raise NotFound(f"no organisation {organisation!r}")
    values = {"organisation": organisation, "start": period.start, "end": period.end}
    rows = connection.execute(SQL["lines"], values).fetchall()
    return ReportContent(
        organisation=organisation,
        name=owner[0],
        time_zone=owner[1],
        period=period,
        final=final,
        lines=tuple(
            ReportLine(
                adjustment=adjustment,
                day=day,
                agent=agent,
                agent_name=agent_name,
                model=model,
                kind=kind,
                unit=unit_of(kind),
                quantity=int(quantity),
                events=int(events),
                cost=cost,
            )
            for adjustment, day, agent, agent_name, model, kind, quantity, events, cost in rows
        ),
    )


def keep_lines(
    connection: Connection[Any], organisation: str, report: str, lines: Sequence[ReportLine]
) -> None:
    """Store the lines of a final report, in the transaction that completes the report."""
    with connection.cursor() as cursor:
        cursor.executemany(
            SQL["keep_line"],
            [
                {
                    "organisation": organisation,
                    "report": report,
                    "number": number,
                    "adjustment": line.adjustment,
                    "day": line.day,
                    "agent": line.agent,
                    "model": line.model,
                    "kind": line.kind,
                    "unit": line.unit,
                    "quantity": line.quantity,
                    "events": line.events,
                    "cost": line.cost,
                }
                for number, line in enumerate(lines, start=1)
            ],
        )
