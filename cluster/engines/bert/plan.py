"""Plan batches: decide which inputs the encoder computes together.

Inputs are sorted by their number of tokens. Inputs of equal length are then neighbours, and attention
computes them as one group. The token budget limits each batch. Nothing is padded, so inputs of different
lengths in one batch cost nothing.

    for batch in plan(lengths, budget=4096):
        encode([inputs[i] for i in batch])
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def plan(
    lengths: Sequence[int] | NDArray[np.integer], *, budget: int, parts: int = 1
) -> list[NDArray[np.intp]]:
    """Return the indices of the inputs of each batch: long inputs first, about equal work in all batches.

    Args:
        lengths: (n,) number of tokens of each input.
        budget: maximum number of tokens of one batch. A longer input gets a batch of its own.
        parts: number of workers. The number of batches is a multiple of ``parts`` if the inputs allow it.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    total = int(lengths.sum())
    rounds = max(1, -(-total // (budget * parts)))
    share = total / (rounds * parts)
    order = np.argsort(-lengths, kind="stable")
    batches: list[NDArray[np.intp]] = []
    first, tokens, done = 0, 0, 0
    for position, length in enumerate(lengths[order].tolist()):
        # An input belongs to the share that contains its middle token. This rule prevents rounding errors
        # from adding up over many batches.
        full = done + length / 2 > (len(batches) + 1) * share
        if position > first and (full or tokens + length > budget):
            batches.append(order[first:position])
            first, tokens = position, 0
        tokens += length
        done += length
    return [*batches, order[first:]] if len(order) else []


def groups(lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """Group the inputs of a sorted batch by length: (first token, number of inputs, tokens per input)."""
    runs: list[tuple[int, int, int]] = []
    first = 0
    for length in lengths:
        if runs and runs[-1][2] == length:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, length)
        else:
            runs.append((first, 1, length))
        first += length
    return runs
