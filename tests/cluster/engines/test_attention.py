"""Attention over packed tokens: every implementation gives the result of attention on each input alone."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cluster.engines.bert.attention import Attend, attend_by, attend_within

HEADS, SIZE = 3, 8
LENGTHS = [300, 40, 40, 40, 17, 5, 5, 1]
BOUNDS = torch.tensor([0, *LENGTHS], dtype=torch.int32).cumsum(0, dtype=torch.int32)
CPU = torch.device("cpu")


def alone(qkv: Tensor, lengths: list[int]) -> Tensor:
    """Attention on each input by itself, in plain operations."""
    outs = []
    for part in qkv.double().split(lengths):
        q, k, v = part.view(-1, 3, HEADS, SIZE).permute(1, 2, 0, 3)
        outs.append(((q @ k.transpose(-1, -2)).softmax(-1) @ v).transpose(0, 1).reshape(len(part), -1))
    return torch.cat(outs)


def varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    ends_q: Tensor,
    ends_k: Tensor,
    longest_q: int,
    longest_k: int,
    *,
    scale: float,
) -> Tensor:
    """The documented result of torch's variable-length kernel, computed slowly without a GPU."""
    assert ends_q.dtype == ends_k.dtype == torch.int32
    assert longest_q == longest_k >= (ends_q[1:] - ends_q[:-1]).max()
    parts = []
    for start, end in zip(ends_q[:-1].tolist(), ends_q[1:].tolist(), strict=True):
        one = [x[start:end].transpose(0, 1) for x in (q, k, v)]
        parts.append(functional.scaled_dot_product_attention(*one, scale=scale).transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize(
    ("attend", "dtype", "tolerance"),
    [
        (attend_by(LENGTHS, heads=HEADS, device=CPU, dtype=torch.float32), torch.float32, 1e-5),
        (attend_by(LENGTHS, heads=HEADS, device=CPU, dtype=torch.bfloat16), torch.bfloat16, 4e-2),
        (attend_within(BOUNDS, longest=max(LENGTHS), heads=HEADS, kernel=varlen), torch.float32, 1e-5),
    ],
    ids=["fused", "products", "cumulative lengths"],
)
def test_inputs_attend_to_themselves_alone(attend: Attend, dtype: torch.dtype, tolerance: float) -> None:
    qkv = torch.randn(sum(LENGTHS), 3 * HEADS * SIZE, generator=torch.Generator().manual_seed(0)).to(dtype)
    torch.testing.assert_close(attend(qkv).double(), alone(qkv, LENGTHS), atol=tolerance, rtol=0)


def test_more_inputs_than_fit_the_cache_at_once_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.engines.bert.attention.CPU_SCORES", HEADS * 40 * 40 * 2)
    lengths = [40] * 7
    qkv = torch.randn(280, 3 * HEADS * SIZE, generator=torch.Generator().manual_seed(0)).bfloat16()
    attend = attend_by(lengths, heads=HEADS, device=CPU, dtype=torch.bfloat16)
    torch.testing.assert_close(attend(qkv).double(), alone(qkv, lengths), atol=4e-2, rtol=0)
