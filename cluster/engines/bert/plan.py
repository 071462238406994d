"""Plan batches: decide which inputs the encoder computes together.

Inputs are sorted by their number of tokens. Inputs of equal length are then neighbours, and attention
computes these neighbours as one group. The token budget limits each batch. Nothing is padded, so a batch with
inputs of different lengths takes no extra time for padding.

    for batch in plan(lengths, budget=4096):
        encode([inputs[i] for i in batch])
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def plan(
    lengths: Sequence[int] | NDArray[np.integer], *, budget: int, parts: int = 1
) -> list[NDArray[np.intp]]:
    """Divide the inputs into batches with about equal numbers of tokens, the longest inputs first.

    Return the indices of the inputs of each batch.

    Args:
        lengths: (n,) number of tokens of each input.
        budget: maximum number of tokens of one batch. A longer input gets a batch of its own.
        parts: number of workers. If possible, the number of batches is a multiple of ``parts``.
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
    """Group the inputs of a sorted batch by length.

    Return for each group: the position of its first token, the number of inputs, the tokens of one input.
    """
    runs: list[tuple[int, int, int]] = []
    first = 0
    for length in lengths:
        if runs and runs[-1][2] == length:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, length)
        else:
            runs.append((first, 1, length))
        first += length
    return runs
