"""``compose.yaml`` is valid, and names settings, commands and paths that exist."""

import json
import re
from importlib.resources import files

import pytest
import yaml
from jsonschema import Draft7Validator

from cluster.local.__main__ import _parser
from cluster.settings import Settings
from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
CLUSTER = COMPOSE["services"]["cluster"]
GIVEN = {"POSTGRES_PASSWORD": "8f3kd93kd", "CLUSTER_API_KEY": "sk-8f3kd93kd"}


def filled(value: str) -> str:
    """Return a value with the variables of the person who starts the containers."""
    return re.sub(r"\$\{(\w+)(:\?[^}]*)?\}", lambda name: GIVEN[name[1]], value)


def test_the_file_follows_the_specification_of_compose() -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())

    errors = Draft7Validator(schema).iter_errors(COMPOSE)

    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_every_variable_is_a_setting_with_a_value_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CLUSTER["environment"].items():
        assert name.removeprefix("CLUSTER_").lower() in Settings.model_fields
        monkeypatch.setenv(name, filled(str(value)))

    settings = Settings()

    assert (settings.environment, settings.api_host) == ("production", "0.0.0.0")
    assert CLUSTER["ports"] == [f"127.0.0.1:{settings.api_port}:{settings.api_port}"]


def test_nothing_starts_without_the_password_and_the_key() -> None:
    required = re.findall(r"\$\{(\w+):\?", (ROOT / "compose.yaml").read_text())

    assert sorted(required) == sorted(GIVEN)


def test_the_command_exists_and_the_data_are_on_a_volume() -> None:
    python, flag, module, *arguments = CLUSTER["command"]
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert (python, flag, module) == ("python", "-m", "cluster.local")
    assert _parser().parse_args(arguments).stay
    assert f"CLUSTER_HOME={CLUSTER['volumes'][0].partition(':')[2]}" in dockerfile
    assert set(COMPOSE["volumes"]) == {
        volume.partition(":")[0] for one in COMPOSE["services"].values() for volume in one["volumes"]
    }
