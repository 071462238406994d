"""Reciprocal rank fusion: one ranking from several, without comparing their scores.

Cormack, Clarke and Buettcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning Methods",
SIGIR 2009: score(d) = sum over rankings of 1 / (k + rank(d)), with k = 60 and ranks from 1.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from cluster.vector_index.contract import Hit

K = 60


def fuse(rankings: Sequence[Sequence[Hit]], *, k: int) -> list[Hit]:
    """The k best hits of all rankings together; equal scores are ordered by id.

    The score is the sum over the best sum there can be, so that 1 means first in every ranking.
    """
    best_sum = len(rankings) / (K + 1)
    scores: dict[str, float] = defaultdict(float)
    hits: dict[str, Hit] = {}
    for ranking in rankings:
        for rank, hit in enumerate(ranking, start=1):
            scores[hit.id] += 1 / (K + rank) / best_sum
            hits.setdefault(hit.id, hit)
    best = sorted(scores, key=lambda id: (-scores[id], id))[:k]
    return [replace(hits[id], score=scores[id]) for id in best]
