"""Computes values that describe what customers do, from their events and messages, without a trained model.

The job that computes profiles calls ``compute_behaviour`` for some customers at a time. docs/profiles.md
defines each value. Events and messages from the time ``Selection.as_of`` on do not count, so every attempt
at the job computes the same values.

    values = compute_behaviour(connection, selection, ["cust_..."])["cust_..."]
    values["recency_days"]        # ProfileValue(value=12.5, n=7, evidence=["/shop#order-9"])
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.queries import queries
from cluster.profiles.profiles import MAX_EVIDENCE, PartVersion, ProfileValue
from cluster.profiles.purchases import AMOUNT, PURCHASE
from cluster.profiles.selection import Selection

SQL = {
    name: statement.replace("{amount}", AMOUNT)
    for name, statement in queries("cluster.profiles", "behaviour.sql").items()
}
#: Name and version of this part of profiles. Change the version whenever you change a definition below.
BEHAVIOUR = PartVersion(part="behaviour", version="behaviour-1")
#: Types of events that do not count as acts of the customer. Agents or the platform cause them, except
#: ``message.created``: messages are read from their own table, so their events must not count again.
NOT_ACTS = (
    "conversation.ended",
    "conversation.handed_over",
    "error.raised",
    "message.created",
    "request.completed",
)
#: A pause longer than this ends a session.
SESSION_GAP = timedelta(minutes=30)
#: Length of each of the two periods whose numbers of sessions the trend compares.
TREND_PERIOD = timedelta(days=28)
#: The quantile of the normal distribution for an interval of 95%.
Z = 1.959963984540054
#: Minimum number of gaps between sessions from which a customer can count as lapsing.
MIN_GAPS = 3
#: A customer is lapsing if a pause at least as long as the current pause has less than this probability. The
#: gaps between sessions are assumed to be exponentially distributed with the customer's own mean gap.
LAPSING = 0.05
DAY_S = 86_400.0

_Row = Mapping[str, Any]


def compute_behaviour(
    connection: Connection[Any], selection: Selection, customers: Sequence[str]
) -> dict[str, dict[str, ProfileValue]]:
    """Return, for each customer, the values by name. A customer without events and messages also gets every
    value, with ``n`` 0.
    """
    values = {
        "organisation": selection.organisation,
        "customers": list(customers),
        "as_of": selection.as_of,
        "purchase": PURCHASE,
        "not_acts": list(NOT_ACTS),
        "session_gap": SESSION_GAP,
        "trend": TREND_PERIOD,
        "evidence": MAX_EVIDENCE,
    }
    found: dict[str, dict[str, _Row]] = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        for name in ("purchases", "activity", "questions"):
            found[name] = {row["customer"]: row for row in cursor.execute(SQL[name], values)}
    return {
        customer: {
            **_purchases(found["purchases"].get(customer, {}), selection.as_of),
            **_activity(found["activity"].get(customer, {}), selection.as_of),
            **_questions(found["questions"].get(customer, {})),
        }
        for customer in customers
    }


def rate_ratio(recent: int, earlier: int) -> tuple[float | None, float, float | None] | None:
    """Return the ratio of the recent rate to the earlier rate, and the lower and the upper bound of its
    confidence interval of 95%. Return None if both counts are 0. An infinite ratio or upper bound is None.

    The arguments are Poisson counts of two periods of equal length. Given the sum of both counts, the recent
    count has a binomial distribution (Przyborowski and Wilenski, Biometrika 31, 1940). The bounds are
    Wilson's score interval of the binomial share (JASA 22, 1927), converted to a ratio. The interval is also
    valid for small counts and for 0.
    """
    n = recent + earlier
    if n == 0:
        return None
    share, z2 = recent / n, Z * Z
    middle, scale = share + z2 / (2 * n), 1 + z2 / n
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
    return _odds(share), round(low / (1 - low), 6), _odds(high)


def _odds(share: float) -> float | None:
    return None if share >= 1.0 - 1e-12 else round(share / (1 - share), 6)


def _purchases(row: _Row, as_of: datetime) -> dict[str, ProfileValue]:
    n, ids = row.get("n", 0), row.get("ids") or []
    gaps = max(n - 1, 0)
    gap_days = (row["last_at"] - row["first_at"]).total_seconds() / DAY_S / gaps if gaps else None
    amounts, total = row.get("amounts", 0), row.get("total")
    mean = None if total is None else float(total) / amounts
    return {
        "recency_days": ProfileValue(value=_days(row.get("last_at"), as_of), n=n, evidence=ids[:1]),
        "frequency": ProfileValue(value=n, n=n, evidence=ids),
        "monetary_total": ProfileValue(
            value=None if total is None else float(total), n=amounts, evidence=ids
        ),
        "monetary_mean": ProfileValue(value=_rounded(mean), n=amounts, evidence=ids),
        "purchase_gap_days": ProfileValue(value=_rounded(gap_days), n=gaps, evidence=ids),
    }


def _activity(row: _Row, as_of: datetime) -> dict[str, ProfileValue]:
    n, ids, sessions = row.get("n", 0), row.get("ids") or [], row.get("sessions", 0)
    gaps = max(sessions - 1, 0)
    gap_days = (row["last_begin"] - row["first_begin"]).total_seconds() / DAY_S / gaps if gaps else None
    idle_days = _days(row.get("last_at"), as_of)
    minutes = row.get("session_minutes")
    hours = {int(hour): count for hour, count in row.get("hours", {}).items()}
    busiest = min(hours, key=lambda hour: (-hours[hour], hour)) if hours else None
    return {
        "tenure_days": ProfileValue(value=_days(row.get("first_at"), as_of), n=n, evidence=ids[-1:]),
        "idle_days": ProfileValue(value=idle_days, n=n, evidence=ids[:1]),
        "sessions": ProfileValue(value=sessions, n=n, evidence=ids),
        "session_minutes": ProfileValue(
            value=None if minutes is None else _rounded(float(minutes)), n=sessions, evidence=ids
        ),
        "session_gap_days": ProfileValue(value=_rounded(gap_days), n=gaps, evidence=ids),
        "hours_of_week": ProfileValue(value={str(hour): hours[hour] for hour in sorted(hours)}, n=n),
        "busiest_hour_of_week": ProfileValue(value=busiest, n=n),
        "lapsing": ProfileValue(value=_lapsing(idle_days, gap_days, gaps), n=gaps, evidence=ids[:1]),
        **_trend(row, as_of, ids),
    }


def _lapsing(idle_days: float | None, gap_days: float | None, gaps: int) -> bool | None:
    if idle_days is None or not gap_days or gaps < MIN_GAPS:
        return None
    return math.exp(-idle_days / gap_days) < LAPSING


def _trend(row: _Row, as_of: datetime, ids: Sequence[str]) -> dict[str, ProfileValue]:
    """Return the values that compare the number of sessions in the last period with the number in the period
    before it. Both values are None if the customer's first act is within these two periods, or if neither
    period has a session.
    """
    recent, earlier = row.get("recent", 0), row.get("earlier", 0)
    n = recent + earlier
    known = bool(row) and row["first_at"] <= as_of - 2 * TREND_PERIOD
    ratio = rate_ratio(recent, earlier) if known else None
    if ratio is None:
        return {name: ProfileValue(value=None, n=n) for name in ("trend", "trend_ratio")}
    middle, low, high = ratio
    name = "rising" if low > 1 else "falling" if high is not None and high < 1 else "steady"
    interval = {"ratio": middle, "low": low, "high": high, "recent": recent, "earlier": earlier}
    return {
        "trend": ProfileValue(value=name, n=n, evidence=ids),
        "trend_ratio": ProfileValue(value=interval, n=n, evidence=ids),
    }


def _questions(row: _Row) -> dict[str, ProfileValue]:
    n = row.get("n", 0)
    return {
        "questions": ProfileValue(value=n, n=n, evidence=row.get("ids") or []),
        "unanswered_questions": ProfileValue(
            value=row.get("unanswered", 0), n=n, evidence=row.get("unanswered_ids") or []
        ),
    }


def _days(earlier: datetime | None, later: datetime) -> float | None:
    return None if earlier is None else _rounded((later - earlier).total_seconds() / DAY_S)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
