"""A linear layer that copies its weight once into oneDNN's layout, if torch offers oneDNN's operators.

torch's own float32 ``linear`` calls MKL and packs the weight again at every call. The operators of oneDNN are
private functions of torch, which torch's compiler uses. If the operators are missing, or fail in a test with
zeros, torch's own ``linear`` runs.

oneDNN applies the activation while the product is in registers. For float32 without AVX-512, this module uses
torch's GELU, because oneDNN's GELU takes four times as long on AVX2. torch's GELU takes a tenth of the whole
forward pass.
"""

from typing import Any, Literal

import structlog
import torch
from torch import Tensor
from torch.nn import functional

log = structlog.get_logger(__name__)

#: Number of rows for which oneDNN chooses the layout of the weight.
TYPICAL_ROWS = 2048

#: For batches of at most this number of rows (key), the number of rows is rounded up to a multiple of the
#: value. Small batches have small steps, because every extra row slows down a single query.
STEPS = {32: 4, 256: 16}
LARGE_STEP = 64

Activation = Literal["none", "gelu", "relu"]


def rounded_rows(rows: int) -> int:
    """Round a number of rows up to one of a few dozen values, for batches on a CPU.

    oneDNN and torch cache a plan for each layer and each number of rows. The plans of one model take up to
    two megabytes for one number of rows, and the caches hold the last thousand numbers of rows. With batches
    of every size, the memory of a saturated replica grew by 200 MiB a minute.
    """
    step = next((step for most, step in STEPS.items() if rows <= most), LARGE_STEP)
    return -(-rows // step) * step


class Linear:
    """Computes ``activation(x @ weight.T + bias)`` for x of (rows, in) in the weight's dtype."""

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
        """True if the weight is in oneDNN's layout."""
        return self._packed is not None


def _algorithm(activation: Activation) -> str:
    return "none" if activation == "gelu" else ""


def _fuses_gelu(dtype: torch.dtype) -> bool:
    return dtype != torch.float32 or "AVX512" in torch.backends.cpu.get_cpu_capability()


def activate(y: Tensor, activation: Activation) -> Tensor:
    """Apply the activation to ``y`` in place, and return ``y``."""
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
