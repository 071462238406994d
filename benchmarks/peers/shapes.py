"""Models of common sizes with random weights, because the speed depends only on the shape.

with folder_of("base") as folder:
    Settings(model_path=folder)
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.engines import Registry
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings

MINILM = "MiniLM"
#: Hidden size, layers and heads of bge-base and bge-large; the inner layer is four times as wide.
SHAPES = {"base": (768, 12, 12), "large": (1024, 24, 16)}
#: A model with about the operations of a model of 0.6 billion numbers, and a tiny one for rehearsals.
OTHER_SHAPES = {"deep": (1024, 36, 16), "tiny": (64, 2, 2)}
MAX_TOKENS = 512
VOCABULARY = 30_522


@contextmanager
def folder_of(name: str) -> Iterator[Path]:
    """A model folder in sentence-transformers layout: packaged weights, or random ones for the block."""
    if name == MINILM:
        yield open_model_folder(Registry(Settings()).default).path
        return
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as folder:
        write_model(Path(folder), name)
        yield Path(folder)


def write_model(folder: Path, name: str) -> None:
    """Write a model with random weights of this shape into the empty folder, with the tokeniser of MiniLM."""
    import torch
    from transformers import BertConfig, BertModel

    packaged = open_model_folder(Registry(Settings()).default).path
    hidden, layers, heads = {**SHAPES, **OTHER_SHAPES}[name]
    torch.manual_seed(0)
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * hidden,
    }
    BertModel(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=MAX_TOKENS, **sizes)).save_pretrained(
        folder
    )
    for name in ("modules.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(packaged / name, folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": MAX_TOKENS}))
    (folder / "1_Pooling").mkdir()
    pooling = {
        "word_embedding_dimension": hidden,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
    }
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
