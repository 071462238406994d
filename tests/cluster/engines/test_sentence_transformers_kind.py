"""The kind ``sentence-transformers`` runs families that our forward pass does not, and never their code."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.engines import Registry, describe, open_engine, open_tokeniser
from cluster.engines.weights import open_model_folder
from cluster.errors import Misconfigured
from cluster.settings import Settings

TEXTS = ["A heron stands still.", "", "Only the operator on duty may stop the pump. " * 20]


def small_model(family: str, path: Path) -> Path:
    """Make a model of this family with small random weights, in the layout of sentence-transformers."""
    import torch
    import transformers

    packaged = open_model_folder(Registry(Settings()).default).path
    torch.manual_seed(0)
    if family == "t5":
        model: Any = transformers.T5EncoderModel(
            transformers.T5Config(
                vocab_size=30_522, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0
            )
        )
    else:
        model = transformers.ModernBertModel(
            transformers.ModernBertConfig(
                vocab_size=30_522, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=4, max_position_embeddings=128, pad_token_id=0, bos_token_id=101,
                eos_token_id=102, cls_token_id=101, sep_token_id=102,
            )
        )  # fmt: skip
    model.save_pretrained(path)
    for name in ("modules.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(packaged / name, path)
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 64}')
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True})
    )
    return path


@pytest.mark.parametrize("family", ["modernbert", "t5"])
def test_a_family_of_others_gives_the_vectors_of_sentence_transformers(family: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    folder = small_model(family, tmp_path)
    entry = Registry(Settings(models={family: f"sentence-transformers:{folder}"})).entries[family]  # type: ignore[dict-item]
    fingerprint = describe(entry)
    assert (fingerprint.model, fingerprint.dim, fingerprint.max_tokens) == (family, 32, 64)
    engine = open_engine(entry)
    assert engine.fingerprint.id == fingerprint.id
    made = engine.embed(TEXTS)
    theirs = SentenceTransformer(str(folder), device="cpu", local_files_only=True).encode(
        TEXTS, normalize_embeddings=True
    )
    np.testing.assert_allclose(made.vectors, theirs, atol=1e-5)
    assert made.token_counts.max() == 64
    assert made.truncated[2] > 0
    short = TEXTS[:1]
    np.testing.assert_allclose(
        engine.embed_ids(open_tokeniser(entry).ids(short)), made.vectors[:1], atol=1e-5
    )


def test_a_model_that_brings_code_is_refused(tmp_path: Path) -> None:
    folder = small_model("t5", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "code.Model"}}))
    entry = Registry(Settings(models={"own": f"sentence-transformers:{folder}"})).entries["own"]  # type: ignore[dict-item]
    with pytest.raises(Misconfigured, match="auto_map"):
        open_engine(entry)
