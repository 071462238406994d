"""A linear layer that multiplies 8-bit integers.

Weights are rounded once, with one scale per output. Activations are rounded at each call, with one scale per
token. Because each token has its own scale, a vector depends on the tokens of its own input only. One scale
for a whole batch would make a vector depend on the other inputs, and a scale measured beforehand would clip
larger activations. The products use oneDNN's operator, which torch's compiler emits for quantised models.
``forward`` uses 8 bits for all linear layers except the second layer of each feed-forward block, because the
inputs of that second layer have too wide a range. ``int8_gate`` decides whether an engine may use 8 bits.

The operator gets the activations as unsigned integers with a zero point of 128, which gives the same
products. The reason is speed: on AVX-512 without AMX, oneDNN has a kernel for unsigned times signed integers.
For signed times signed integers, oneDNN has only reference code, which is a thousand times slower.

    layer = Int8Linear(weight, bias, "gelu")
    y = layer(x)                    # (rows, out) in the dtype of x
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from cluster.engines.bert.linear import TYPICAL_ROWS, Activation, activate
from cluster.errors import Misconfigured

#: Integer that represents the largest activation of a token.
STEPS = 127
#: The unsigned integer that represents an activation of zero.
ZERO_POINT = 128
#: Integer that represents the largest weight if one instruction adds four products (VNNI or AMX).
WEIGHT_STEPS = 127
#: Integer that represents the largest weight on other processors. Other processors first add two products in
#: 16 bits, and this sum would overflow with larger weights.
WEIGHT_STEPS_IN_16_BITS = 63
#: Numbers of rows, inputs and outputs of the matrix product with which ``weight_steps`` tests the processor.
PROBE = 16, 64, 64
#: The largest absolute number of a token or an output counts as at least this value. This avoids a division
#: by zero if all numbers of the token or the output are zero.
LEAST = 1e-12


class Int8Linear:
    """Computes ``activation(x @ weight.T + bias)`` in 8 bits, for x of (rows, in)."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: Activation = "none") -> None:
        """Round the weight to 8 bits. Weight and bias are float32.

        Raises:
            Misconfigured: this torch has no operator for 8-bit layers.
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
        )  # the addition overflows, so that -127 to 127 become 1 to 255
        y = _product(rounded, ZERO_POINT, self._weight, self._scale, self._zero)
        return activate(y.mul_(scale).add_(self._bias), self._activation).to(x.dtype)


@cache
def weight_steps() -> int:
    """Return the integer for the largest weight: 127 if this processor adds products of 127 exactly, else 63.

    The vectors depend on this integer, so a recall measured with one integer does not hold for the other.

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
    """Copy the weight, (out, in) int8, into oneDNN's layout."""
    return torch.ops.onednn.qlinear_prepack(weight, [TYPICAL_ROWS, weight.shape[1]])


def _product(x: Tensor, zero_point: int, weight: Any, scale: Tensor, zero: Tensor) -> Tensor:
    """Return ``(x - zero_point) @ weight.T`` times the scale of each output: (rows, out) float32."""
    y: Tensor = torch.ops.onednn.qlinear_pointwise(
        x, 1.0, zero_point, weight, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return y
