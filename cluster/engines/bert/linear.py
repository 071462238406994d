"""A linear layer, with its weight laid out once for oneDNN where torch offers that.

torch's own float32 ``linear`` goes to MKL and re-packs the weight at every call. The operators of oneDNN are private to torch
(its compiler emits them), so their absence or refusal is expected: then the plain layer runs.

oneDNN applies the activation while the product is in its registers, except where its GELU is the slower one: with AVX2 it takes
four times as long as torch's, a tenth of the whole forward.
"""

from typing import Any, Literal

import structlog
import torch
from torch import Tensor
from torch.nn import functional

log = structlog.get_logger(__name__)

#: oneDNN picks the layout for about this many rows.
TYPICAL_ROWS = 2048

#: Up to so many rows they come in steps of the number beside it; of a lone query each row is felt.
STEPS = {32: 4, 256: 16}
LARGE_STEP = 64

Activation = Literal["none", "gelu", "relu"]


def rounded_rows(rows: int) -> int:
    """So many rows or a few more: one of the few dozen numbers that batches are brought to on a CPU.

    oneDNN, and torch around it, keep what they worked out for a layer and a number of rows: up to two megabytes a model for each
    of the last thousand numbers. With batches of every size a replica at saturation grew by 200 MiB a minute.
    """
    step = next((step for most, step in STEPS.items() if rows <= most), LARGE_STEP)
    return -(-rows // step) * step


class Linear:
    """``activation(x @ weight.T + bias)`` for x of (rows, in) in the weight's dtype."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Activation = "none") -> None:
        self.weight, self.bias, self.activation = weight, bias, activation
        self._fused: Activation = activation if activation == "relu" or _fuses_gelu(weight.dtype) else "none"
        self._packed = _pack(weight, bias, self._fused)

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed is None:
            return activate(functional.linear(x, self.weight, self.bias), self.activation)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._packed, self.bias, self._fused, [], _algorithm(self._fused)
        )
        return y if self._fused == self.activation else activate(y, self.activation)

    @property
    def packed(self) -> bool:
        """True when the weight is laid out for oneDNN."""
        return self._packed is not None


def _algorithm(activation: Activation) -> str:
    return "none" if activation == "gelu" else ""


def _fuses_gelu(dtype: torch.dtype) -> bool:
    return dtype != torch.float32 or "AVX512" in torch.backends.cpu.get_cpu_capability()


def activate(y: Tensor, activation: Activation) -> Tensor:
    """The activation of a product, in the product's own memory."""
    if activation == "none":
        return y
    return torch.ops.aten.gelu_(y) if activation == "gelu" else y.relu_()


def _pack(weight: Tensor, bias: Tensor, activation: Activation) -> Any:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_ROWS)
        probe = torch.zeros(2, weight.shape[1], dtype=weight.dtype)
        torch.ops.mkldnn._linear_pointwise(probe, packed, bias, activation, [], _algorithm(activation))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as exc:
        log.info("onednn_packing_unavailable", reason=str(exc).splitlines()[0])
        return None
    return packed
