"""A linear layer on 8-bit integers: weights rounded once for each output, activations anew for each token.

``token * scale`` is the integers' scale, so a vector depends on its own tokens alone, as with the other types: one scale for a
whole batch would tie each vector to its neighbours, and one measured beforehand would cut what it had not seen. By oneDNN's
operator that torch's compiler emits for quantised models. Used by ``bert`` for all layers but the second of each feed-forward
block, whose inputs reach too far; that one keeps the type of the rest. ``int8_gate`` decides whether an engine may use it.

    layer = Int8Linear(weight, bias, "gelu")
    y = layer(x)                    # (rows, out) in the dtype of x
"""

import torch
from torch import Tensor

from cluster.engines.linear import TYPICAL_ROWS, Activation, activate
from cluster.engines.processor import adds_8_bit_products
from cluster.errors import Misconfigured

#: Steps from zero to the largest activation.
STEPS = 127
#: The same of a weight, where the processor adds four products in one instruction (VNNI, AMX).
WEIGHT_STEPS = 127
#: Elsewhere two products are first added in 16 bits, which more steps would overflow.
WEIGHT_STEPS_IN_16_BITS = 63
#: What a scale is at least: a token of nothing but zeros stays one.
LEAST = 1e-12


class Int8Linear:
    """``activation(x @ weight.T + bias)`` for x of (rows, in)."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Activation = "none") -> None:
        """Round the weight; it and the bias are float32."""
        steps = weight_steps()
        self._scale = weight.abs().amax(dim=1).clamp(min=LEAST) / steps
        self._zero = torch.zeros(len(weight), dtype=torch.int64)
        self._bias, self._activation = bias, activation
        rounded = torch.round(weight / self._scale[:, None]).clamp(-steps, steps).to(torch.int8)
        try:
            self._weight = torch.ops.onednn.qlinear_prepack(rounded, [TYPICAL_ROWS, weight.shape[1]])
            self(torch.zeros(2, weight.shape[1]))
        except (AttributeError, NotImplementedError, RuntimeError, TypeError) as exc:
            raise Misconfigured(f"this torch has no 8-bit layers ({exc}); set CLUSTER_PRECISION=auto") from exc

    def __call__(self, x: Tensor) -> Tensor:
        numbers = x.float()
        scale = numbers.abs().amax(dim=1, keepdim=True).clamp_(min=LEAST).div_(STEPS)
        rounded = (numbers / scale).round_().to(torch.int8)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, 0, self._weight, self._scale, self._zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return activate(y.mul_(scale).add_(self._bias), self._activation).to(x.dtype)


def weight_steps() -> int:
    """How finely this processor lets weights be rounded. It decides the vectors, so what was measured on one does not hold for another."""
    return WEIGHT_STEPS if adds_8_bit_products() else WEIGHT_STEPS_IN_16_BITS
