"""Fits models of purchases with scikit-learn. The other modules of this package do not import scikit-learn.

model = fit(table, "logistic_regression", window_days=90)
fit_recency(table)                   # the baseline that every report shows beside the model
"""

import numpy as np

from cluster.profiles.propensity.features import INPUTS, FeatureTable, FloatArray
from cluster.profiles.propensity.model import (
    Algorithm,
    BoostedScorer,
    LinearScorer,
    OddsScorer,
    PropensityModel,
    Tree,
)

#: Number of trees of gradient boosting, their maximum depth, the learning rate, and the share of customers
#: from whom each tree learns.
TREES, DEPTH, RATE, SHARE = 100, 3, 0.05, 0.5


def fit(table: FeatureTable, algorithm: Algorithm, *, window_days: float) -> PropensityModel:
    """Fit a model to the features and labels. The same table always gives the same model.

    Args:
        table: must have both customers who bought and customers who did not.
        window_days: length of the window of the labels.
    """
    fitter = _fit_linear if algorithm == "logistic_regression" else _fit_boosted
    return PropensityModel(
        algorithm=algorithm,
        scorer=fitter(table.inputs, table.bought),
        medians=np.median(table.raw, axis=0),
        window_days=window_days,
    )


def fit_recency(table: FeatureTable, *, window_days: float) -> PropensityModel:
    """Fit a logistic regression that uses the recency as its only input."""
    recency = INPUTS.index("recency")
    alone = _fit_linear(table.inputs[:, [recency]], table.bought)
    weights = np.zeros(len(INPUTS))
    weights[recency] = alone.weights[0]
    return PropensityModel(
        algorithm="logistic_regression",
        scorer=LinearScorer(weights=weights, intercept=alone.intercept),
        medians=np.median(table.raw, axis=0),
        window_days=window_days,
    )


def _fit_linear(inputs: FloatArray, bought: FloatArray) -> LinearScorer:
    """Fit a logistic regression to standardised inputs, and return its weights for inputs that are not
    standardised.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  workers that train nothing do not load it

    mean, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale == 0] = 1.0
    fitted = LogisticRegression(max_iter=1_000).fit((inputs - mean) / scale, bought)
    weights = fitted.coef_[0] / scale
    return LinearScorer(weights=weights, intercept=float(fitted.intercept_[0] - weights @ mean))


def _fit_boosted(inputs: FloatArray, bought: FloatArray) -> OddsScorer:
    from sklearn.ensemble import GradientBoostingClassifier  # noqa: PLC0415  see ``_fit_linear``

    boosting = GradientBoostingClassifier(
        n_estimators=TREES, max_depth=DEPTH, learning_rate=RATE, subsample=SHARE, random_state=0
    ).fit(inputs, bought)
    share = float(bought.mean())
    trees = [
        Tree(
            feature=tree.feature.tolist(),
            threshold=tree.threshold.tolist(),
            left=tree.children_left.tolist(),
            right=tree.children_right.tolist(),
            value=tree.value[:, 0, 0].tolist(),
        )
        for tree in (estimator.tree_ for estimator in boosting.estimators_[:, 0])
    ]
    return BoostedScorer(start=float(np.log(share / (1 - share))), rate=RATE, trees=trees)
