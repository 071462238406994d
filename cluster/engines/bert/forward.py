"""Run BERT and related encoders on packed tokens: one matrix has a row for each token of all inputs.

Inputs are not padded to one length. Linear layers run on the whole matrix of tokens. Attention runs on groups
of inputs of equal length, or on a GPU in one kernel for inputs of different lengths (see ``attention``).
``families`` lists the supported families.

    encoder = BertEncoder(folder, device=torch.device("cpu"), dtype=torch.float32)
    vectors = encoder(ids)                   # (n, dim) float32, unit length
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cluster.engines.bert.attention import Attend, attend_by, attend_within, bias_by_distance, varlen_kernel
from cluster.engines.bert.gpu import Packed, pooled, to_gpu
from cluster.engines.bert.int8 import Int8Linear
from cluster.engines.bert.linear import Activation, Linear, rounded_rows
from cluster.engines.bert.plan import groups
from cluster.engines.bert.weights import ACTIVATIONS, Affine, BertWeights
from cluster.engines.families import FAMILIES, family_of
from cluster.engines.weights import ModelFolder


def supports(folder: ModelFolder) -> str | None:
    """Return the reason why this forward pass cannot run the model; None if there is no reason."""
    config = folder.config
    family = family_of(config)
    if family is None:
        return f"its architecture is {config.get('model_type')}, not {', '.join(FAMILIES)}"
    if config.get("position_embedding_type", "absolute") != "absolute":
        return f"its positions are {config['position_embedding_type']}, not absolute"
    if config.get(family.activation) not in ACTIVATIONS:
        return f"its activation is {config.get(family.activation)}"
    if folder.pooling not in {"mean", "cls"}:
        return f"its pooling is {folder.pooling or 'unknown'}"
    if folder.peculiarities:
        return f"it has {', '.join(folder.peculiarities)}"
    return None


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: Linear | Int8Linear
    projection: Linear | Int8Linear
    norm_attention: _Norm
    up: Linear | Int8Linear
    down: Linear
    norm_output: _Norm

    def __call__(self, x: Tensor, attend: Attend) -> Tensor:
        x = self.norm_attention(self.projection(attend(self.qkv(x))) + x)
        return self.norm_output(self.down(self.up(x)) + x)


class BertEncoder:
    """Turns the token ids of a batch into vectors of unit length. Safe to call from several threads."""

    def __init__(
        self, folder: ModelFolder, *, device: torch.device, dtype: torch.dtype, int8: bool = False
    ) -> None:
        """Load the weights.

        Args:
            folder: folder of the model.
            device: device that computes the vectors.
            dtype: number type of the layers.
            int8: True to compute all linear layers in 8 bits, except the second linear layer of each
                feed-forward block. Only for a CPU.
        """
        weights = BertWeights(folder)
        self.device, self.dtype = device, dtype
        self.heads, self.dim, self.pooling = weights.heads, weights.hidden, folder.pooling
        # The embeddings are float32 even if the layers are not. A smaller type would not make them faster,
        # because they are only looked up. On a CPU, the word embeddings stay in the mapped file.
        self._words, self._positions = weights.words.to(device), weights.positions.to(device)
        self._norm = _norm(weights.embeddings, weights.eps, device, torch.float32)
        table = weights.distance_bias
        self._bias_of = (
            None if table is None else bias_by_distance(table.to(device), longest=len(self._positions))
        )
        self._kernel = varlen_kernel(device, dtype) if table is None else None
        self._layers = [_layer(weights, number, device, dtype, int8) for number in range(weights.depth)]

    @property
    def has_kernel(self) -> bool:
        """True if the encoder has an attention kernel that computes inputs of different lengths in one call.

        ``vectors`` needs this kernel.
        """
        return self._kernel is not None

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """Compute the vectors of n inputs, (n, dim) float32, on the encoder's device.

        The inputs are sorted by length and include their special tokens.
        """
        if self.has_kernel:
            return self.vectors(to_gpu(ids, self.device))
        lengths = [len(one) for one in ids]
        rows = np.zeros(
            (2, rounded_rows(sum(lengths)) if self.device.type == "cpu" else sum(lengths)), np.int32
        )
        np.concatenate(ids, out=rows[0, : sum(lengths)])
        np.concatenate([np.arange(length, dtype=np.int32) for length in lengths], out=rows[1, : sum(lengths)])
        flat, positions = torch.from_numpy(rows).to(self.device)
        attend = attend_by(
            lengths, heads=self.heads, device=self.device, dtype=self.dtype, bias_of=self._bias_of
        )
        x = self._hidden(flat, positions, attend)
        return functional.normalize(self._pool(x, lengths), dim=-1)

    def vectors(self, batch: Packed) -> Tensor:
        """Start to compute the vectors of a batch, (n, dim) float32, and do not wait for the GPU to finish.

        Call this method only if ``has_kernel`` is true.
        """
        assert self._kernel is not None
        attend = attend_within(batch.bounds, longest=batch.longest, heads=self.heads, kernel=self._kernel)
        x = self._hidden(batch.ids, batch.positions, attend)
        return functional.normalize(pooled(x, batch.bounds, self.pooling), dim=-1)

    def _hidden(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        x = self._norm(
            functional.embedding(ids, self._words) + functional.embedding(positions, self._positions)
        ).to(self.dtype)
        for layer in self._layers:
            x = layer(x, attend)
        return x

    def _pool(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        parts = [x[first : first + n * length].view(n, length, -1) for first, n, length in groups(lengths)]
        if self.pooling == "cls":
            return torch.cat([part[:, 0] for part in parts]).float()
        return torch.cat([part.mean(dim=1, dtype=torch.float32) for part in parts])


def _norm(affine: Affine, eps: float, device: torch.device, dtype: torch.dtype) -> _Norm:
    return _Norm(affine.weight.to(device, dtype), affine.bias.to(device, dtype), eps)


def _layer(weights: BertWeights, number: int, device: torch.device, dtype: torch.dtype, int8: bool) -> _Layer:
    layer = weights.layer(number)

    def linear(affine: Affine, activation: Activation = "none") -> Linear:
        return Linear(affine.weight.to(device, dtype), affine.bias.to(device, dtype), activation)

    def coarse(affine: Affine, activation: Activation = "none") -> Linear | Int8Linear:
        return Int8Linear(*affine, activation) if int8 else linear(affine, activation)

    return _Layer(
        qkv=coarse(layer.qkv),
        projection=coarse(layer.projection),
        norm_attention=_norm(layer.after_attention, weights.eps, device, dtype),
        up=coarse(layer.up, weights.activation),
        down=linear(layer.down),
        norm_output=_norm(layer.after_output, weights.eps, device, dtype),
    )
