"""Self-attention over packed tokens: each input attends to itself and to nothing else.

Called by ``bert`` with inputs sorted by length, so that equal lengths stand side by side. Queries come scaled already.
Three ways, by what is fastest where it was measured:

- float32 on a CPU: torch's fused kernel, one call for each run of equal lengths;
- bfloat16 on a CPU: two matrix products and a softmax, a cacheful of inputs at a time: 0.6 of the fused kernel's time,
  which computes bfloat16 no faster than float32;
- half precision on a GPU: one variable-length flash kernel over the whole batch (torch 2.10 and later). The packing is
  tested everywhere, the kernel itself only where a GPU is at hand.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from cluster.engines.plan import groups

#: (tokens, 3 * hidden) of queries, keys and values -> (tokens, hidden).
Attend = Callable[[Tensor], Tensor]

#: Attention scores held at once on a CPU: 2 MB in bfloat16. Four times as many took twice the time for each of them.
CPU_SCORES = 1 << 20
#: Below this length the fused kernel is as fast in bfloat16 too.
SHORT_TOKENS = 16


def attend_by(lengths: Sequence[int], *, heads: int, device: torch.device, dtype: torch.dtype) -> Attend:
    """The attention of one batch.

    Args:
        lengths: tokens of each input, sorted.
        heads: attention heads.
        device: where the batch is.
        dtype: type of the queries, keys and values.
    """
    if device.type == "cuda" and dtype != torch.float32 and (kernel := _varlen_kernel()) is not None:
        return _over_cumulative_lengths(kernel, lengths, heads, device)
    by_products = device.type == "cpu" and dtype == torch.bfloat16
    runs = list(_cachefuls(groups(lengths), heads)) if by_products else groups(lengths)

    def attend(qkv: Tensor) -> Tensor:
        tokens, width = qkv.shape
        out = qkv.new_empty(tokens, width // 3)
        for first, n, length in runs:
            part = slice(first, first + n * length)
            q, k, v = qkv[part].view(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            if by_products and length >= SHORT_TOKENS:
                mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
            else:
                mixed = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
            out[part] = mixed.transpose(1, 2).reshape(n * length, -1)
        return out

    return attend


def _cachefuls(runs: Sequence[tuple[int, int, int]], heads: int) -> list[tuple[int, int, int]]:
    parts = []
    for first, n, length in runs:
        most = max(1, CPU_SCORES // (heads * length * length))
        parts += [(first + start * length, min(most, n - start), length) for start in range(0, n, most)]
    return parts


def _varlen_kernel() -> Callable[..., Tensor] | None:
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  absent before torch 2.10
    except ImportError:
        return None
    return cast("Callable[..., Tensor]", varlen_attn)


def _over_cumulative_lengths(kernel: Callable[..., Tensor], lengths: Sequence[int], heads: int, device: torch.device) -> Attend:
    ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32).to(device)
    longest = max(lengths)
    # One split of the keys: a vector must not depend on what else is in its batch.
    options = {"num_splits": 1} if "num_splits" in inspect.signature(kernel).parameters else {}

    def attend(qkv: Tensor) -> Tensor:
        tokens, width = qkv.shape
        q, k, v = qkv.view(tokens, 3, heads, -1).unbind(1)
        return kernel(q, k, v, ends, ends, longest, longest, scale=1.0, **options).reshape(tokens, width // 3)

    return attend
