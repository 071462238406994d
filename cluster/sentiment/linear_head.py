"""Computes the sentiment of a text from the text's vector and VADER's numbers, with a linear head.

``open_head`` finds the weights that were trained for the vectors of a model. The weights are JSON files in
``weights/``, and docs/sentiment.md describes them. ``python -m benchmarks.profiles.train_sentiment`` trains
the weights with ``fit`` and measures them.

    head = open_head(fingerprint)
    head.score(vectors, lexicon_features(texts))       # (n,) float32 in [-1, 1]
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from cluster.engines.contract import Fingerprint
from cluster.records import digest
from cluster.sentiment.lexicon import FEATURES

#: Ridge penalty on the weights of the vector, and on the weights of VADER's numbers. The penalties were
#: chosen once, by the same comparison that docs/sentiment.md reports.
VECTOR_PENALTY, LEXICON_PENALTY = 15.0, 100.0
#: Total weight of each domain in the training, so that a large data set does not outweigh the others.
DOMAIN_WEIGHT = 5_000.0
#: Ratings of the data sets are from -4 to 4.
MAX_RATING = 4.0

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearHead:
    """The weights of a linear head."""

    #: Id of the fingerprint of the model whose vectors the head reads.
    space: str
    #: (dim + 3,) float32: weights of the vector's numbers, then of VADER's numbers.
    weights: Floats
    intercept: float

    @property
    def version(self) -> str:
        """Name of the head with a hash of its space, weights and intercept."""
        return f"linear-{digest(self.space, self.weights.tobytes().hex(), repr(self.intercept), size=6)}"

    def score(self, vectors: Floats, lexicon: Floats) -> Floats:
        """Return the sentiment of n texts: (n,) float32 from -1, very negative, to 1, very positive.

        Args:
            vectors: (n, dim) float32, unit length.
            lexicon: (n, 3) float32, the result of ``lexicon_features``.
        """
        scores: Floats = np.hstack([vectors, lexicon]) @ self.weights + np.float32(self.intercept)
        return scores.clip(-1.0, 1.0)

    def to_json(self) -> str:
        """Return the head as the JSON text of a file in ``weights/``, with rounded weights."""
        numbers = [float(f"{weight:.6g}") for weight in self.weights]
        return json.dumps({"space": self.space, "intercept": round(self.intercept, 8), "weights": numbers})


@dataclass(frozen=True, kw_only=True, eq=False)
class RatedTexts:
    """The texts of one domain with ratings by people."""

    #: (n, dim) float32.
    vectors: Floats
    #: (n, 3) float32, the result of ``lexicon_features``.
    lexicon: Floats
    #: (n,) float64: mean ratings from -4 to 4.
    ratings: NDArray[np.float64]


def fit(space: str, domains: Sequence[RatedTexts]) -> LinearHead:
    """Train a head by ridge regression. Every domain has the same weight.

    The ratings of a domain are standardised, because people rate different kinds of texts on different
    scales. A last regression computes one factor, which brings the predictions back to the scale of the
    ratings, divided by 4.
    """
    features = np.vstack([np.hstack([one.vectors, one.lexicon]) for one in domains]).astype(np.float64)
    target = np.concatenate([_standardised(one.ratings) for one in domains])
    sample = np.concatenate([np.full(len(one.ratings), DOMAIN_WEIGHT / len(one.ratings)) for one in domains])
    dim = features.shape[1] - len(FEATURES)
    penalty = np.full(features.shape[1], VECTOR_PENALTY)
    penalty[dim:] = LEXICON_PENALTY
    centre = np.average(features, axis=0, weights=sample)
    centred = features - centre
    weighted = centred * sample[:, None]
    weights = np.linalg.solve(weighted.T @ centred + np.diag(penalty), weighted.T @ target)
    predicted = centred @ weights
    ratings = np.concatenate([one.ratings for one in domains]) / MAX_RATING
    mean = np.average(ratings, weights=sample)
    factor = (sample * predicted) @ (ratings - mean) / ((sample * predicted) @ predicted)
    weights = weights * factor
    return LinearHead(
        space=space, weights=weights.astype(np.float32), intercept=float(mean - centre @ weights)
    )


def open_head(fingerprint: Fingerprint) -> LinearHead | None:
    """Return the head for the vectors of the model; None if no head was trained for these vectors."""
    return _heads().get(fingerprint.id)


@cache
def _heads() -> Mapping[str, LinearHead]:
    heads = {}
    for file in files("cluster.sentiment").joinpath("weights").iterdir():
        if file.name.endswith(".json"):
            content = json.loads(file.read_text())
            heads[content["space"]] = LinearHead(
                space=content["space"],
                weights=np.array(content["weights"], dtype=np.float32),
                intercept=content["intercept"],
            )
    return heads


def _standardised(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    standardised: NDArray[np.float64] = (ratings - ratings.mean()) / ratings.std()
    return standardised
