"""Read the weights of BERT and related encoders, layer by layer, under the same names for all families.

Both forward passes, ``forward`` and ``compiled``, read their weights here and then copy the linear layers
into different layouts. The word embeddings of a float32 file are a view of the mapped file, so all replicas
on a node share the memory of the word embeddings.

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

#: Epsilon of DistilBERT's normalisation, which is a constant in DistilBERT's code. Other families have the
#: epsilon in config.json.
DISTILBERT_EPS = 1e-12
ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "relu": "relu"}


class Affine(NamedTuple):
    """Weight and bias in float32: (out, in) and (out,) for a linear layer, (width,) for a normalisation."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of one layer, in the order of computation."""

    #: Weights and biases of queries, keys and values, one below the other. The weights and biases of the
    #: queries are already multiplied by attention's scale, so no kernel has to multiply by the scale.
    qkv: Affine
    #: Linear layer after attention.
    projection: Affine
    #: Normalisation after attention.
    after_attention: Affine
    #: First linear layer of the feed-forward block.
    up: Affine
    #: Second linear layer of the feed-forward block.
    down: Affine
    #: Normalisation after the feed-forward block.
    after_output: Affine


class BertWeights:
    """Reads the weights of a model whose family is in ``families``. The weights are float32 on the CPU."""

    def __init__(self, folder: ModelFolder) -> None:
        config, family = folder.config, family_of(folder.config)
        assert family is not None  # checked by ``forward.supports``
        self._family = family
        self.heads, self.hidden = int(config[family.heads]), int(config[family.hidden])
        self.inner, self.depth = int(config[family.inner]), int(config[family.depth])
        self.activation = ACTIVATIONS[config[family.activation]]
        self.eps = float(config.get("layer_norm_eps", DISTILBERT_EPS))
        self._file = safe_open(folder.weights, framework="pt")
        self._prefix = "" if "embeddings.word_embeddings.weight" in self._file.keys() else family.prefix  # type: ignore[no-untyped-call]  # noqa: SIM118  the file is not a dict
        self.words = self._get("embeddings.word_embeddings.weight")
        #: (maximum number of tokens of an input, hidden). The row of token type 0 is added here, because all
        #: tokens have type 0.
        self.positions = self._get("embeddings.position_embeddings.weight")[family.first_position(config) :]
        if family.token_types:
            self.positions = self.positions + self._get(family.token_types)[0]
        self.embeddings = self._affine("embeddings.LayerNorm")
        #: (rows, heads): the table for ``attention.bias_by_distance``; None if the attention of this family
        #: has no bias by distance.
        self.distance_bias = self._get(family.distance_bias) if family.distance_bias else None

    def layer(self, number: int) -> LayerWeights:
        """Read the weights of the layer with this number; the first layer is 0."""
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
