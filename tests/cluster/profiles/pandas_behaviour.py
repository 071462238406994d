"""Computes the behaviour of CDNOW's customers with pandas, to compare it with the statements."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from cluster.profiles.behaviour import DAY_S
from cluster.profiles.profiles import ProfileValue
from cluster.profiles.selection import Selection
from tests.cluster.profiles.platform import cust


def differences(
    found: Mapping[str, Mapping[str, ProfileValue]], purchases: pd.DataFrame, chosen: Selection
) -> dict[str, list[str]]:
    """Names of the values that differ, by customer. Customers who are not in ``found`` are left out."""
    table = purchases.assign(
        age=(chosen.as_of - purchases["at"]).dt.total_seconds() / DAY_S,
        amount=purchases.amount.astype(float),
        hour=purchases["at"].dt.day_of_week * 24,
        id=[cust(chosen.organisation, name) for name in purchases.customer],
    )
    wrong = {}
    for customer, bought in table[table.id.isin(list(found))].groupby("id"):
        values = found[str(customer)]
        unequal = [name for name, one in behaviour_of(bought).items() if not _equal(values[name].value, one)]
        if unequal:
            wrong[str(customer)] = unequal
    return wrong


def behaviour_of(bought: pd.DataFrame) -> dict[str, object]:
    """Behaviour of one customer. All purchases of a day are one session at midnight."""
    ages, amounts = np.sort(bought.age.to_numpy()), bought.amount.to_numpy()
    days, hours = np.unique(ages), np.bincount(bought.hour)
    gaps, newest, oldest = np.diff(days), ages[0], ages[-1]
    recent, earlier = int((days <= 28).sum()), int(((days > 28) & (days <= 56)).sum())
    return {
        "recency_days": newest,
        "idle_days": newest,
        "tenure_days": oldest,
        "frequency": len(ages),
        "monetary_total": amounts.sum(),
        "monetary_mean": amounts.mean(),
        "purchase_gap_days": np.diff(ages).mean() if len(ages) > 1 else None,
        "sessions": len(days),
        "session_minutes": 0.0,
        "session_gap_days": gaps.mean() if len(gaps) else None,
        "hours_of_week": {str(hour): int(hours[hour]) for hour in np.flatnonzero(hours)},
        "busiest_hour_of_week": int(hours.argmax()),
        "lapsing": bool(np.exp(-newest / gaps.mean()) < 0.05) if len(gaps) >= 3 else None,
        "trend": None if oldest < 56 else direction(recent, earlier),
    }


def direction(recent: int, earlier: int) -> str | None:
    """The trend by scipy's interval of a binomial share."""
    if not recent + earlier:
        return None
    from scipy.stats import binomtest

    interval = binomtest(recent, recent + earlier).proportion_ci(method="wilson")
    return "rising" if interval.low > 0.5 else "falling" if interval.high < 0.5 else "steady"


def _equal(found: object, expected: object) -> bool:
    number = isinstance(expected, int | float | np.number) and not isinstance(expected, bool)
    if number and isinstance(found, int | float) and not isinstance(found, bool):
        return abs(found - float(expected)) < 2e-6  # type: ignore[arg-type]
    return found == expected
