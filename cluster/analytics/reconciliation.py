"""Compare the roll-ups of the last days with their facts, and final usage reports with the roll-ups.

A nightly job calls ``reconcile`` for each organisation. Windows that wait for a roll-up are left out, so a
difference means that a roll-up is wrong or missing. The differences appear in a metric, in an alert and in
the findings of the doctor.

    reconcile(pool, "acme").differences          # []
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.analytics.rollups import DAY, HOUR, TABLES, Grain, compute_days, mark_period
from cluster.database import snapshot, translated
from cluster.database.queries import queries

log = structlog.get_logger(__name__)

SQL = queries("cluster.analytics", "reconciliation.sql")
#: Number of days that are compared: a billing period and the days after it in which usage still arrives.
DAYS = 35
#: Maximum number of differences that are kept for each organisation.
MAX_DIFFERENCES = 100
#: For each grain, the SQL expression of the window that contains a time.
WINDOW_OF = {
    HOUR.name: "date_trunc('hour', {time}, 'UTC')",
    DAY.name: "({time} AT TIME ZONE %(zone)s)::date",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RollupDifference:
    """A window whose roll-up differs from its facts."""

    #: ``usage`` or ``platform``; ``report``: a day that was billed with other sums than its roll-up has.
    about: str
    #: ``hour`` or ``day``.
    grain: str
    #: Beginning of the hour in UTC, or the day.
    window: str
    #: Sums of the facts; None if there are no facts. For a report, the sums of the roll-up.
    facts: Mapping[str, Any] | None
    #: Sums of the roll-up; None if there is no roll-up. For a report, the billed sums.
    rollup: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconciliation:
    """The outcome of one comparison."""

    #: Number of windows of roll-ups in the period.
    windows: int
    differences: list[RollupDifference]


def reconcile(pool: ConnectionPool, organisation: str) -> Reconciliation:
    """Compute the dirty windows, compare the roll-ups of the last days with their facts, and record the
    outcome. For a deleted organisation, nothing is compared.
    """
    compute_days(pool, organisation)
    with translated(), snapshot(pool) as connection:  # all tables as they are at one moment
        period = _period(connection, organisation)
        if period is None:
            return Reconciliation(windows=0, differences=[])
        windows, differences = 0, list[RollupDifference]()
        for day, rolled, billed in connection.execute(SQL["reports"], {"organisation": organisation}):
            differences.append(
                RollupDifference(about="report", grain=DAY.name, window=day, facts=rolled, rollup=billed)
            )
        for (about, grain), table in TABLES.items():
            values = _values(organisation, HOUR if grain == HOUR.name else DAY, period)
            row = connection.execute(_filled("windows", grain, table), values).fetchone()
            windows += row[0] if row else 0
            for window, facts, rollup in connection.execute(_filled(about, grain, table), values):
                differences.append(
                    RollupDifference(about=about, grain=grain, window=window, facts=facts, rollup=rollup)
                )
    with translated(), pool.connection() as connection:
        kept = Jsonb([asdict(one) for one in differences[:MAX_DIFFERENCES]])
        begin, end = period["begins_at"], period["ends_at"]
        values = {"organisation": organisation, "from": begin, "to": end, "windows": windows}
        connection.execute(SQL["record"], {**values, "differences": kept})
    if differences:
        log.error("rollups_differ", organisation=organisation, windows=len(differences), first=differences[0])
    return Reconciliation(windows=windows, differences=differences)


def known_differences(connection: Connection[Any]) -> list[tuple[str, RollupDifference]]:
    """Return the kept differences of the last comparison of every organisation, with the organisations."""
    found = connection.execute(SQL["differences_of_all"])
    return [(organisation, RollupDifference(**difference)) for organisation, difference in found]


def difference_count(connection: Connection[Any]) -> float:
    """Return the number of kept differences of the last comparisons of all organisations."""
    row = connection.execute(SQL["count_of_all"]).fetchone()
    return float(row[0]) if row else 0.0


def repair(pool: ConnectionPool, organisation: str) -> Reconciliation:
    """Compute every window again in which the last comparison found a difference, and compare again."""
    with translated(), pool.connection() as connection:
        for owner, difference in known_differences(connection):
            if owner == organisation:
                # The days of a time zone begin before or after midnight in UTC, so mark the days around, too.
                begin = datetime.fromisoformat(f"{difference.window[:10]} 00:00+00:00") - timedelta(days=1)
                mark_period(connection, organisation, begin, begin + timedelta(days=3))
    return reconcile(pool, organisation)


def _period(connection: Connection[Any], organisation: str) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        values = {"organisation": organisation, "days": DAYS}
        return cursor.execute(SQL["period"], values).fetchone()


def _values(organisation: str, grain: Grain, period: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that select the whole windows of the grain in the period."""
    begin, end, hour = period["begins_at"], period["ends_at"], timedelta(hours=1)
    values = {"organisation": organisation, "zone": period["time_zone"]}
    if grain is HOUR:
        # A day can begin in the middle of an hour, so move both bounds to the next full hour.
        begin, end = (at + (hour - timedelta(minutes=at.minute)) % hour for at in (begin, end))
        return {**values, "from": begin, "to": end, "first": begin, "end": end}
    return {**values, "from": begin, "to": end, "first": period["first_day"], "end": period["end_day"]}


def _filled(statement: str, grain: str, table: str) -> str:
    sql = SQL[statement].replace("{table}", table).replace("{column}", grain)
    window = WINDOW_OF[grain]
    for name in ("occurred_at", "first_event_at", "at", "hour"):
        sql = sql.replace(f"{{window_of_{name}}}", window.replace("{time}", name))
    last = "(hour + interval '1 hour' - interval '1 microsecond')"
    return sql.replace("{window_of_hour_end}", window.replace("{time}", last))
