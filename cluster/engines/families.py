"""The encoder families that the packed forward pass runs: one architecture, with each family's names.

BERT (Devlin et al. 2018, arXiv:1810.04805; MiniLM, BGE, E5 and GTE belong to it), RoBERTa and XLM-RoBERTa
(Liu et al. 2019, arXiv:1907.11692; BGE-M3, multilingual E5), whose positions start after the index of the
padding, MPNet (Song et al. 2020, arXiv:2004.09297; all-mpnet-base-v2), which adds a bias by distance to its
attention, and DistilBERT (Sanh et al. 2019, arXiv:1910.01108). The last two have no token types. Called by
``bert`` and ``weights``, without torch.

    family = family_of(config)
    family.layer(3) + family.query       # "encoder.layer.3.attention.self.query"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The names of tensors, and the keys of config.json, in one family."""

    #: Prefix of all tensor names if the file was saved with a head.
    prefix: str
    #: Name of the table whose first row is added to every position; empty if there is none.
    token_types: str = "embeddings.token_type_embeddings.weight"  # noqa: S105
    #: Name of a layer by its number; then the names of its parts.
    layers: str = "encoder.layer.{}."
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    projection: str = "attention.output.dense"
    norm_attention: str = "attention.output.LayerNorm"
    up: str = "intermediate.dense"
    down: str = "output.dense"
    norm_output: str = "output.LayerNorm"
    #: Name of the table of attention biases by distance, for all layers; empty if there is none.
    distance_bias: str = ""
    #: Keys of config.json.
    hidden: str = "hidden_size"
    inner: str = "intermediate_size"
    heads: str = "num_attention_heads"
    depth: str = "num_hidden_layers"
    activation: str = "hidden_act"
    #: True if position numbers begin at the padding's index plus one (RoBERTa) and not at 0.
    positions_after_padding: bool = False
    #: The padding's index if the family's code fixes it; None: config.json has it.
    padding: int | None = None

    def layer(self, number: int) -> str:
        """Prefix of the names of this layer's parts."""
        return self.layers.format(number)

    def first_position(self, config: Mapping[str, Any]) -> int:
        """Row of the position table for the first token of an input."""
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
#: By config.json's ``model_type``.
FAMILIES = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "mpnet": MPNET,
    "distilbert": DISTILBERT,
}


def family_of(config: Mapping[str, Any]) -> Family | None:
    """The model's family; None if it is none of ``FAMILIES``."""
    return FAMILIES.get(str(config.get("model_type")))
