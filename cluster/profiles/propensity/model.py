"""Scores customers with a trained model of purchases, and computes which features drive each score.

``fitting`` makes models with scikit-learn; this module does not need scikit-learn. A model is stored as JSON
and never as a pickle.

    model = PropensityModel.from_json(row.parameters)
    model.probabilities(raw)           # (n,) float64
    model.drivers(raw)                 # (n, 4) float64: effect of each raw feature on the log-odds
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, Protocol

import numpy as np
import orjson

from cluster.profiles.propensity.features import RAW, FloatArray, inputs_of

Algorithm = Literal["logistic_regression", "gradient_boosting"]


class OddsScorer(Protocol):
    """Computes log-odds from the inputs of customers."""

    def log_odds(self, inputs: FloatArray) -> FloatArray:
        """Return the log-odds of a purchase, (n,) float64, from inputs (n, 6) float64."""

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as JSON values."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearScorer:
    """A logistic regression."""

    #: (6,) weights of the inputs.
    weights: FloatArray
    intercept: float

    def log_odds(self, inputs: FloatArray) -> FloatArray:
        """Return the weighted sum of the inputs plus the intercept."""
        return np.asarray(inputs @ self.weights + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """Return the parameters."""
        return {"weights": self.weights.tolist(), "intercept": self.intercept}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """A regression tree as parallel lists, with one entry for each node. The root is node 0."""

    #: Index of the input that the node compares; negative for a leaf.
    feature: Sequence[int]
    threshold: Sequence[float]
    #: The next node for inputs that are at most the threshold.
    left: Sequence[int]
    #: The next node for inputs that are greater than the threshold.
    right: Sequence[int]
    #: Value of the node, which is used if the node is a leaf.
    value: Sequence[float]

    def values(self, inputs: FloatArray) -> FloatArray:
        """Return, for each row of inputs, the value of the leaf that the row reaches, (n,) float64."""
        feature, threshold = np.array(self.feature), np.array(self.threshold)
        left, right = np.array(self.left), np.array(self.right)
        # scikit-learn compares inputs as 32-bit numbers. The same precision is used here to reach the same
        # leaves.
        compared = inputs.astype(np.float32)
        node, rows = np.zeros(len(inputs), dtype=np.intp), np.arange(len(inputs))
        while (inner := feature[node] >= 0).any():
            low = compared[rows, np.maximum(feature[node], 0)] <= threshold[node]
            node = np.where(inner, np.where(low, left[node], right[node]), node)
        return np.asarray(np.array(self.value)[node])

    def to_json(self) -> dict[str, Any]:
        """Return the lists of the tree by name."""
        names = ("feature", "threshold", "left", "right", "value")
        return {name: list(getattr(self, name)) for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class BoostedScorer:
    """The result of gradient boosting: a start value and regression trees whose scaled values are added to
    it.
    """

    #: Log-odds before the first tree.
    start: float
    #: Factor of each tree's value.
    rate: float
    trees: Sequence[Tree]

    def log_odds(self, inputs: FloatArray) -> FloatArray:
        """Return the start plus the scaled values of the trees."""
        total = np.full(len(inputs), self.start)
        for tree in self.trees:
            total += self.rate * tree.values(inputs)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return the parameters."""
        return {"start": self.start, "rate": self.rate, "trees": [tree.to_json() for tree in self.trees]}


@dataclass(frozen=True, kw_only=True, slots=True)
class PropensityModel:
    """Scores customers by their raw features."""

    algorithm: Algorithm
    scorer: OddsScorer
    #: (4,) median of each raw feature of the customers from whom the model learned.
    medians: FloatArray
    #: Length of the window whose purchases the model predicts, in days.
    window_days: float

    @property
    def version(self) -> str:
        """The hash of all parameters. Models with the same version give the same scores."""
        return f"{self.algorithm}-{sha256(orjson.dumps(self.to_json())).hexdigest()[:16]}"

    def probabilities(self, raw: FloatArray) -> FloatArray:
        """Return the probability that each customer buys in the window, (n,) float64."""
        return np.asarray(1 / (1 + np.exp(-self.scorer.log_odds(inputs_of(raw)))))

    def drivers(self, raw: FloatArray) -> FloatArray:
        """Return the effect of each raw feature of each customer, (n, 4) float64: the log-odds, minus the
        log-odds of the same customer with the median of this feature.
        """
        odds = self.scorer.log_odds(inputs_of(raw))
        effects = np.empty_like(raw)
        for column in range(raw.shape[1]):
            changed = raw.copy()
            changed[:, column] = self.medians[column]
            effects[:, column] = odds - self.scorer.log_odds(inputs_of(changed))
        return effects

    def to_json(self) -> dict[str, Any]:
        """Return the algorithm with all parameters, as JSON values."""
        return {
            "algorithm": self.algorithm,
            "features": list(RAW),
            "medians": self.medians.tolist(),
            "window_days": self.window_days,
            **self.scorer.to_json(),
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "PropensityModel":
        """Return the model with the parameters that ``to_json`` returned."""
        scorer: OddsScorer
        if given["algorithm"] == "logistic_regression":
            scorer = LinearScorer(weights=np.array(given["weights"]), intercept=given["intercept"])
        else:
            trees = [Tree(**tree) for tree in given["trees"]]
            scorer = BoostedScorer(start=given["start"], rate=given["rate"], trees=trees)
        return cls(
            algorithm=given["algorithm"],
            scorer=scorer,
            medians=np.array(given["medians"]),
            window_days=given["window_days"],
        )
