"""Compute the roll-ups of an organisation again for each dirty window, which is a window with changed facts.

Triggers write a row of ``dirty_windows`` in the transaction that changes a fact (migration 0023). One
transaction of this module deletes some of these rows, computes their windows from the facts that are
committed by then, and replaces the roll-ups. A fact that is committed later has its own row, so no fact is
missed. A window that is computed twice has the same values. If the process dies, the transaction is undone
and the rows remain.

    compute_hours(pool, "acme")          # every hour that has passed, and the current day
    compute_days(pool, "acme")           # every other day
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row, scalar_row
from psycopg_pool import ConnectionPool

from cluster.analytics.measures import MEASURES
from cluster.analytics.system_stats import count_system
from cluster.database import translated
from cluster.database.queries import queries

WINDOWS = queries("cluster.analytics", "windows.sql")
USAGE_SQL = queries("cluster.analytics", "usage_rollup.sql")
PLATFORM_SQL = queries("cluster.analytics", "platform_rollup.sql")
USAGE, PLATFORM = "usage", "platform"
#: Maximum number of hours that one transaction computes, and maximum number of hours whose days one
#: transaction computes.
HOURS_AT_ONCE, DAY_HOURS_AT_ONCE = 168, 744
#: Maximum number of classes of errors that a roll-up names. The total number of errors
#: includes the errors of all classes.
MAX_ERROR_CLASSES = 100
BEGINNING = "-infinity"

#: Called after each transaction with the number of windows that were computed.
Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Grain:
    """Describes the roll-ups by hour, or the roll-ups by day."""

    name: str
    #: Type of the column that names the window. The column has the name of the grain.
    type: str
    #: Name of the statement that turns dirty hours into windows with their beginnings and ends.
    spans: str
    at_once: int

    def statement(self, sql: str, table: str) -> str:
        """Return the statement with the names of the table and of this grain filled in."""
        names = {"{table}": table, "{bucket}": self.name, "{type}": self.type}
        for placeholder, name in names.items():
            sql = sql.replace(placeholder, name)
        return sql


HOUR = Grain(name="hour", type="timestamptz", spans="hour_spans", at_once=HOURS_AT_ONCE)
DAY = Grain(name="day", type="date", spans="day_spans", at_once=DAY_HOURS_AT_ONCE)
#: The table of the roll-ups of usage or of the platform's data (first key), by hour or by day (second key).
TABLES: Mapping[tuple[str, str], str] = {
    (USAGE, "hour"): "usage_hourly",
    (USAGE, "day"): "usage_daily",
    (PLATFORM, "hour"): "agent_hourly",
    (PLATFORM, "day"): "agent_daily",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RollupState:
    """The state of the roll-ups of an organisation."""

    time_zone: str
    deleted: bool
    #: Beginning of the transaction that read this state.
    began: datetime
    #: Beginning of the current hour. The roll-ups end here.
    this_hour: datetime
    #: Every hour before this time was rolled up; None: no roll-up has run.
    rolled_through: datetime | None
    #: Time at which the last roll-up began; None: no roll-up has run.
    computed_at: datetime | None
    #: The first hour of the day that was the current day three hours ago.
    recent_day: datetime


def organisations(connection: Connection[Any]) -> list[str]:
    """Return the ids of the organisations whose roll-ups are computed."""
    return [id for (id,) in connection.execute(WINDOWS["organisations_of_all"])]


def rollup_state(connection: Connection[Any], organisation: str) -> RollupState | None:
    """Return the state of the roll-ups; None if the organisation does not exist."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(WINDOWS["state"], {"organisation": organisation}).fetchone()
    return RollupState(**row) if row else None


def mark_period(connection: Connection[Any], organisation: str, begin: datetime, end: datetime) -> None:
    """Mark every hour of the period, so that the next roll-up computes the hours and their days again."""
    values = {"organisation": organisation, "from": begin, "to": end}
    connection.execute(WINDOWS["mark_period"], values)


def rollup_lag(connection: Connection[Any]) -> float:
    """Return the seconds for which the oldest passed hour of all organisations has waited for its roll-up. An
    hourly schedule computes roll-ups, so up to an hour is usual.
    """
    row = connection.execute(WINDOWS["lag_of_all"]).fetchone()
    return float(row[0]) if row else 0.0


def compute_hours(pool: ConnectionPool, organisation: str, *, progress: Progress | None = None) -> int:
    """Compute the dirty hours that have passed, and the dirty days that ended at most three hours ago or have
    not ended. Also count the organisation's files and jobs (``count_system``). Return the number of windows.

    Older days are left to ``compute_days``, because late events change many older days in every hour.
    """
    state = _begin(pool, organisation)
    if state is None:
        return 0
    computed = _compute(pool, organisation, HOUR, BEGINNING, progress)
    computed += _compute(pool, organisation, DAY, state.recent_day, progress)
    with translated(), pool.connection() as connection:
        rolled = {"organisation": organisation, "before": state.this_hour, "began": state.began}
        connection.execute(WINDOWS["rolled"], rolled)
        if not state.deleted:
            count_system(connection, organisation)
    return computed


def compute_days(pool: ConnectionPool, organisation: str, *, progress: Progress | None = None) -> int:
    """Compute every dirty hour that has passed and every dirty day. Return the number of windows."""
    computed = compute_hours(pool, organisation, progress=progress)
    return computed + _compute(pool, organisation, DAY, BEGINNING, progress)


def _begin(pool: ConnectionPool, organisation: str) -> RollupState | None:
    """Mark the windows of conversations that have been quiet for 24 hours, and return the state of the
    roll-ups; None if the organisation does not exist.
    """
    values = {"organisation": organisation}
    with translated(), pool.connection() as connection:
        connection.execute(WINDOWS["alone"], values)
        connection.execute(WINDOWS["mark_settled"], values)
        connection.execute(WINDOWS["settled"], values)
        return rollup_state(connection, organisation)


def _compute(
    pool: ConnectionPool, organisation: str, grain: Grain, begin: datetime | str, progress: Progress | None
) -> int:
    """Compute the dirty windows of one grain, some in each transaction, until none is left."""
    computed = 0
    for about in (USAGE, PLATFORM):
        while True:
            with translated(), pool.connection() as connection:
                windows = _compute_some(connection, organisation, about, grain, begin)
            if windows is None:
                break
            computed += windows
            if progress is not None:
                progress(windows)
    return computed


def _compute_some(
    connection: Connection[Any], organisation: str, about: str, grain: Grain, begin: datetime | str
) -> int | None:
    """Compute some windows in the caller's transaction. Return their number; None if no window is dirty."""
    values: dict[str, Any] = {"organisation": organisation, "about": about, "grain": grain.name}
    connection.execute(WINDOWS["alone"], values)
    state = rollup_state(connection, organisation)
    if state is None:
        return None
    values |= {"zone": state.time_zone, "before": state.this_hour, "from": begin, "limit": grain.at_once}
    with connection.cursor(row_factory=scalar_row) as cursor:
        hours = sorted(set(cursor.execute(WINDOWS["take"], values)))
    if not hours:
        return None
    if grain is HOUR:
        connection.execute(WINDOWS["mark"], {**values, "grain": DAY.name, "hours": hours})
    if about == PLATFORM and state.deleted:
        return 0  # the facts are deleted with the organisation
    spans = connection.execute(WINDOWS[grain.spans], {**values, "hours": hours}).fetchall()
    if spans:
        replace(connection, organisation, about, grain, spans)
    return len(spans)


def replace(
    connection: Connection[Any],
    organisation: str,
    about: str,
    grain: Grain,
    spans: list[tuple[Any, datetime, datetime]],
) -> None:
    """Replace the roll-ups of these windows by roll-ups that are computed from the current facts.

    Args:
        spans: the hour or the day, the beginning and the end of each window.
    """
    table = TABLES[about, grain.name]
    values = {"organisation": organisation, **span_values(spans)}
    if about == USAGE:
        connection.execute(grain.statement(USAGE_SQL["replace"], table), values)
        connection.execute(grain.statement(USAGE_SQL["sum"], table), values)
        return
    connection.execute(grain.statement(PLATFORM_SQL["replace"], table), values)
    columns = ", ".join(("agent", *MEASURES))
    connection.execute(
        f"INSERT INTO {table} (organisation, {grain.name}, {columns})"  # noqa: S608
        f" SELECT %(organisation)s, bucket, {columns} FROM ({measures_sql(grain)}) AS measured",
        values,
    )


def measures_sql(grain: Grain, *, agent: bool = False) -> str:
    """Return the query that computes the measures of the platform's data from the facts.

    Args:
        agent: True to compute the measures of the agent that the parameter ``agent`` of the query names;
            False to compute the measures of every agent and of the whole organisation.
    """
    sql = grain.statement(PLATFORM_SQL["measures"], "")
    for name in ("event", "message", "conversation"):
        sql = sql.replace(f"{{of_agent_{name}}}", f"AND {name}.agent = %(agent)s" if agent else "")
    return sql


def span_values(spans: list[tuple[Any, datetime, datetime]]) -> dict[str, Any]:
    """Return the parameters of the statements that compute windows."""
    buckets, starts, ends = zip(*spans, strict=True)
    return {
        "buckets": list(buckets),
        "starts": list(starts),
        "ends": list(ends),
        "classes": MAX_ERROR_CLASSES,
    }
