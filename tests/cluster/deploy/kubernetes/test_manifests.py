"""The manifests are valid for Kubernetes and KubeRay, and name settings and commands that exist."""

import shlex
from argparse import ArgumentParser
from importlib import import_module
from importlib.metadata import version
from typing import Any

import pytest
import yaml

from cluster.deploy.serve_config import serve_config
from cluster.settings import Settings
from tests.cluster.deploy.kubernetes.manifests import (
    APPLIED,
    KUBERAY,
    Resource,
    check,
    pods,
    rendered,
    resources,
    settings_of,
)

RESOURCES = resources()
OVERLAYS = [folder for folder in APPLIED if folder.startswith("overlays/")]
#: The values that the Secret gives.
SECRETS = {"CLUSTER_DATABASE_URL": "postgresql://cluster:8f3kd@db/cluster", "CLUSTER_API_KEY": "sk-8f3kd93kd"}
NAME = {"app.kubernetes.io/name": "embedding-cluster"}


def settings_in(folder: str) -> dict[str, str]:
    """Return the settings of an overlay, as its files give them."""
    kustomization = yaml.safe_load((KUBERAY / folder / "kustomization.yaml").read_text())
    literals = [
        literal for one in kustomization.get("configMapGenerator", []) for literal in one.get("literals", [])
    ]
    return settings_of(KUBERAY / "settings/settings.env") | dict(line.split("=", 1) for line in literals)


@pytest.mark.parametrize("name", RESOURCES)
def test_every_resource_is_valid(name: str) -> None:
    check(RESOURCES[name])


@pytest.mark.parametrize("size", ["small", "large"])
def test_the_groups_of_gpu_nodes_are_valid(size: str) -> None:
    service: Any = yaml.safe_load(yaml.safe_dump(RESOURCES["RayService embedding-cluster"]))
    groups = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    (patch,) = yaml.safe_load((KUBERAY / "components/gpu-workers/gpu-workers.yaml").read_text())
    groups.append(patch["value"])
    overlay = yaml.safe_load((KUBERAY / f"overlays/gpu-{size}/kustomization.yaml").read_text())
    for change in (change for one in overlay.get("patches", []) for change in yaml.safe_load(one["patch"])):
        *parents, name = change["path"].split("/")[1:]
        place = service
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        assert change["op"] == "replace"
        assert name in place
        place[name] = change["value"]

    check(service)

    assert groups[1]["minReplicas"] == 0
    assert groups[1]["maxReplicas"] == {"small": 2, "large": 8}[size]


def test_a_field_that_the_schema_does_not_know_is_refused() -> None:
    service: Any = yaml.safe_load(yaml.safe_dump(RESOURCES["RayService embedding-cluster"]))
    service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imagine"] = "x"

    with pytest.raises(AssertionError, match="imagine"):
        check(service)


@pytest.mark.parametrize("folder", APPLIED)
def test_what_kustomize_renders_is_valid_and_names_one_configuration_and_one_image(folder: str) -> None:
    found = rendered(folder)
    (configuration,) = (one["metadata"]["name"] for one in found if one["kind"] == "ConfigMap")
    templates = [pod for one in found for pod in pods(one)]
    containers = [container for pod in templates for container in pod["spec"]["containers"]]
    sources = [source for container in containers for source in container.get("envFrom", [])]

    for one in found:
        check(one)

    assert {container["image"] for container in containers} == {
        "registry.example.com/embedding-cluster:latest"
    }
    assert {one["configMapRef"]["name"] for one in sources if "configMapRef" in one} == {configuration}
    assert {one["secretRef"]["name"] for one in sources if "secretRef" in one} == {"embedding-cluster"}


@pytest.mark.parametrize("folder", APPLIED)
def test_every_variable_is_a_setting_with_a_value_that_it_takes(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings_in(folder) | SECRETS
    assert {name.removeprefix("CLUSTER_").lower() for name in given} <= set(Settings.model_fields)
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    settings = Settings()

    assert settings.environment == "production"
    assert settings.api_host == "0.0.0.0"


def test_serve_gets_the_applications_of_serve_yaml_on_an_address_that_other_nodes_reach() -> None:
    expected = serve_config(Settings(api_host="0.0.0.0", api_port=8000))

    assert yaml.safe_load(RESOURCES["RayService embedding-cluster"]["spec"]["serveConfigV2"]) == expected


@pytest.mark.parametrize("name", [name for name in RESOURCES if name.startswith("Ray")])
def test_the_release_of_ray_is_the_installed_one(name: str) -> None:
    assert f"rayVersion': '{version('ray')}'" in str(RESOURCES[name])


@pytest.mark.parametrize("name", [name for name in RESOURCES if any(pods(RESOURCES[name]))])
def test_every_pod_runs_without_rights(name: str) -> None:
    for pod in pods(RESOURCES[name]):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def commands(resource: Resource) -> list[str]:
    """Return the commands of a job."""
    text = str(resource.get("spec", {}).get("entrypoint", ""))
    text = text or str(resource.get("spec", {}).get("jobTemplate", {}).get("entrypoint", ""))
    in_pods = [" ".join(one.get("args", [])) for pod in pods(resource) for one in pod["spec"]["containers"]]
    return [command for command in [text, *in_pods] if command]


class Parsed(Exception):
    """Raised in place of running a command whose arguments are right."""


@pytest.mark.parametrize("name", [name for name in RESOURCES if commands(RESOURCES[name])])
def test_every_command_exists_and_takes_its_arguments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse_args = ArgumentParser.parse_args

    def parse(parser: ArgumentParser, given: list[str] | None = None) -> None:
        parse_args(parser, given)
        raise Parsed

    monkeypatch.setattr(ArgumentParser, "parse_args", parse)
    for command in commands(RESOURCES[name]):
        python, flag, module, *arguments = shlex.split(command)
        assert (python, flag) == ("python", "-m")
        with pytest.raises(Parsed):
            import_module(module).main(arguments)


def test_the_ports_of_ray_are_closed_to_all_others() -> None:
    policy = RESOURCES["NetworkPolicy embedding-cluster"]["spec"]
    budget = RESOURCES["PodDisruptionBudget embedding-cluster-workers"]["spec"]["selector"]["matchLabels"]
    clusters = [pod for name, one in RESOURCES.items() if name.startswith("Ray") for pod in pods(one)]
    labels = [pod["metadata"]["labels"] for pod in clusters if "metadata" in pod]
    among_themselves, *from_outside = policy["ingress"]

    assert policy["podSelector"]["matchLabels"] == NAME
    assert among_themselves["from"] == [{"podSelector": {"matchLabels": NAME}}]
    assert [[port["port"] for port in rule["ports"]] for rule in from_outside] == [
        [8000],
        [8265],
        [8080, 9101],
    ]
    assert len(labels) >= 6
    assert all(NAME.items() <= label.items() for label in labels)
    assert any(budget.items() <= label.items() for label in labels)
