"""Combine several rankings into one ranking by reciprocal rank fusion, which does not compare scores.

Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
Methods", SIGIR 2009: score(d) = sum over rankings of 1 / (k + rank(d)), with k = 60 and ranks from 1.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import fsum

from cluster.vector_index.contract import ScoredId

K = 60


def fuse(rankings: Sequence[Sequence[ScoredId]], *, k: int, largest: int | None = None) -> list[ScoredId]:
    """Return the k best ids of all rankings together. Equal scores are ordered by id.

    A score is the RRF sum divided by the largest possible sum, so 1 means first in every ranking.

    Args:
        largest: maximum number of rankings that can contain the same id; None: all rankings.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    for ranking in rankings:
        for rank, one in enumerate(ranking, start=1):
            shares[one.id].append(1 / (K + rank))
    # ``fsum`` gives exactly the same sum for the same ranks in any order. With ``sum``, two equal scores
    # could differ slightly, and then would not be ordered by id.
    best_sum = fsum([1 / (K + 1)] * (len(rankings) if largest is None else largest))
    scores = {id: fsum(of) / best_sum for id, of in shares.items()}
    best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    return [ScoredId(id=id, score=scores[id]) for id in best]


def merge(rankings: Sequence[list[ScoredId]], *, k: int) -> list[ScoredId]:
    """Merge rankings whose scores can be compared, and return the k best ids. Equal scores are ordered by id.
    A single ranking is returned unchanged.
    """
    if len(rankings) == 1:
        return rankings[0]
    return sorted((one for ranking in rankings for one in ranking), key=lambda one: (-one.score, one.id))[:k]
