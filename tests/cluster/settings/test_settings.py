"""Settings refuse values that cannot work, and mean the same in every folder."""

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
        assert settings.models == {"other": str(meant)}
        assert settings.blob_url == settings.archive_url == str(meant)
    assert Settings(blob_url="s3://bucket/blobs").blob_url == "s3://bucket/blobs"
    assert Settings(models={"other": "kind:a source"}).models == {"other": "kind:a source"}


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
