"""Measures models on a later period than the period from which they learned, and chooses an algorithm.

report = validate(train, later, window_days=90)
report.chosen, report.models["logistic_regression"].auc, report.calibration
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.profiles.propensity.features import RAW, FeatureTable, FloatArray
from cluster.profiles.propensity.fitting import fit, fit_recency
from cluster.profiles.propensity.model import Algorithm, PropensityModel

#: Name of the baseline in reports.
RECENCY_ONLY = "recency_only"
#: Number of rows of the calibration table.
CALIBRATION_BINS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelScore:
    """How well a model predicts the later period."""

    #: Area under the receiver operating characteristic.
    auc: float
    #: Mean squared difference of the probability and the outcome (Brier 1950).
    brier: float
    #: Mean negative logarithm of the probability of what happened.
    log_loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationBin:
    """Compares what the model predicts with what happened, for customers with similar probabilities."""

    n: int
    #: Mean probability.
    predicted: float
    #: Share of the customers who bought.
    observed: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PropensityReport:
    """The outcome of a validation on a later period."""

    chosen: Algorithm
    #: Scores of each algorithm and of the baseline ``RECENCY_ONLY``, by name.
    models: Mapping[str, ModelScore]
    #: Calibration of the chosen model, in order of the probabilities. The numbers of customers in
    #: the bins differ by at most one.
    calibration: Sequence[CalibrationBin]
    #: Mean absolute effect of each raw feature on the log-odds of the chosen model, the largest first.
    drivers: Mapping[str, float]
    #: Number of customers in the training.
    train_n: int
    #: Number of customers in the training who bought.
    train_bought: int
    #: Number of customers in the validation.
    later_n: int
    #: Number of customers in the validation who bought.
    later_bought: int


def validate(train: FeatureTable, later: FeatureTable, *, window_days: float) -> PropensityReport:
    """Fit all models to ``train``, and measure how well they predict ``later``.

    Gradient boosting is chosen only if both its area under the curve and its Brier score are better than
    those of the logistic regression.
    """
    fitted: dict[Algorithm, PropensityModel] = {
        "logistic_regression": fit(train, "logistic_regression", window_days=window_days),
        "gradient_boosting": fit(train, "gradient_boosting", window_days=window_days),
    }
    scores: dict[str, ModelScore] = {name: _score(model, later) for name, model in fitted.items()}
    scores[RECENCY_ONLY] = _score(fit_recency(train, window_days=window_days), later)
    linear, boosted = scores["logistic_regression"], scores["gradient_boosting"]
    wins = boosted.auc > linear.auc and boosted.brier < linear.brier
    chosen: Algorithm = "gradient_boosting" if wins else "logistic_regression"
    effects = np.abs(fitted[chosen].drivers(later.raw)).mean(axis=0)
    order = np.argsort(-effects)
    return PropensityReport(
        chosen=chosen,
        models=scores,
        calibration=calibrate(fitted[chosen].probabilities(later.raw), later.bought),
        drivers={RAW[column]: round(float(effects[column]), 6) for column in order},
        train_n=len(train.bought),
        train_bought=int(train.bought.sum()),
        later_n=len(later.bought),
        later_bought=int(later.bought.sum()),
    )


def calibrate(probabilities: FloatArray, bought: FloatArray) -> list[CalibrationBin]:
    """Return the calibration table: customers in order of their probabilities, cut into bins of almost equal
    size.
    """
    order = np.argsort(probabilities, kind="stable")
    return [
        CalibrationBin(
            n=len(part),
            predicted=round(float(probabilities[part].mean()), 6),
            observed=round(float(bought[part].mean()), 6),
        )
        for part in np.array_split(order, CALIBRATION_BINS)
        if len(part)
    ]


def _score(model: PropensityModel, later: FeatureTable) -> ModelScore:
    probabilities, bought = model.probabilities(later.raw), later.bought
    likely = np.clip(np.where(bought == 1, probabilities, 1 - probabilities), 1e-15, 1)
    return ModelScore(
        auc=round(_auc(probabilities, bought), 6),
        brier=round(float(np.mean((probabilities - bought) ** 2)), 6),
        log_loss=round(float(-np.log(likely).mean()), 6),
    )


def _auc(probabilities: FloatArray, bought: FloatArray) -> float:
    """Return the share of pairs of a buyer and a customer who did not buy in which the buyer has the higher
    probability. Equal probabilities count half (Mann and Whitney 1947).
    """
    _, places, counts = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    buyers = float(bought.sum())
    others = len(bought) - buyers
    return float((ranks[bought == 1].sum() - buyers * (buyers + 1) / 2) / (buyers * others))
