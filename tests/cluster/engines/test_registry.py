"""The registry has every model by name, knows the default model, and finds the model of a vector store."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.engines import (
    Fingerprint,
    ModelProperties,
    Registry,
    describe,
    open_engine,
    open_tokeniser,
    properties,
)
from cluster.engines.weights import open_model_folder
from cluster.errors import Conflict, Misconfigured
from cluster.settings import Settings
from tests.hashing_engine import NAME, SOURCE, hashing_kind

PACKAGED = Settings().model


@pytest.fixture
def folder() -> Path:
    """The packaged model's folder."""
    return open_model_folder(Registry(Settings()).default).path


def test_the_default_model_comes_first_and_the_others_follow_by_name(folder: Path) -> None:
    registry = Registry(Settings(models={"second": str(folder)}))
    assert list(registry.entries) == [PACKAGED, "second"]
    assert registry.default is registry.entries[PACKAGED]
    assert [entry.kind for entry in registry.entries.values()] == ["local", "local"]
    assert describe(registry.entries["second"]).model == "second"


def test_the_default_model_may_be_one_of_the_models(folder: Path) -> None:
    settings = Settings(model="mine", models={"other": "/nowhere", "mine": f"local:{folder}"})
    registry = Registry(settings)
    assert (registry.default.name, registry.default.source) == ("mine", str(folder))
    assert list(registry.entries) == ["mine", "other"]
    with pytest.raises(Misconfigured, match="CLUSTER_MODEL_PATH and CLUSTER_MODELS both say where mine is"):
        Registry(settings.model_copy(update={"model_path": folder}))


def test_the_expected_hash_is_the_default_models_alone(folder: Path) -> None:
    registry = Registry(Settings(model_sha256="0" * 64, models={"other": str(folder)}))
    assert [entry.sha256 for entry in registry.entries.values()] == ["0" * 64, None]


def test_a_stores_model_is_found_by_its_fingerprint_whatever_the_default_is(folder: Path) -> None:
    registry = Registry(Settings(models={"second": str(folder)}))
    fingerprint = describe(registry.entries["second"])
    assert registry.of(fingerprint) is registry.entries["second"]
    assert registry.of(replace(fingerprint, precision="bfloat16")) is registry.entries["second"]


def test_a_store_whose_model_is_not_configured_is_refused_with_the_model_and_what_to_set() -> None:
    registry = Registry(Settings())
    ours = describe(registry.default)
    gone = replace(ours, model="gone")
    with pytest.raises(Conflict, match=rf"{gone.id}, and no model named gone .*{PACKAGED}.*CLUSTER_MODELS"):
        registry.of(gone)
    changed = replace(ours, revision="0" * 12)
    with pytest.raises(Conflict, match=rf"{changed.id}, but {PACKAGED} .*{ours.id}"):
        registry.of(changed)


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do() -> None:
    with pytest.raises(Misconfigured, match=r"other asks for the kind of engine 'nothing'.*local"):
        Registry(Settings(models={"other": "nothing:at all"}))


def test_a_kind_without_a_folder_is_described_tokenised_and_opened_through_the_registry() -> None:
    with hashing_kind():
        registry = Registry(Settings(model=NAME, models={NAME: SOURCE}))
        fingerprint = describe(registry.default)
        assert fingerprint == Fingerprint(
            model=NAME, revision="hashing-1", dim=64, max_tokens=256, pooling="sum", normalised=True,
            precision="float32",
        )  # fmt: skip
        assert open_tokeniser(registry.default).count(["a text of five words"]).tolist() == [5]
        engine = open_engine(registry.default)
        assert (engine.fingerprint, engine.embed(["a text"]).vectors.shape) == (fingerprint, (1, 64))
        assert registry.of(fingerprint) is registry.default


def test_no_secret_of_the_settings_shows_in_an_entry() -> None:
    entry = Registry(Settings(api_key="not-for-a-log")).default  # type: ignore[arg-type]
    assert "not-for-a-log" not in repr(entry)
    assert "settings" not in repr(entry)
    assert sys.getsizeof(repr(entry)) < 400


@pytest.mark.parametrize(
    ("models", "complaint"),
    [
        (
            {"other": {"source": "/a", "key_env": "KEY"}},
            "other is of the kind local, .* not take key_env; it",
        ),
        ({"none": {"source": "/a"}}, "no model can have the name 'none'"),
        (
            {PACKAGED: {"source": "/a", "max_replicas": 2}},
            "default model, .*CLUSTER_MAX_REPLICAS.*of max_rep",
        ),
    ],
)
def test_options_that_a_model_does_not_take_are_refused(models: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Misconfigured, match=complaint):
        Registry(Settings(models=models))


def test_a_relative_folder_behind_a_kind_is_refused() -> None:
    entry = Registry(Settings(models={"other": "local:models/other"})).entries["other"]  # type: ignore[dict-item]
    with pytest.raises(Misconfigured, match="other must name its folder as an absolute path"):
        describe(entry)


def test_properties_are_known_without_an_engine() -> None:
    entry = Registry(Settings()).default
    engine = open_engine(entry)
    assert properties(entry) == ModelProperties(prompts=dict(engine.prompts), dimensions=engine.dimensions)
