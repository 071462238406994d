"""Every family gives the vectors of sentence-transformers, on small random weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.engines import Registry, open_engine
from cluster.engines.bert.compiled import library
from cluster.engines.local import LocalEngine
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings
from tests.cluster.engines.conftest import PATHS, TEXTS, engine_on

VOCABULARY = 30522


def configuration(family: str, heads: int, inner: int) -> Any:
    """A model of two layers, with weights so large that attention is not uniform."""
    import transformers

    shared = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 300,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    sizes = {
        "hidden_size": 64,
        "intermediate_size": inner,
        "num_hidden_layers": 2,
        "num_attention_heads": heads,
    }
    if family == "distilbert":
        return transformers.DistilBertConfig(dim=64, hidden_dim=inner, n_layers=2, n_heads=heads, **shared)
    kinds = {
        "bert": transformers.BertConfig,
        "roberta": transformers.RobertaConfig,
        "xlm-roberta": transformers.XLMRobertaConfig,
        "mpnet": transformers.MPNetConfig,
    }
    return kinds[family](**shared, **sizes)


def folder_of(family: str, pooling: str, path: Path, heads: int = 4, inner: int = 96) -> Path:
    """A model's folder in the layout of sentence-transformers."""
    import torch
    import transformers

    packaged = open_model_folder(Registry(Settings()).default).path
    torch.manual_seed(0)
    transformers.AutoModel.from_config(configuration(family, heads, inner)).save_pretrained(path)
    for name in ("modules.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(packaged / name, path)
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 290}))
    (path / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("mean_tokens", "cls_token")}
    (path / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 64, **modes}))
    return path


def cosines(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) cosines of the rows."""
    return np.einsum("nd,nd->n", ours, theirs) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "mpnet", "distilbert"])
def test_a_family_gives_what_sentence_transformers_gives(family: str, pooling: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = folder_of(family, pooling, tmp_path / "model")
    settings = Settings(model_path=folder, device="cpu")
    assert isinstance(open_engine(Registry(settings).default), LocalEngine)
    oracle: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(
        TEXTS, batch_size=1, normalize_embeddings=True
    )
    for path, least in (("compiled", 0.99999), ("float32 by torch", 0.99999), ("bfloat16", 0.999)):
        if path != "compiled" or library() is not None:
            assert cosines(engine_on(PATHS[path], settings).embed(TEXTS).vectors, oracle).min() >= least, path
    assert np.abs(oracle[2] - oracle[4]).max() > 0.1  # otherwise the weights would not distinguish texts
