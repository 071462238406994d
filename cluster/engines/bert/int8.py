"""A linear layer on 8-bit integers: weights are rounded once per output, activations at each call per token.

With a scale per token, a vector depends on its own tokens only, as with the other types. One scale for a
whole batch would make it depend on its neighbours, and a scale measured beforehand would clip larger
activations. The products use oneDNN's operator, which torch's compiler emits for quantised models.
``forward`` uses this layer everywhere except for the second layer of each feed-forward block, whose inputs
have too wide a range. ``int8_gate`` decides whether an engine may use it.

The operator gets the activations as unsigned integers with a zero point of 128, which gives the same
products: on AVX-512 without AMX, oneDNN has a kernel for unsigned times signed integers, but for signed times
signed only its reference code, which is a thousand times slower.

    layer = Int8Linear(weight, bias, "gelu")
    y = layer(x)                    # (rows, out) in the dtype of x
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from cluster.engines.bert.linear import TYPICAL_ROWS, Activation, activate
from cluster.errors import Misconfigured

#: Integer of the largest activation.
STEPS = 127
#: The unsigned integer that stands for an activation of zero.
ZERO_POINT = 128
#: Integer of the largest weight if the processor adds four products in one instruction (VNNI or AMX).
WEIGHT_STEPS = 127
#: The same on other processors, which first add two products in 16 bits; larger weights would overflow.
WEIGHT_STEPS_IN_16_BITS = 63
#: Rows, inputs and outputs of the product that tells these processors apart.
PROBE = 16, 64, 64
#: Smallest scale; it avoids a division by zero for a token of zeros.
LEAST = 1e-12


class Int8Linear:
    """``activation(x @ weight.T + bias)`` for x of (rows, in)."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Activation = "none") -> None:
        """Round the weight. Weight and bias are float32.

        Raises:
            Misconfigured: this torch has no such operator.
        """
        steps = weight_steps()
        self._scale = weight.abs().amax(dim=1).clamp(min=LEAST) / steps
        self._zero = torch.zeros(len(weight), dtype=torch.int64)
        self._bias, self._activation = bias, activation
        self._weight = _packed(torch.round(weight / self._scale[:, None]).clamp(-steps, steps).to(torch.int8))

    def __call__(self, x: Tensor) -> Tensor:
        numbers = x.float()
        scale = numbers.abs().amax(dim=1, keepdim=True).clamp_(min=LEAST).div_(STEPS)
        rounded = (
            (numbers / scale).round_().to(torch.int8).view(torch.uint8).add_(ZERO_POINT)
        )  # the addition wraps around, as intended
        y = _product(rounded, ZERO_POINT, self._weight, self._scale, self._zero)
        return activate(y.mul_(scale).add_(self._bias), self._activation).to(x.dtype)


@cache
def weight_steps() -> int:
    """The number of steps for weights on this processor: the most whose products it adds without overflow.

    The vectors depend on it, so a recall measured with one number does not hold for another.

    Raises:
        Misconfigured: this torch has no 8-bit layers.
    """
    rows, inputs, outputs = PROBE
    try:
        weight = _packed(torch.full((outputs, inputs), WEIGHT_STEPS, dtype=torch.int8))
        largest = torch.full((rows, inputs), ZERO_POINT + STEPS, dtype=torch.uint8)
        found = _product(largest, 0, weight, torch.ones(outputs), torch.zeros(outputs, dtype=torch.int64))
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as exc:
        raise Misconfigured(f"this torch has no 8-bit layers ({exc}); set CLUSTER_PRECISION=auto") from exc
    exact = inputs * WEIGHT_STEPS * (ZERO_POINT + STEPS)
    return WEIGHT_STEPS if bool((found == exact).all()) else WEIGHT_STEPS_IN_16_BITS


def _packed(weight: Tensor) -> Any:
    """(out, in) int8 in oneDNN's layout."""
    return torch.ops.onednn.qlinear_prepack(weight, [TYPICAL_ROWS, weight.shape[1]])


def _product(x: Tensor, zero_point: int, weight: Any, scale: Tensor, zero: Tensor) -> Tensor:
    """(rows, out) float32: ``(x - zero_point) @ weight.T`` times the scale of each output."""
    y: Tensor = torch.ops.onednn.qlinear_pointwise(
        x, 1.0, zero_point, weight, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return y
