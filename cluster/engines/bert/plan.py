"""The batching plan: the inputs that the encoder computes together.

Inputs are sorted by their number of tokens, so that inputs of equal length are neighbours and attention runs
on whole groups. A batch holds as many inputs as its token budget allows. Nothing is padded, so mixed lengths
cost nothing.

    for batch in plan(lengths, budget=4096):
        encode([inputs[i] for i in batch])
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def plan(
    lengths: Sequence[int] | NDArray[np.integer], *, budget: int, parts: int = 1
) -> list[NDArray[np.intp]]:
    """Indices of the inputs of each batch. Long inputs come first, and all batches have about equal work.

    Args:
        lengths: (n,) number of tokens of each input.
        budget: maximum number of tokens of one batch; a longer input is a batch by itself.
        parts: number of workers; the number of batches is a multiple of it if the inputs allow.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    total = int(lengths.sum())
    rounds = max(1, -(-total // (budget * parts)))
    share = total / (rounds * parts)
    order = np.argsort(-lengths, kind="stable")
    batches: list[NDArray[np.intp]] = []
    first, tokens, done = 0, 0, 0
    for position, length in enumerate(lengths[order].tolist()):
        # An input belongs to the share that holds its middle, so that rounding does not add up over many
        # batches.
        full = done + length / 2 > (len(batches) + 1) * share
        if position > first and (full or tokens + length > budget):
            batches.append(order[first:position])
            first, tokens = position, 0
        tokens += length
        done += length
    return [*batches, order[first:]] if len(order) else []


def groups(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Runs of equal lengths in a sorted batch as (first token, inputs, tokens of each)."""
    runs: list[tuple[int, int, int]] = []
    first = 0
    for length in lengths:
        if runs and runs[-1][2] == length:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, length)
        else:
            runs.append((first, 1, length))
        first += length
    return runs
