"""Turns the scores of a model into values of profiles.

write_part(connection, selection, part_of(training), score(connection, selection, training, customers))
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from psycopg import Connection

from cluster.profiles.profiles import PartVersion, ProfileValue
from cluster.profiles.propensity.features import RAW, read_features
from cluster.profiles.propensity.models import PropensityTraining
from cluster.profiles.selection import Selection

#: Name of the part of profiles.
PROPENSITY = "propensity"
#: Code of the reason of a value that is missing because no model could be trained.
INSUFFICIENT_DATA = "insufficient_data"
#: Number of drivers that a profile names. The drivers with the largest effects are named.
SHOWN_DRIVERS = 3


def part_of(training: PropensityTraining) -> PartVersion:
    """Return the name of the part with the version of the training."""
    return PartVersion(part=PROPENSITY, version=training.version)


def score(
    connection: Connection[Any],
    selection: Selection,
    training: PropensityTraining,
    customers: Sequence[str],
) -> dict[str, dict[str, ProfileValue]]:
    """Return the probability of a purchase and its drivers for each customer.

    Both values are None for a customer who has bought nothing yet, and for all customers if no model could be
    trained. ``n`` is the number of the customer's purchases.
    """
    table = read_features(connection, selection, selection.as_of, window=timedelta(0), customers=customers)
    bought = {customer: int(row[1]) for customer, row in zip(table.customers, table.raw, strict=True)}
    reason = INSUFFICIENT_DATA if training.state == INSUFFICIENT_DATA else None
    found = {customer: _unknown(bought.get(customer, 0), reason) for customer in customers}
    model = training.model
    if model is None or not len(table.raw):
        return found
    probabilities, effects = model.probabilities(table.raw), model.drivers(table.raw)
    for place, customer in enumerate(table.customers):
        order = sorted(range(len(RAW)), key=lambda column: -abs(effects[place, column]))[:SHOWN_DRIVERS]
        drivers = [
            {
                "feature": RAW[column],
                "value": round(float(table.raw[place, column]), 6),
                "median": round(float(model.medians[column]), 6),
                "effect": round(float(effects[place, column]), 6),
            }
            for column in order
        ]
        n = bought[customer]
        found[customer] = {
            "purchase_probability": ProfileValue(value=round(float(probabilities[place]), 6), n=n),
            "purchase_drivers": ProfileValue(value=drivers, n=n),
        }
    return found


def _unknown(n: int, reason: str | None) -> dict[str, ProfileValue]:
    names = ("purchase_probability", "purchase_drivers")
    return {name: ProfileValue(value=None, n=n, reason=reason) for name in names}
