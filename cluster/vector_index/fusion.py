"""Combine several rankings into one ranking by reciprocal rank fusion, which does not compare scores.

Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
Methods", SIGIR 2009: score(d) = sum over rankings of 1 / (k + rank(d)), with k = 60 and ranks from 1.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import fsum

from cluster.vector_index.contract import ScoredId

K = 60


def fuse(rankings: Sequence[Sequence[ScoredId]], *, k: int) -> list[ScoredId]:
    """Return the k best ids of all rankings together. Equal scores are ordered by id.

    A score is the RRF sum divided by the largest possible sum, so 1 means first in every ranking.
    """
    shares: dict[str, list[float]] = defaultdict(list)
    for ranking in rankings:
        for rank, one in enumerate(ranking, start=1):
            shares[one.id].append(1 / (K + rank))
    # ``fsum`` gives exactly the same sum for the same ranks in any order. With ``sum``, two equal scores
    # could differ slightly, and then would not be ordered by id.
    best_sum = fsum([1 / (K + 1)] * len(rankings))
    scores = {id: fsum(of) / best_sum for id, of in shares.items()}
    best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    return [ScoredId(id=id, score=scores[id]) for id in best]
