"""Reciprocal rank fusion computes the published sum, and ties do not depend on the order of the rankings."""

from itertools import permutations

import pytest

from cluster.vector_index import ScoredId
from cluster.vector_index.fusion import fuse


def ranking(ids: str) -> list[ScoredId]:
    """One id for each letter, all with a score that the fusion must ignore."""
    return [ScoredId(id=id, score=-1.0) for id in ids]


def test_the_score_is_the_sum_of_reciprocal_ranks_divided_by_the_largest_sum() -> None:
    scores = {hit.id: hit.score for hit in fuse([ranking("ab"), ranking("bc")], k=3)}
    assert scores == {
        "b": pytest.approx((1 / 62 + 1 / 61) / (2 / 61)),
        "a": pytest.approx(0.5),
        "c": pytest.approx(61 / 62 / 2),
    }


@pytest.mark.parametrize("count", range(1, 8))
def test_an_id_that_is_first_in_every_ranking_scores_exactly_one(count: int) -> None:
    assert fuse([ranking("ab")] * count, k=1)[0].score == 1.0


def test_equal_ranks_in_another_order_tie_and_ties_are_ordered_by_id() -> None:
    for rankings in permutations(["acb", "bac", "cba"]):
        fused = fuse([ranking(ids) for ids in rankings], k=3)
        assert [hit.id for hit in fused] == ["a", "b", "c"]
        assert len({hit.score for hit in fused}) == 1


def test_at_most_k_ids_are_returned() -> None:
    assert [hit.id for hit in fuse([ranking("abcdef"), []], k=2)] == ["a", "b"]
