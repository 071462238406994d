"""Read the statistics of an agent or of an organisation: roll-ups, and the hours after the last roll-up.

The routes in ``serve_app/routes/analytics`` call ``read_stats``. The hours after the last roll-up are
computed from the facts, with the query that also computes the roll-ups.

    stats = read_stats(connection, StatsQuery(organisation="acme", begin=begin, end=end, grain=HOUR))
    stats.total.messages
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.analytics.measures import MEASURES, Measures
from cluster.analytics.rollups import HOUR, Grain, RollupState, measures_sql, rollup_state, span_values
from cluster.database.queries import queries
from cluster.errors import NotFound

SQL = queries("cluster.analytics", "stats.sql")
#: Maximum length of the time that one request computes from the facts, including the current hour.
LIVE = timedelta(hours=6)
ONE_HOUR = timedelta(hours=1)
#: Measures that must not be added, because one customer or conversation can be in several windows.
NOT_ADDITIVE = frozenset({"customers", "active_conversations"})


@dataclass(frozen=True, kw_only=True, slots=True)
class StatsQuery:
    """Says which statistics to read."""

    organisation: str
    #: Id of the agent; None: the whole organisation.
    agent: str | None = None
    begin: datetime
    end: datetime
    #: ``HOUR``, or ``DAY`` for days in the time zone of the organisation.
    grain: Grain


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """The measures of one window."""

    starts_at: datetime
    ends_at: datetime
    measures: Measures


@dataclass(frozen=True, kw_only=True, slots=True)
class PeriodStats:
    """Statistics of a period."""

    time_zone: str
    #: Time at which the last roll-up began; None: no roll-up has run.
    computed_at: datetime | None
    #: The roll-ups contain every fact from before this time that was stored when the last roll-up began.
    #: None: no roll-up has run.
    complete_through: datetime | None
    #: Number of hours before ``complete_through`` whose facts changed after their roll-up. The next roll-up
    #: computes these hours, or the days of these hours.
    waiting_hours: int
    #: The windows of the period that have facts, in order.
    buckets: list[Bucket]
    #: The hours after the last roll-up, computed from the facts; None if the period has none of these hours.
    live: Bucket | None

    @property
    def total(self) -> Measures:
        """The sums over all windows. Percentiles are None, and the measures in ``NOT_ADDITIVE`` are 0."""
        live = [self.live] if self.live else []
        return added(bucket.measures for bucket in (*self.buckets, *live))


def read_stats(connection: Connection[Any], query: StatsQuery) -> PeriodStats:
    """Read the roll-ups of the period, and compute the hours after the last roll-up.

    Raises:
        NotFound: there is no such organisation.
    """
    state = rollup_state(connection, query.organisation)
    if state is None:
        raise NotFound(f"no organisation {query.organisation!r}")
    values = {
        "organisation": query.organisation,
        "agent": query.agent,
        "from": query.begin,
        "to": query.end,
        "zone": state.time_zone,
        "grain": query.grain.name,
        "through": state.rolled_through,
    }
    waiting = connection.execute(SQL["waiting"], values).fetchone()
    return PeriodStats(
        time_zone=state.time_zone,
        computed_at=state.computed_at,
        complete_through=state.rolled_through,
        waiting_hours=waiting[0] if waiting else 0,
        buckets=_buckets(connection, query, values),
        live=_live(connection, query, state),
    )


def added(all_measures: Iterable[Measures]) -> Measures:
    """Return the sums of the measures. Percentiles are None, and the measures in ``NOT_ADDITIVE`` are 0."""
    sums: dict[str, Any] = {}
    classes: dict[str, int] = {}
    for measures in all_measures:
        for name in MEASURES:
            if name == "errors_by_class":
                for one, errors in measures.errors_by_class.items():
                    classes[one] = classes.get(one, 0) + errors
            elif name not in NOT_ADDITIVE and not _is_percentile(name):
                sums[name] = sums.get(name, 0) + getattr(measures, name)
    return Measures(errors_by_class=dict(sorted(classes.items())), **sums)


def _is_percentile(name: str) -> bool:
    return "_p50_" in name or "_p95_" in name


def _buckets(connection: Connection[Any], query: StatsQuery, values: dict[str, Any]) -> list[Bucket]:
    statement = SQL["hourly" if query.grain is HOUR else "daily"]
    agent = "rolled.agent IS NULL" if query.agent is None else "rolled.agent = %(agent)s"
    statement = statement.replace("{agent}", agent).replace("{measures}", ", ".join(MEASURES))
    with connection.cursor(row_factory=dict_row) as cursor:
        return [_bucket(row) for row in cursor.execute(statement, values)]


def _live(connection: Connection[Any], query: StatsQuery, state: RollupState) -> Bucket | None:
    end = state.this_hour + ONE_HOUR
    begin = max(state.rolled_through or state.this_hour, end - LIVE)
    if query.end <= begin or query.begin >= end:
        return None
    values = {
        "organisation": query.organisation,
        "agent": query.agent,
        **span_values([(begin, begin, end)]),
    }
    statement = measures_sql(HOUR, agent=query.agent is not None)
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, values).fetchall()
    found = [row for row in rows if row["agent"] == query.agent]
    row = found[0] if found else {"errors_by_class": {}}
    return _bucket({"starts_at": begin, "ends_at": end, **row})


def _bucket(row: dict[str, Any]) -> Bucket:
    names = {field.name for field in fields(Measures)}
    measures = Measures(**{name: value for name, value in row.items() if name in names})
    return Bucket(starts_at=row["starts_at"], ends_at=row["ends_at"], measures=measures)
