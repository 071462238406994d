"""Trains the model of an organisation's purchases, or says which data are missing.

The model is validated on a later period than the period from which it learned. With a window of 90 days, the
model learns from the features of 180 days ago and the purchases of the 90 days after that day. It then
predicts the purchases of the last 90 days from the features of 90 days ago. The algorithm that is chosen then
learns from this later period, so that the model that scores customers is the most recent one.

    training = train(read_training_data(connection, selection, window=timedelta(days=90)))
    training.state                       # "trained", or "insufficient_data"
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

from cluster.profiles.propensity.features import FeatureTable, first_purchase, read_features
from cluster.profiles.propensity.fitting import fit
from cluster.profiles.propensity.models import PropensityTraining
from cluster.profiles.propensity.validation import validate
from cluster.profiles.selection import Selection

#: Minimum number of customers who bought in a window, and of customers who did not.
MIN_CUSTOMERS = 100
#: Minimum length of the history before the cutoff of the training, as a multiple of the window.
MIN_HISTORY = 1.5
DAY = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingData:
    """One condition of a training that the data do not meet."""

    #: ``history_days``, ``customers_who_bought`` or ``customers_who_did_not_buy``.
    name: str
    #: ``training`` or ``validation``.
    period: str
    needed: float
    found: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """What a training reads from the database."""

    #: The time up to which purchases count.
    as_of: datetime
    window: timedelta
    #: Time from the organisation's first purchase to the cutoff of ``train``.
    history: timedelta
    train: FeatureTable
    later: FeatureTable

    @property
    def train_at(self) -> datetime:
        """The cutoff of ``train``."""
        return self.later_at - self.window

    @property
    def later_at(self) -> datetime:
        """The cutoff of ``later``."""
        return self.as_of - self.window


def read_training_data(
    connection: Connection[Any], selection: Selection, *, window: timedelta
) -> TrainingData:
    """Read the features and the labels of both periods, from purchases before ``selection.as_of``.

    Args:
        window: the model predicts purchases in a period of this length.
    """
    later_at = selection.as_of - window
    train_at = later_at - window
    first = first_purchase(connection, selection)
    return TrainingData(
        as_of=selection.as_of,
        window=window,
        history=timedelta(0) if first is None else max(timedelta(0), train_at - first),
        train=read_features(connection, selection, train_at, window=window),
        later=read_features(connection, selection, later_at, window=window),
    )


def train(data: TrainingData) -> PropensityTraining:
    """Train and validate a model, or report which data are missing. Gradient boosting takes some seconds for
    50,000 customers.
    """
    window_days = data.window / DAY
    periods = {
        "window_days": window_days,
        "train_at": data.train_at.isoformat(),
        "later_at": data.later_at.isoformat(),
    }
    if missing := missing_data(data):
        return PropensityTraining(
            version=f"insufficient_data-{data.as_of.isoformat()}",
            trained_at=data.as_of,
            state="insufficient_data",
            parameters=None,
            report={**periods, "missing": [asdict(one) for one in missing]},
        )
    report = validate(data.train, data.later, window_days=window_days)
    model = fit(data.later, report.chosen, window_days=window_days)
    return PropensityTraining(
        version=model.version,
        trained_at=data.as_of,
        state="trained",
        parameters=model.to_json(),
        report={**periods, **asdict(report)},
    )


def missing_data(data: TrainingData) -> Sequence[MissingData]:
    """Return the conditions that the data do not meet. The list is empty if a model can be trained."""
    conditions = [("history_days", "training", MIN_HISTORY * (data.window / DAY), data.history / DAY)]
    for period, table in (("training", data.train), ("validation", data.later)):
        bought = float(table.bought.sum())
        conditions += [
            ("customers_who_bought", period, MIN_CUSTOMERS, bought),
            ("customers_who_did_not_buy", period, MIN_CUSTOMERS, len(table.bought) - bought),
        ]
    return [
        MissingData(name=name, period=period, needed=needed, found=round(found, 3))
        for name, period, needed, found in conditions
        if found < needed
    ]
