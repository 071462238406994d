"""Settings refuse values that cannot work, and mean the same in every folder."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.local.addresses import ports_of, replica_ports
from cluster.settings import CONCERNS, RAY_PORTS, RAY_WORKER_PORTS, Settings


def test_every_setting_belongs_to_exactly_one_concern() -> None:
    names = [name for concern in CONCERNS for name in concern.model_fields]
    assert sorted(names) == sorted(Settings.model_fields)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"api_port": 12_000}, "takes port 12000"),
        ({"ray_port": 9_995}, "takes port 10002"),
        ({"min_replicas": 3, "max_replicas": 2}, "below min_replicas"),
        ({"environment": "production"}, "CLUSTER_DATABASE_URL"),
        ({"environment": "production", "database_url": "postgresql://u:changeme@h/d"}, "placeholder"),
        ({"organisation": "a/b"}, "organisation"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Settings(**values)  # type: ignore[arg-type]


def test_paths_of_the_settings_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    names = ("home", "model_path", "reranker_path", "openai_tokens_file")
    for given, meant in (
        ("some/where", tmp_path / "some" / "where"),
        ("~/models", Path("/home/somebody/models")),
    ):
        settings = Settings(
            **dict.fromkeys(names, given), models={"other": given}, blob_url=given, archive_url=given
        )  # type: ignore[arg-type]
        assert [getattr(settings, name) for name in names] == [meant] * len(names)
        assert settings.models["other"].source == str(meant)
        assert settings.blob_url == settings.archive_url == str(meant)
    assert Settings(blob_url="s3://bucket/blobs").blob_url == "s3://bucket/blobs"
    assert Settings(models={"other": "kind:a source"}).models["other"].source == "kind:a source"  # type: ignore[dict-item]


def test_no_port_of_rays_head_lies_among_those_of_its_workers() -> None:
    settings = Settings(ray_port=RAY_WORKER_PORTS.start - RAY_PORTS)
    last = settings.ray_port + RAY_PORTS - 1
    listeners = [port for name, port in ports_of(settings).items() if name not in ("api", "dashboard")]
    assert [*listeners, *replica_ports(settings)] == list(range(settings.ray_port, last + 1))
    assert last == RAY_WORKER_PORTS.start - 1


def test_settings_with_tables_are_keys_of_caches_and_refuse_what_is_no_share() -> None:
    tables: dict[str, object] = {"organisation_weights": {"gold": 3}, "models": {"other": "/models/other"}}
    assert len({Settings(**tables), Settings(**tables), Settings()}) == 2  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="greater than 0"):
        Settings(organisation_weights={"gold": 0})  # type: ignore[arg-type]


def test_a_model_is_a_source_or_an_object_with_a_source_and_options() -> None:
    given = (
        '{"a": "/models/a", "b": {"source": "openai:b", "base_url": "http://host/v1/", "dimensions": 256}}'
    )
    models = Settings(models=json.loads(given)).models
    assert (models["a"].source, models["a"].given) == ("/models/a", frozenset())
    assert (models["b"].source, models["b"].base_url) == ("openai:b", "http://host/v1")
    assert models["b"].given == {"base_url", "dimensions"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"key": "sk-secret"}, "has no option key; the options are .*key_env"),
        ({"key_env": "sk-secret"}, "must be the name of the environment variable .* OPENAI_API_KEY"),
        ({"base_url": "https://u:sk-secret@host/v1"}, "must have no user, password"),
        ({"base_url": "https://host/v1?key=sk-secret"}, "query or fragment"),
        ({"base_url": "file:///sk-secret"}, "URL with http or https"),
        ({"min_replicas": 3, "max_replicas": 2}, "max_replicas=2 is below min_replicas=3"),
        ({"max_replicas": 0}, "greater than or equal to 1"),
        ({"gpus": 1.5}, "share of one GPU"),
        ({"dimensions": 0}, "greater than or equal to 1"),
        ({"tokens_per_minute": 0}, "greater than or equal to 1"),
        ({"price_per_million_tokens": -1}, "greater than or equal to 0"),
    ],
)
def test_wrong_options_of_a_model_are_refused_without_showing_a_key(
    options: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint) as refusal:
        Settings(models={"other": {"source": "openai:x", **options}})  # type: ignore[dict-item]
    assert "sk-secret" not in str(refusal.value) + repr(refusal.value)


def test_a_model_with_replicas_or_gpus_has_its_own_deployment() -> None:
    bounds = {
        name: (model.own_deployment, model.replicas)
        for name, model in Settings(
            models={
                "none": {"source": "/a"},
                "most": {"source": "/a", "max_replicas": 4},
                "idle": {"source": "/a", "min_replicas": 0},
                "fixed": {"source": "/a", "min_replicas": 3},
                "gpu": {"source": "/a", "gpus": 0.5},
                "memory": {"source": "/a", "memory_gib": 2},
            }  # type: ignore[dict-item]
        ).models.items()
    }
    assert bounds == {
        "none": (False, (1, 1)),
        "most": (True, (1, 4)),
        "idle": (True, (0, 1)),
        "fixed": (True, (3, 3)),
        "gpu": (True, (1, 1)),
        "memory": (True, (1, 1)),
    }
