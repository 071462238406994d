"""The BERT family's forward on packed tokens: one row of all tokens of a batch, no padding anywhere.

Linear layers run on the packed matrix; attention runs on each group of inputs of equal length (CPU), or over
cumulative lengths in one kernel (GPU, see ``attention``). Architecture: Devlin et al. 2018, arXiv:1810.04805.

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

from cluster.engines.attention import Attend, attend_by
from cluster.engines.linear import Activation, Linear
from cluster.engines.plan import groups
from cluster.engines.weights import ModelFolder

ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "relu": "relu"}
Get = Callable[[str], Tensor]


def supports(folder: ModelFolder) -> str | None:
    """Why this forward cannot run the model; None when it can."""
    config = folder.config
    if config.get("model_type") != "bert":
        return f"its architecture is {config.get('model_type')}, not bert"
    if config.get("position_embedding_type", "absolute") != "absolute":
        return f"its positions are {config['position_embedding_type']}, not absolute"
    if config.get("hidden_act") not in ACTIVATIONS:
        return f"its activation is {config.get('hidden_act')}"
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
    qkv: Linear
    projection: Linear
    norm_attention: _Norm
    up: Linear
    down: Linear
    norm_output: _Norm

    def __call__(self, x: Tensor, attend: Attend) -> Tensor:
        x = self.norm_attention(self.projection(attend(self.qkv(x))) + x)
        return self.norm_output(self.down(self.up(x)) + x)


class BertEncoder:
    """Packed token ids to unit vectors. Safe to call from several threads."""

    def __init__(self, folder: ModelFolder, *, device: torch.device, dtype: torch.dtype) -> None:
        config = folder.config
        self.device, self.dtype = device, dtype
        self.heads = int(config["num_attention_heads"])
        self.pooling = folder.pooling
        eps = float(config["layer_norm_eps"])
        with safe_open(folder.weights, framework="pt") as file:  # maps the file: pages are shared by all replicas of a node
            prefix = "" if "embeddings.word_embeddings.weight" in file.keys() else "bert."  # noqa: SIM118  not a dict

            def get(name: str) -> Tensor:
                tensor: Tensor = file.get_tensor(prefix + name)
                return tensor.to(device=device, dtype=torch.float32)

            self._words = get("embeddings.word_embeddings.weight")
            # Every token of an embedding input is of type 0, so that row is added to the positions once and for all.
            self._positions = get("embeddings.position_embeddings.weight") + get("embeddings.token_type_embeddings.weight")[0]
            # Looking up is no arithmetic: the embeddings stay in float32 (and on a CPU in the mapped file) whatever the layers use.
            self._norm = _norm(get, "embeddings.LayerNorm", eps, torch.float32)
            activation = ACTIVATIONS[config["hidden_act"]]
            # The scale of attention is part of the query's weights, so no kernel has to multiply by it.
            scale = (int(config["hidden_size"]) // self.heads) ** -0.5
            names = [f"encoder.layer.{i}." for i in range(int(config["num_hidden_layers"]))]
            self._layers = [_layer(get, name, eps, activation, scale, dtype) for name in names]
        self.dim = int(config["hidden_size"])

    @property
    def packed(self) -> bool:
        """True when the linear layers run on weights laid out for oneDNN."""
        return self._layers[0].up.packed

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """(n, dim) float32 on the encoder's device, for inputs sorted by length, special tokens included."""
        lengths = [len(one) for one in ids]
        flat = self._on_device(np.concatenate(ids))
        positions = self._on_device(np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]))
        attend = attend_by(lengths, heads=self.heads, device=self.device, dtype=self.dtype)
        x = self._norm(functional.embedding(flat, self._words) + functional.embedding(positions, self._positions)).to(self.dtype)
        for layer in self._layers:
            x = layer(x, attend)
        return functional.normalize(self._pool(x, lengths), dim=-1)

    def _on_device(self, values: NDArray[np.int32]) -> Tensor:
        host = torch.from_numpy(values)
        return host if self.device.type == "cpu" else host.pin_memory().to(self.device, non_blocking=True)

    def _pool(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        parts = [x[first : first + n * length].view(n, length, -1) for first, n, length in groups(lengths)]
        if self.pooling == "cls":
            return torch.cat([part[:, 0] for part in parts]).float()
        return torch.cat([part.mean(dim=1, dtype=torch.float32) for part in parts])


def _norm(get: Get, name: str, eps: float, dtype: torch.dtype) -> _Norm:
    return _Norm(get(f"{name}.weight").to(dtype), get(f"{name}.bias").to(dtype), eps)


def _layer(get: Get, name: str, eps: float, activation: Activation, scale: float, dtype: torch.dtype) -> _Layer:
    def linear(part: str, activation: Activation = "none") -> Linear:
        return Linear(get(f"{name}{part}.weight").to(dtype), get(f"{name}{part}.bias").to(dtype), activation)

    def joined(kind: str) -> Tensor:
        query, key, value = (get(f"{name}attention.self.{part}.{kind}") for part in ("query", "key", "value"))
        return torch.cat([query * scale, key, value]).to(dtype)

    return _Layer(
        qkv=Linear(joined("weight"), joined("bias")),
        projection=linear("attention.output.dense"),
        norm_attention=_norm(get, f"{name}attention.output.LayerNorm", eps, dtype),
        up=linear("intermediate.dense", activation),
        down=linear("output.dense"),
        norm_output=_norm(get, f"{name}output.LayerNorm", eps, dtype),
    )
