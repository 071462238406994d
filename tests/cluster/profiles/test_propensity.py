"""Propensity: validated on a later period, beside the recency alone, and refused without enough data."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from psycopg_pool import ConnectionPool

from cluster.profiles.behaviour import DAY_S, compute_behaviour
from cluster.profiles.propensity import fitting
from cluster.profiles.propensity.features import FeatureTable, read_features
from cluster.profiles.propensity.fitting import fit, fit_recency
from cluster.profiles.propensity.model import PropensityModel
from cluster.profiles.propensity.training import TrainingData, train
from cluster.profiles.propensity.validation import RECENCY_ONLY, PropensityReport, validate
from cluster.profiles.selection import Selection
from tests.cluster.profiles.cdnow import load_purchases, read_purchases
from tests.cluster.profiles.pandas_behaviour import differences
from tests.cluster.profiles.platform import cust
from tests.conftest import new_organisation

TRAIN_AT, LATER_AT = datetime(1997, 10, 1, tzinfo=UTC), datetime(1998, 4, 1, tzinfo=UTC)
WINDOW = timedelta(days=90)
THINNED = 20


def features(purchases: pd.DataFrame, cutoff: datetime) -> FeatureTable:
    """The features, computed with pandas."""
    before = purchases[purchases["at"] < cutoff]
    groups = before.assign(amount=before.amount.astype(float)).groupby("customer")
    raw = pd.DataFrame(
        {
            "recency": (cutoff - groups["at"].max()).dt.total_seconds() / DAY_S,
            "frequency": groups.size(),
            "monetary": groups.amount.mean(),
            "tenure": (cutoff - groups["at"].min()).dt.total_seconds() / DAY_S,
        }
    )
    after = purchases[(purchases["at"] >= cutoff) & (purchases["at"] < cutoff + WINDOW)]
    bought = raw.index.isin(after.customer.unique()).astype(float)
    return FeatureTable(customers=list(raw.index), raw=raw.to_numpy(float), bought=bought)


@pytest.fixture(scope="module")
def periods() -> tuple[FeatureTable, FeatureTable]:
    purchases = read_purchases()
    return features(purchases, TRAIN_AT), features(purchases, LATER_AT)


@pytest.fixture(scope="module")
def report(periods: tuple[FeatureTable, FeatureTable]) -> PropensityReport:
    return validate(*periods, window_days=90)


def test_cdnow_is_predicted_better_than_by_recency_alone(
    periods: tuple[FeatureTable, FeatureTable], report: PropensityReport
) -> None:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    train, later = periods
    assert (report.train_n, report.later_n) == (23_570, 23_570)
    chosen, recency = report.models[report.chosen], report.models[RECENCY_ONLY]
    assert chosen.auc >= 0.835
    assert chosen.auc > recency.auc + 0.005
    assert chosen.brier < min(0.092, recency.brier)
    probabilities = fit(train, report.chosen, window_days=90).probabilities(later.raw)
    assert chosen.auc == pytest.approx(roc_auc_score(later.bought, probabilities), abs=1e-6)
    assert chosen.brier == pytest.approx(brier_score_loss(later.bought, probabilities), abs=1e-6)
    assert chosen.log_loss == pytest.approx(log_loss(later.bought, probabilities), abs=1e-6)
    alone = fit_recency(train, window_days=90).probabilities(later.raw)
    assert recency.auc == pytest.approx(roc_auc_score(later.bought, -later.raw[:, 0]), abs=1e-6)
    assert recency.brier == pytest.approx(brier_score_loss(later.bought, alone), abs=1e-6)


def test_the_calibration_of_cdnow_is_printed_and_close(report: PropensityReport) -> None:
    print("n, predicted, observed")
    for row in report.calibration:
        print(f"{row.n:5} {row.predicted:.3f} {row.observed:.3f}")
    assert sum(row.n for row in report.calibration) == report.later_n
    observed = [row.observed for row in report.calibration]
    assert observed[-1] > 0.4 > 0.05 > observed[0]
    assert max(abs(row.predicted - row.observed) for row in report.calibration) < 0.07


def test_recency_and_frequency_drive_the_purchases_of_cdnow(report: PropensityReport) -> None:
    assert set(list(report.drivers)[:2]) == {"recency_days", "frequency"}


def test_boosting_is_chosen_only_if_it_wins_on_the_later_period(
    report: PropensityReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    linear, boosted = report.models["logistic_regression"], report.models["gradient_boosting"]
    assert report.chosen == "logistic_regression"
    assert boosted.brier > linear.brier or boosted.auc < linear.auc
    monkeypatch.setattr(fitting, "TREES", 30)
    odd = band_of_buyers()
    assert validate(odd, odd, window_days=90).chosen == "gradient_boosting"


def band_of_buyers() -> FeatureTable:
    """Customers who buy if they have a medium tenure, which no line separates."""
    random = np.random.default_rng(5)
    tenure = random.uniform(10, 300, 600)
    raw = np.column_stack([tenure * random.uniform(0, 1, 600), np.full(600, 3.0), np.full(600, 9.0), tenure])
    bought = ((tenure > 100) & (tenure < 200)).astype(float)
    return FeatureTable(customers=[str(n) for n in range(600)], raw=raw, bought=bought)


def test_a_stored_model_gives_the_scores_of_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import GradientBoostingClassifier

    monkeypatch.setattr(fitting, "TREES", 20)
    table = band_of_buyers()
    model = fit(table, "gradient_boosting", window_days=90)
    again = PropensityModel.from_json(model.to_json())
    peer = GradientBoostingClassifier(
        n_estimators=20, max_depth=3, learning_rate=0.05, subsample=0.5, random_state=0
    ).fit(table.inputs, table.bought)
    assert again.probabilities(table.raw) == pytest.approx(peer.predict_proba(table.inputs)[:, 1], abs=1e-9)
    linear = fit(table, "logistic_regression", window_days=90)
    stored = PropensityModel.from_json(linear.to_json())
    assert stored.version == linear.version != model.version
    assert stored.probabilities(table.raw) == pytest.approx(linear.probabilities(table.raw), abs=1e-12)


def test_a_driver_is_the_difference_to_a_median_customer() -> None:
    table = band_of_buyers()
    model = fit(table, "logistic_regression", window_days=90)
    effects = model.drivers(table.raw)
    assert np.abs(effects[:, 1]).max() == 0  # all have the same frequency
    at_median = table.raw.copy()
    at_median[:, 3] = model.medians[3]
    odds = [np.log(p / (1 - p)) for p in (model.probabilities(table.raw), model.probabilities(at_median))]
    assert effects[:, 3] == pytest.approx(odds[0] - odds[1])


@pytest.mark.parametrize("shortage", ["buyers", "others", "history"])
def test_too_few_data_are_refused_with_what_is_missing(shortage: str) -> None:
    table = band_of_buyers()
    buyers, others = np.flatnonzero(table.bought == 1), np.flatnonzero(table.bought == 0)
    kept = {
        "buyers": np.concatenate([buyers[:99], others]),
        "others": np.concatenate([buyers, others[:99]]),
        "history": np.arange(len(table.bought)),
    }[shortage]
    thin = replace(table, raw=table.raw[kept], bought=table.bought[kept])
    history = timedelta(days=134 if shortage == "history" else 135)
    training = train(TrainingData(as_of=LATER_AT, window=WINDOW, history=history, train=thin, later=table))
    assert (training.state, training.parameters, training.model) == ("insufficient_data", None, None)
    name, needed, found = {
        "buyers": ("customers_who_bought", 100, 99),
        "others": ("customers_who_did_not_buy", 100, 99),
        "history": ("history_days", 135, 134),
    }[shortage]
    missing = {"name": name, "period": "training", "needed": needed, "found": found}
    assert training.report["missing"] == [missing]


@pytest.fixture(scope="module")
def thinned(pool: ConnectionPool) -> tuple[str, pd.DataFrame]:
    """An organisation with every 20th customer of CDNOW, and these purchases."""
    organisation, purchases = new_organisation(pool), read_purchases(thinned=THINNED)
    load_purchases(pool, organisation, purchases)
    return organisation, purchases


def test_features_of_the_database_equal_those_of_pandas(
    pool: ConnectionPool, thinned: tuple[str, pd.DataFrame]
) -> None:
    organisation, purchases = thinned
    chosen = Selection(organisation=organisation, as_of=LATER_AT)
    with pool.connection() as connection:
        found = read_features(connection, chosen, TRAIN_AT, window=WINDOW)
    expected = features(purchases, TRAIN_AT)
    places = {cust(organisation, name): place for place, name in enumerate(expected.customers)}
    order = [places[customer] for customer in found.customers]
    assert sorted(order) == list(range(len(expected.customers)))
    assert found.raw == pytest.approx(expected.raw[order])
    assert found.bought.tolist() == expected.bought[order].tolist()


def test_behaviour_equals_an_independent_computation_with_pandas(
    pool: ConnectionPool, thinned: tuple[str, pd.DataFrame]
) -> None:
    organisation, purchases = thinned
    chosen = Selection(organisation=organisation, as_of=datetime(1998, 7, 1, tzinfo=UTC))
    customers = [cust(organisation, str(name)) for name in purchases.customer.unique()]
    assert len(customers) > 1_000
    with pool.connection() as connection:
        found = compute_behaviour(connection, chosen, customers)
    assert differences(found, purchases, chosen) == {}
