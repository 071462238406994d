"""The weights of BERT and its relatives under one set of names, read from the mapped file one layer at a time.

Called by the two forwards, ``bert`` and ``compiled``, which lay the linear layers out each in its own way. The embeddings are
views of the file: pages of it are shared by all replicas of a node.

    weights = BertWeights(folder)
    weights.words                            # (vocabulary, hidden) float32
    weights.layer(0).up                      # weight (inner, hidden), bias (inner,)
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from cluster.engines.bert.linear import Activation
from cluster.engines.families import family_of
from cluster.engines.weights import ModelFolder

#: DistilBERT has it in its code; the others in their configuration.
DISTILBERT_EPS = 1e-12
ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "relu": "relu"}


class Affine(NamedTuple):
    """What multiplies and what is added, float32: of a linear layer (out, in) and (out,), of a normalisation (width,) both."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer, in the order it is computed."""

    #: Queries, keys and values one below the other; attention's scale is part of the queries, so no kernel has to multiply by it.
    qkv: Affine
    projection: Affine
    after_attention: Affine
    up: Affine
    down: Affine
    after_output: Affine


class BertWeights:
    """A model of one of the ``families``, on the CPU and in float32."""

    def __init__(self, folder: ModelFolder) -> None:
        config, family = folder.config, family_of(folder.config)
        assert family is not None  # ``bert.supports`` said so
        self._family = family
        self.heads, self.hidden = int(config[family.heads]), int(config[family.hidden])
        self.inner, self.depth = int(config[family.inner]), int(config[family.depth])
        self.activation = ACTIVATIONS[config[family.activation]]
        self.eps = float(config.get("layer_norm_eps", DISTILBERT_EPS))
        self._file = safe_open(folder.weights, framework="pt")
        self._prefix = "" if "embeddings.word_embeddings.weight" in self._file.keys() else family.prefix  # type: ignore[no-untyped-call]  # noqa: SIM118  not a dict
        self.words = self._get("embeddings.word_embeddings.weight")
        #: (most tokens of an input, hidden). Every token of an embedding input is of type 0: that row is added once and for all.
        self.positions = self._get("embeddings.position_embeddings.weight")[family.first_position(config) :]
        if family.token_types:
            self.positions = self.positions + self._get(family.token_types)[0]
        self.embeddings = self._affine("embeddings.LayerNorm")
        #: (rows, heads), see ``attention.bias_by_distance``; None where attention has no such bias.
        self.distance_bias = self._get(family.distance_bias) if family.distance_bias else None

    def layer(self, number: int) -> LayerWeights:
        """The layer of that number."""
        family, prefix = self._family, self._family.layer(number)
        query, key, value = (self._affine(prefix + part) for part in (family.query, family.key, family.value))
        scale = (self.hidden // self.heads) ** -0.5
        return LayerWeights(
            qkv=Affine(
                torch.cat([query.weight * scale, key.weight, value.weight]),
                torch.cat([query.bias * scale, key.bias, value.bias]),
            ),
            projection=self._affine(prefix + family.projection),
            after_attention=self._affine(prefix + family.norm_attention),
            up=self._affine(prefix + family.up),
            down=self._affine(prefix + family.down),
            after_output=self._affine(prefix + family.norm_output),
        )

    def _affine(self, name: str) -> Affine:
        return Affine(self._get(f"{name}.weight"), self._get(f"{name}.bias"))

    def _get(self, name: str) -> Tensor:
        tensor: Tensor = self._file.get_tensor(self._prefix + name)  # type: ignore[no-untyped-call]
        return tensor.to(torch.float32)
