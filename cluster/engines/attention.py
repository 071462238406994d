"""Self-attention over packed tokens: each input attends to itself and to nothing else.

Written for inputs sorted by length: equal lengths stand side by side and are one call of torch's fused kernel.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from cluster.engines.plan import groups

#: (tokens, 3 * hidden) of queries, keys and values -> (tokens, hidden).
Attend = Callable[[Tensor], Tensor]


def attend_by(lengths: Sequence[int], *, heads: int, device: torch.device) -> Attend:
    """The attention of one batch.

    Args:
        lengths: tokens of each input, sorted.
        heads: attention heads.
        device: where the batch is.
    """
    del device
    runs = groups(lengths)

    def attend(qkv: Tensor) -> Tensor:
        tokens, width = qkv.shape
        out = qkv.new_empty(tokens, width // 3)
        for first, n, length in runs:
            part = slice(first, first + n * length)
            q, k, v = qkv[part].view(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            out[part] = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n * length, -1)
        return out

    return attend
