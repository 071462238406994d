"""A model's folder is described correctly, or refused with the reason."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster.engines import Registry, describe
from cluster.engines.bert.forward import supports
from cluster.engines.weights import PACKAGE_SHA256, open_model_folder
from cluster.errors import Misconfigured
from cluster.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the packaged model with weights of a few bytes, because nothing is computed here."""
    packaged = open_model_folder(Registry(Settings()).default).path
    for name in (
        "config.json",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        shutil.copy(packaged / name, tmp_path / name)
    shutil.copytree(packaged / "1_Pooling", tmp_path / "1_Pooling")
    (tmp_path / "model.safetensors").write_bytes(b"some weights")
    return tmp_path


def change(file: Path, **values: Any) -> None:
    """Set keys of a JSON file; None removes a key."""
    content = {**(json.loads(file.read_text()) if file.exists() else {}), **values}
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_other_weights_than_the_expected_are_refused_with_both_hashes(folder: Path) -> None:
    found = open_model_folder(Registry(Settings(model_path=folder)).default).sha256
    with pytest.raises(Misconfigured) as refusal:
        open_model_folder(Registry(Settings(model_path=folder, model_sha256=PACKAGE_SHA256)).default)
    assert all(
        part in str(refusal.value) for part in (found, PACKAGE_SHA256, str(folder / "model.safetensors"))
    )


def test_weights_replaced_while_we_run_are_noticed(folder: Path) -> None:
    settings = Settings(model_path=folder)
    before = describe(Registry(settings).default)
    (folder / "new").write_bytes(b"other bytes!")  # as long as the old ones
    os.replace(folder / "new", folder / "model.safetensors")
    assert describe(Registry(settings).default).id != before.id


def test_pickled_weights_are_not_loaded(folder: Path) -> None:
    os.replace(folder / "model.safetensors", folder / "pytorch_model.bin")
    with pytest.raises(Misconfigured, match="safetensors"):
        open_model_folder(Registry(Settings(model_path=folder)).default)


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    change(folder / "config.json", auto_map={"AutoModel": "modeling.Model"})
    with pytest.raises(Misconfigured, match="never run"):
        open_model_folder(Registry(Settings(model_path=folder)).default)


@pytest.mark.parametrize(
    ("written", "pooling"),
    [
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": ["mean"]}, "mean"),
        ({"pooling_mode": ["mean", "max"]}, ""),
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode_max_tokens": True}, ""),
        ({}, "mean"),
    ],
)
def test_pooling_is_read_as_every_version_wrote_it(
    folder: Path, written: dict[str, Any], pooling: str
) -> None:
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(written))
    assert describe(Registry(Settings(model_path=folder)).default).pooling == pooling


def test_without_a_length_of_its_own_a_model_reads_what_its_tokeniser_does(folder: Path) -> None:
    change(folder / "sentence_bert_config.json", max_seq_length=None)
    change(folder / "tokenizer_config.json", model_max_length=128)
    assert describe(Registry(Settings(model_path=folder)).default).max_tokens == 128
    change(folder / "tokenizer_config.json", model_max_length=10**30)
    assert describe(Registry(Settings(model_path=folder)).default).max_tokens == 512


@pytest.mark.parametrize(
    ("file", "values", "reason"),
    [
        ("config.json", {"model_type": "modernbert"}, "modernbert"),
        ("config.json", {"position_embedding_type": "relative_key"}, "relative_key"),
        ("config.json", {"hidden_act": "silu"}, "silu"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "last"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "lowered"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "prompt"),
    ],
)
def test_models_that_our_forward_pass_cannot_run_are_named_with_the_reason(
    folder: Path, file: str, values: dict[str, Any], reason: str
) -> None:
    settings = Settings(model_path=folder)
    assert supports(open_model_folder(Registry(settings).default)) is None
    change(folder / file, **values)
    assert reason in str(supports(open_model_folder(Registry(settings).default)))


def test_a_dense_layer_decides_the_length_of_a_vector(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(
        json.dumps([*modules, {"type": "sentence_transformers.models.Dense", "path": "3_Dense"}])
    )
    (folder / "3_Dense").mkdir()
    (folder / "3_Dense" / "config.json").write_text('{"in_features": 384, "out_features": 64}')
    settings = Settings(model_path=folder)
    assert describe(Registry(settings).default).dim == 64
    assert "Dense" in str(supports(open_model_folder(Registry(settings).default)))


def test_a_broken_file_is_named(folder: Path) -> None:
    (folder / "config.json").write_text("{")
    with pytest.raises(Misconfigured, match=r"config\.json"):
        open_model_folder(Registry(Settings(model_path=folder)).default)
