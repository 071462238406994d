"""List the encoder families that the packed forward pass can run, and the names that each family uses.

All families have the same architecture, with small differences:

- BERT (Devlin et al. 2018, arXiv:1810.04805), which includes MiniLM, BGE, E5 and GTE;
- RoBERTa and XLM-RoBERTa (Liu et al. 2019, arXiv:1907.11692), which include BGE-M3 and multilingual E5.
    Position numbers start after the index of the padding;
- MPNet (Song et al. 2020, arXiv:2004.09297), which includes all-mpnet-base-v2. Position numbers start after
    the index of the padding. This family adds a bias to the attention scores, by the distance of two tokens,
    and has no token types;
- DistilBERT (Sanh et al. 2019, arXiv:1910.01108), which has no token types.

The packages ``bert`` and ``choice`` and the module ``weights`` use this module. It does not import torch.

    family = family_of(config)
    family.layer(3) + family.query       # "encoder.layer.3.attention.self.query"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The names of the tensors and the keys of config.json in one family."""

    #: Prefix of all tensor names if the weights were saved together with a task head.
    prefix: str
    #: Name of the table of token types. The first row of this table is added to every position. Empty if the
    #: family has no such table.
    token_types: str = "embeddings.token_type_embeddings.weight"  # noqa: S105
    #: Prefix of the names in a layer; {} is the layer's number.
    layers: str = "encoder.layer.{}."
    #: Name of the linear layer that computes the queries.
    query: str = "attention.self.query"
    #: Name of the linear layer that computes the keys.
    key: str = "attention.self.key"
    #: Name of the linear layer that computes the values.
    value: str = "attention.self.value"
    #: Name of the linear layer after attention.
    projection: str = "attention.output.dense"
    #: Name of the normalisation after attention.
    norm_attention: str = "attention.output.LayerNorm"
    #: Name of the first linear layer of the feed-forward block.
    up: str = "intermediate.dense"
    #: Name of the second linear layer of the feed-forward block.
    down: str = "output.dense"
    #: Name of the normalisation after the feed-forward block.
    norm_output: str = "output.LayerNorm"
    #: Name of the table of attention biases by distance, which all layers share; empty if there is no table.
    distance_bias: str = ""
    #: Key in config.json of the hidden size, which is the count of numbers per token.
    hidden: str = "hidden_size"
    #: Key in config.json of the width of the feed-forward block.
    inner: str = "intermediate_size"
    #: Key in config.json of the number of attention heads.
    heads: str = "num_attention_heads"
    #: Key in config.json of the number of layers.
    depth: str = "num_hidden_layers"
    #: Key in config.json of the activation.
    activation: str = "hidden_act"
    #: True if position numbers start at the padding index plus one (RoBERTa), False if they start at 0.
    positions_after_padding: bool = False
    #: Index of the padding, if the index is a constant in the family's code. None: config.json has the index.
    padding: int | None = None

    def layer(self, number: int) -> str:
        """Return the prefix of the names in the layer with this number."""
        return self.layers.format(number)

    def first_position(self, config: Mapping[str, Any]) -> int:
        """Return the row of the position table for the first token of an input."""
        if not self.positions_after_padding:
            return 0
        return (int(config.get("pad_token_id", 1)) if self.padding is None else self.padding) + 1


BERT = Family(prefix="bert.")
ROBERTA = Family(prefix="roberta.", positions_after_padding=True)
MPNET = Family(
    prefix="mpnet.",
    token_types="",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    projection="attention.attn.o",
    norm_attention="attention.LayerNorm",
    distance_bias="encoder.relative_attention_bias.weight",
    positions_after_padding=True,
    padding=1,
)
DISTILBERT = Family(
    prefix="distilbert.",
    token_types="",
    layers="transformer.layer.{}.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    projection="attention.out_lin",
    norm_attention="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    norm_output="output_layer_norm",
    hidden="dim",
    inner="hidden_dim",
    heads="n_heads",
    depth="n_layers",
    activation="activation",
)
#: Each family by the ``model_type`` in config.json.
FAMILIES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "mpnet": MPNET,
    "distilbert": DISTILBERT,
}


def family_of(config: Mapping[str, Any]) -> Family | None:
    """Return the family of a model with this config.json; None if ``FAMILIES`` lacks its ``model_type``."""
    return FAMILIES.get(str(config.get("model_type")))
