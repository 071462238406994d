"""Frequent questions are clusters of similar questions of several conversations."""

import numpy as np

from cluster.precomputed.frequent_questions import AskedQuestion, frequent


def unit(*angles: float) -> np.ndarray:
    return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], np.float32)


def test_similar_questions_are_counted_together_under_the_most_frequent_one() -> None:
    asked = [AskedQuestion("a", 3), AskedQuestion("b", 2), AskedQuestion("a?", 1), AskedQuestion("c", 1)]
    vectors = unit(0.0, 1.0, 0.05, 2.0)

    found = frequent(asked, vectors, similarity=0.97, least=2, most=10)
    assert found == [AskedQuestion("a", 4), AskedQuestion("b", 2)]
    assert frequent(asked, vectors, similarity=0.97, least=2, most=1) == [AskedQuestion("a", 4)]
    assert frequent([], np.empty((0, 2), np.float32), similarity=0.97, least=2, most=1) == []
