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
MAX_TOKENS = 512
VOCABULARY = 30_522


@contextmanager
def folder_of(name: str) -> Iterator[Path]:
    """A model folder in sentence-transformers layout: packaged weights, or random ones for the block."""
    packaged = open_model_folder(Registry(Settings()).default).path
    if name == MINILM:
        yield packaged
        return
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as folder:
        _write(Path(folder), packaged, *SHAPES[name])
        yield Path(folder)


def _write(folder: Path, packaged: Path, hidden: int, layers: int, heads: int) -> None:
    import torch
    from transformers import BertConfig, BertModel

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
