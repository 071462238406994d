"""The batching plan keeps its promises for arbitrary loads."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cluster.engines.bert.plan import groups, plan

Lengths = st.lists(st.integers(1, 600), max_size=200)


@given(Lengths, st.integers(1, 2000), st.integers(1, 8))
def test_every_input_is_in_exactly_one_batch(lengths: list[int], budget: int, parts: int) -> None:
    assert sorted(i for batch in plan(lengths, budget=budget, parts=parts) for i in batch) == list(
        range(len(lengths))
    )


@given(Lengths, st.integers(1, 2000), st.integers(1, 8))
def test_no_batch_is_over_budget_unless_one_input_is(lengths: list[int], budget: int, parts: int) -> None:
    for batch in plan(lengths, budget=budget, parts=parts):
        assert len(batch) >= 1
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= budget


@given(Lengths, st.integers(1, 2000), st.integers(1, 8))
def test_equal_lengths_are_neighbours(lengths: list[int], budget: int, parts: int) -> None:
    order = [lengths[i] for batch in plan(lengths, budget=budget, parts=parts) for i in batch]
    assert all(first >= second for first, second in pairwise(order))


@given(st.lists(st.integers(1, 30), min_size=40, max_size=200), st.integers(2, 4))
def test_every_worker_gets_an_equal_share_of_a_small_load(lengths: list[int], parts: int) -> None:
    shares = [sum(lengths[i] for i in batch) for batch in plan(lengths, budget=10_000, parts=parts)]
    assert len(shares) == parts
    assert max(shares) - min(shares) <= 2 * max(lengths)


@given(Lengths)
def test_groups_together_are_all_lengths(lengths: list[int]) -> None:
    runs = groups(sorted(lengths))
    assert [length for _, n, length in runs for _ in range(n)] == sorted(lengths)
    assert [first for first, _, _ in runs] == [
        sum(n * length for _, n, length in runs[:i]) for i in range(len(runs))
    ]
