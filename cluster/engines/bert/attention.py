"""Compute self-attention over packed tokens: a token attends to the tokens of its own input only.

``forward`` calls this module with inputs sorted by length, which makes inputs of equal length neighbours. The
caller has already scaled the queries. There are three implementations. Each implementation was the fastest in
measurements for its device and number type:

- bfloat16 on a CPU: two matrix products and a softmax, over as many inputs at a time as fit into the cache.
    They take 0.6 of the time of the fused kernel, which computes bfloat16 no faster than float32;
- half precision on a GPU: one variable-length flash kernel over the whole batch (torch 2.10 and later). The
    tests check the arguments of this kernel on every machine, but run the kernel only on a GPU;
- all other cases, such as float32 or very short inputs on a CPU: torch's fused kernel, with one call for each
    group of inputs of equal length.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from cluster.engines.bert.plan import groups

#: Turns queries, keys and values, (tokens, 3 * hidden), into the result of attention, (tokens, hidden).
Attend = Callable[[Tensor], Tensor]
#: Turns the number of tokens of an input into the bias of the input's attention scores, (1, heads, tokens,
#: tokens).
BiasOf = Callable[[int], Tensor]

#: torch's ``varlen_attn``, or a function with the same result.
Kernel = Callable[..., Tensor]

#: Maximum number of attention scores that one matrix product computes on a CPU, unless a single input has
#: more scores. This number of scores takes 2 MB in bfloat16. With four times as many scores, each score took
#: twice the time.
CPU_SCORES = 1 << 20
#: On each side of the query, all keys at this distance or farther have the same bias.
FARTHEST = 128
#: For inputs with fewer tokens than this, the fused kernel is as fast as the matrix products in bfloat16.
SHORT_TOKENS = 16


def attend_by(
    lengths: Sequence[int],
    *,
    heads: int,
    device: torch.device,
    dtype: torch.dtype,
    bias_of: BiasOf | None = None,
) -> Attend:
    """Return a function that computes the attention of one batch.

    Args:
        lengths: number of tokens of each input, sorted by this number.
        heads: number of attention heads.
        device: device of the batch.
        dtype: type of the queries, keys and values.
        bias_of: returns the bias to add to the scores of an input with a given number of tokens. None: the
            model has no such bias.
    """
    by_products = device.type == "cpu" and dtype == torch.bfloat16
    runs = list(_cachefuls(groups(lengths), heads)) if by_products else groups(lengths)
    biases = {length: bias_of(length).to(dtype) for length in set(lengths)} if bias_of else {}

    def attend(qkv: Tensor) -> Tensor:
        tokens, width = qkv.shape
        out = qkv.new_empty(tokens, width // 3)
        for first, n, length in runs:
            part = slice(first, first + n * length)
            q, k, v = qkv[part].view(n, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            bias = biases.get(length)
            if by_products and length >= SHORT_TOKENS:
                scores = q @ k.transpose(-1, -2)
                mixed = (scores if bias is None else scores + bias).softmax(-1) @ v
            else:
                mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
            out[part] = mixed.transpose(1, 2).reshape(n * length, -1)
        out[first + n * length :] = 0  # padding rows, which belong to no input
        return out

    return attend


def bias_by_distance(table: Tensor, *, longest: int) -> BiasOf:
    """Return a function that gives the attention bias of an input, given the input's number of tokens.

    As in T5 and MPNet, the bias depends on the distance from the query to the key.

    Args:
        table: (rows, heads) biases, as stored in the model.
        longest: maximum number of tokens of an input.
    """
    by_distance = biases_by_distance(table, longest=longest)

    def bias_of(length: int) -> Tensor:
        places = torch.arange(length, device=table.device)
        return by_distance[:, places[None, :] - places[:, None] + longest - 1].unsqueeze(0)

    return bias_of


def biases_by_distance(table: Tensor, *, longest: int) -> Tensor:
    """Return the bias of every distance from ``1 - longest`` to ``longest - 1``: (heads, 2 * longest - 1).

    The formula is that of Raffel et al. 2020, arXiv:1910.10683, section 2.1. The second half of the table's
    rows is for keys after the query, and the first half is for all other keys. In each half, each of the
    first rows is for one distance, and each of the later rows is for a range of distances. The later rows
    are as many as the first rows. The ranges widen logarithmically up to 128, and all farther keys have the
    last row.
    """
    half = table.shape[0] // 2
    single = half // 2
    distances = torch.arange(1 - longest, longest)
    far = distances.abs().clamp(min=1).float()
    wide = single + (torch.log(far / single) / math.log(FARTHEST / single) * (half - single)).long()
    rows = torch.where(distances.abs() < single, distances.abs(), wide.clamp(max=half - 1)) + half * (
        distances > 0
    )
    return table[rows.to(table.device)].T.contiguous()


def _cachefuls(runs: Sequence[tuple[int, int, int]], heads: int) -> list[tuple[int, int, int]]:
    parts = []
    for first, n, length in runs:
        most = max(1, CPU_SCORES // (heads * length * length))
        parts += [(first + start * length, min(most, n - start), length) for start in range(0, n, most)]
    return parts


def varlen_kernel(device: torch.device, dtype: torch.dtype) -> Kernel | None:
    """Return torch's attention kernel for inputs of different lengths. This kernel accepts no bias.

    Return None if torch has no such kernel for this device and number type, or is older than version 2.10.
    """
    if device.type != "cuda" or dtype == torch.float32:
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415  new in torch 2.10
    except ImportError:
        return None
    return cast("Kernel", varlen_attn)


def attend_within(bounds: Tensor, *, longest: int, heads: int, kernel: Kernel) -> Attend:
    """Return a function that computes the attention of one batch in one kernel call.

    Args:
        bounds: (inputs + 1,) int32 on the batch's device: first token of each input, end of the last input.
        longest: the number of tokens of the longest input, or a larger number.
        heads: number of attention heads.
        kernel: the result of ``varlen_kernel``.
    """
    # The kernel must not split the keys, because then a vector would depend on the other inputs of the batch.
    options = {"num_splits": 1} if "num_splits" in inspect.signature(kernel).parameters else {}

    def attend(qkv: Tensor) -> Tensor:
        tokens, width = qkv.shape
        q, k, v = qkv.view(tokens, 3, heads, -1).unbind(1)
        return kernel(q, k, v, bounds, bounds, longest, longest, scale=1.0, **options).reshape(
            tokens, width // 3
        )

    return attend
