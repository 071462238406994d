"""Reads the features of customers at a cutoff: recency, frequency, monetary value and tenure of purchases.

Only purchases before the cutoff count as features. The label says whether the customer bought in the window
after the cutoff.

    table = read_features(connection, selection, cutoff, window=timedelta(days=90))
    table.inputs.shape, table.bought.mean()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.database.queries import queries
from cluster.profiles.purchases import AMOUNT, PURCHASE
from cluster.profiles.selection import Selection

SQL = queries("cluster.profiles.propensity", "features.sql")
FEATURES = SQL["features"].replace("{amount}", AMOUNT)
#: The statement for all customers, and the statement for some customers.
EVERYONE, CHOSEN = (FEATURES.replace("{events}", SQL[name].rstrip(";")) for name in ("everyone", "chosen"))
#: The columns of ``FeatureTable.raw``.
RAW = ("recency_days", "frequency", "monetary_mean", "tenure_days")
#: The columns of ``FeatureTable.inputs``: logarithms of the raw features, the part of the tenure that has
#: passed since the last purchase, and the logarithm of the number of purchases per day of the tenure.
INPUTS = ("recency", "frequency", "monetary", "tenure", "recency_share", "rate")
#: Maximum number of customers from whom a model learns. If there are more, they are chosen by the hash of
#: their ids, so that the choice is even and always the same.
MAX_CUSTOMERS = 50_000

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureTable:
    """The features of some customers at one cutoff."""

    customers: Sequence[str]
    #: (n, 4) float64, the columns of ``RAW``.
    raw: FloatArray
    #: (n,) float64, 1 for customers who bought in the window after the cutoff, otherwise 0.
    bought: FloatArray

    @property
    def inputs(self) -> FloatArray:
        """The inputs of models: (n, 6) float64, the columns of ``INPUTS``."""
        return inputs_of(self.raw)


def read_features(
    connection: Connection[Any],
    selection: Selection,
    cutoff: datetime,
    *,
    window: timedelta,
    customers: Sequence[str] | None = None,
) -> FeatureTable:
    """Read the features of the customers who bought before the cutoff and may have a profile.

    Args:
        window: length of the period after the cutoff whose purchases give the label.
        customers: ids of the customers; None: all customers, at most ``MAX_CUSTOMERS``.
    """
    values = {
        "organisation": selection.organisation,
        "purchase": PURCHASE,
        "cutoff": cutoff,
        "window": window,
        "customers": None if customers is None else list(customers),
        "unsaid": not selection.need_consent,
        "limit": MAX_CUSTOMERS,
    }
    rows = connection.execute(EVERYONE if customers is None else CHOSEN, values).fetchall()
    numbers = np.array([row[1:] for row in rows], dtype=np.float64).reshape(-1, len(RAW) + 1)
    return FeatureTable(customers=[row[0] for row in rows], raw=numbers[:, :-1], bought=numbers[:, -1])


def first_purchase(connection: Connection[Any], selection: Selection) -> datetime | None:
    """Return the time of the organisation's first purchase before ``selection.as_of``; None without one."""
    values = {
        "organisation": selection.organisation,
        "purchase": PURCHASE,
        "as_of": selection.as_of,
    }
    row = connection.execute(SQL["first_purchase"], values).fetchone()
    return row[0] if row else None


def inputs_of(raw: FloatArray) -> FloatArray:
    """Convert raw features to the inputs of models, (n, 6) float64."""
    recency, frequency, monetary, tenure = raw.T
    return np.column_stack(
        [
            np.log1p(recency),
            np.log(frequency),
            np.log1p(monetary),
            np.log1p(tenure),
            (recency + 1) / (tenure + 1),
            np.log(frequency / (tenure + 1)),
        ]
    )
