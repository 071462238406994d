"""The forward of BERT and its relatives on packed tokens: one row of all tokens of a batch, no padding anywhere.

Linear layers run on the packed matrix; attention runs on each group of inputs of equal length (CPU), or over
cumulative lengths in one kernel (GPU, see ``attention``). Which families it runs, ``families`` says.

    encoder = BertEncoder(folder, device=torch.device("cpu"), dtype=torch.float32)
    vectors = encoder(ids)                   # (n, dim) float32, unit length
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from cluster.engines.attention import Attend, attend_by, attend_within, bias_by_distance, varlen_kernel
from cluster.engines.families import FAMILIES, Family, family_of
from cluster.engines.gpu import Packed, pooled, to_gpu
from cluster.engines.int8 import Int8Linear
from cluster.engines.linear import Activation, Linear, rounded_rows
from cluster.engines.plan import groups
from cluster.engines.weights import ModelFolder

#: DistilBERT has it in its code; the others in their configuration.
DISTILBERT_EPS = 1e-12
ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "relu": "relu"}
Get = Callable[[str], Tensor]


def supports(folder: ModelFolder) -> str | None:
    """Why this forward cannot run the model; None when it can."""
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
    """Packed token ids to unit vectors. Safe to call from several threads."""

    def __init__(self, folder: ModelFolder, *, device: torch.device, dtype: torch.dtype, int8: bool = False) -> None:
        """Load the weights.

        Args:
            folder: the model's.
            device: where it computes.
            dtype: in which type.
            int8: all linear layers but the last of each block in 8 bits; on a CPU.
        """
        config, family = folder.config, family_of(folder.config)
        assert family is not None  # ``supports`` said so
        self.device, self.dtype = device, dtype
        self.heads = int(config[family.heads])
        self.dim = int(config[family.hidden])
        self.pooling = folder.pooling
        eps = float(config.get("layer_norm_eps", DISTILBERT_EPS))
        with safe_open(folder.weights, framework="pt") as file:  # maps the file: pages are shared by all replicas of a node
            prefix = "" if "embeddings.word_embeddings.weight" in file.keys() else family.prefix  # noqa: SIM118  not a dict

            def get(name: str) -> Tensor:
                tensor: Tensor = file.get_tensor(prefix + name)
                return tensor.to(device=device, dtype=torch.float32)

            self._words = get("embeddings.word_embeddings.weight")
            self._positions = get("embeddings.position_embeddings.weight")[family.first_position(config) :]
            if family.token_types:
                # Every token of an embedding input is of type 0, so that row is added to the positions once and for all.
                self._positions = self._positions + get(family.token_types)[0]
            longest = len(self._positions)
            self._bias_of = bias_by_distance(get(family.distance_bias), longest=longest) if family.distance_bias else None
            self._kernel = None if self._bias_of else varlen_kernel(device, dtype)
            # Looking up is no arithmetic: the embeddings stay in float32 (and on a CPU in the mapped file) whatever the layers use.
            self._norm = _norm(get, "embeddings.LayerNorm", eps, torch.float32)
            activation = ACTIVATIONS[config[family.activation]]
            # The scale of attention is part of the query's weights, so no kernel has to multiply by it.
            scale = (self.dim // self.heads) ** -0.5
            depth = int(config[family.depth])
            self._layers = [_layer(get, family, number, eps, activation, scale, dtype, int8) for number in range(depth)]

    @property
    def packed(self) -> bool:
        """True when the linear layers run on weights laid out for oneDNN."""
        return self._layers[0].up.packed

    @property
    def has_kernel(self) -> bool:
        """True when a batch is read whole, over cumulative lengths, by ``vectors``."""
        return self._kernel is not None

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """(n, dim) float32 on the encoder's device, for inputs sorted by length, special tokens included."""
        if self.has_kernel:
            return self.vectors(to_gpu(ids, self.device))
        lengths = [len(one) for one in ids]
        rows = np.zeros((2, rounded_rows(sum(lengths)) if self.device.type == "cpu" else sum(lengths)), np.int32)
        np.concatenate(ids, out=rows[0, : sum(lengths)])
        np.concatenate([np.arange(length, dtype=np.int32) for length in lengths], out=rows[1, : sum(lengths)])
        flat, positions = torch.from_numpy(rows).to(self.device)
        attend = attend_by(lengths, heads=self.heads, device=self.device, dtype=self.dtype, bias_of=self._bias_of)
        x = self._hidden(flat, positions, attend)
        return functional.normalize(self._pool(x, lengths), dim=-1)

    def vectors(self, batch: Packed) -> Tensor:
        """(n, dim) float32 on the encoder's device, of a batch that is there; nothing waits for anything.

        Only where there is a kernel for it (``has_kernel``).
        """
        assert self._kernel is not None
        attend = attend_within(batch.bounds, longest=batch.longest, heads=self.heads, kernel=self._kernel)
        x = self._hidden(batch.ids, batch.positions, attend)
        return functional.normalize(pooled(x, batch.bounds, self.pooling), dim=-1)

    def _hidden(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        x = self._norm(functional.embedding(ids, self._words) + functional.embedding(positions, self._positions)).to(self.dtype)
        for layer in self._layers:
            x = layer(x, attend)
        return x

    def _pool(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        parts = [x[first : first + n * length].view(n, length, -1) for first, n, length in groups(lengths)]
        if self.pooling == "cls":
            return torch.cat([part[:, 0] for part in parts]).float()
        return torch.cat([part.mean(dim=1, dtype=torch.float32) for part in parts])


def _norm(get: Get, name: str, eps: float, dtype: torch.dtype) -> _Norm:
    return _Norm(get(f"{name}.weight").to(dtype), get(f"{name}.bias").to(dtype), eps)


def _layer(
    get: Get, family: Family, number: int, eps: float, activation: Activation, scale: float, dtype: torch.dtype, int8: bool
) -> _Layer:
    layer = family.layer(number)

    def linear(weight: Tensor, bias: Tensor, activation: Activation = "none") -> Linear:
        return Linear(weight.to(dtype), bias.to(dtype), activation)

    coarse = Int8Linear if int8 else linear

    def tensors(part: str) -> tuple[Tensor, Tensor]:
        return get(f"{layer}{part}.weight"), get(f"{layer}{part}.bias")

    def joined(kind: str) -> Tensor:
        query, key, value = (get(f"{layer}{part}.{kind}") for part in (family.query, family.key, family.value))
        return torch.cat([query * scale, key, value])

    return _Layer(
        qkv=coarse(joined("weight"), joined("bias")),
        projection=coarse(*tensors(family.projection)),
        norm_attention=_norm(get, layer + family.norm_attention, eps, dtype),
        up=coarse(*tensors(family.up), activation),
        down=linear(*tensors(family.down)),
        norm_output=_norm(get, layer + family.norm_output, eps, dtype),
    )
