"""The plane of a map is the one of an exact decomposition, and a sample is spread over its store."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.documents.embedding_map import project


def exact_shares(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """The shares of the variance on the first two principal components, by a full decomposition."""
    values = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False).astype(np.float64) ** 2
    return np.asarray(values[:2] / values.sum())


@pytest.mark.parametrize(("count", "dim"), [(2_000, 384), (300, 1_536), (5, 3)])
def test_the_plane_shows_as_much_variance_as_an_exact_decomposition(count: int, dim: int) -> None:
    random = np.random.default_rng(1)
    falls_slowly = 1 / np.sqrt(np.arange(1, dim + 1))
    vectors = (random.standard_normal((count, dim)) * falls_slowly).astype(np.float32)
    drawn = project(vectors)
    assert sum(drawn.explained) == pytest.approx(exact_shares(vectors).sum(), rel=1e-3)
    assert drawn.points.shape == (count, 2)
    assert np.allclose(drawn.points.mean(axis=0), 0, atol=1e-4)
    assert np.array_equal(drawn.points, project(vectors).points)


def test_two_groups_of_vectors_are_apart_on_the_map() -> None:
    random = np.random.default_rng(2)
    near = random.standard_normal((50, 64)).astype(np.float32) * 0.05
    groups = np.concatenate([near + np.eye(64, dtype=np.float32)[one] for one in (0, 1)])
    x = project(groups).points[:, 0]
    assert (x[:50] > 0).all() != (x[50:] > 0).all()
    assert abs(x[:50].mean() - x[50:].mean()) == pytest.approx(np.sqrt(2), abs=0.1)


@pytest.mark.parametrize("vectors", [np.empty((0, 1)), np.ones((1, 8)), np.ones((4, 8)), np.ones((3, 1))])
def test_vectors_without_a_difference_are_all_at_the_origin(vectors: NDArray[Any]) -> None:
    drawn = project(vectors.astype(np.float32))
    assert (drawn.points.tolist(), drawn.explained) == ([[0.0, 0.0]] * len(vectors), (0.0, 0.0))
