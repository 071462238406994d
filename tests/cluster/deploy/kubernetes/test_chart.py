"""The Helm chart has the overlays as kustomize renders them, and renders valid manifests with its values."""

from importlib.metadata import version
from typing import Any

import pytest
import yaml

from tests.cluster.deploy.kubernetes.manifests import Resource, check, load, pods, rendered
from tests.conftest import ROOT

helm = pytest.importorskip("helm_python", reason="helm-python-sdk, which renders charts, is not installed")
CHART = ROOT / "cluster/deploy/helm"
OVERLAYS = ("cpu", "gpu-small", "gpu-large")


def chart(**values: Any) -> dict[str, Resource]:
    """Return the resources that Helm renders with these values, by kind."""
    with helm.Chart.load(str(CHART)) as loaded:
        loaded.validate_schema(values)
        (text,) = loaded.render(values, name="release", namespace="embeddings").values()
    return {one["kind"]: one for one in load(text) if one}


def overlay(name: str) -> dict[str, Resource]:
    """Return the resources of the chart's copy of an overlay, by kind."""
    return {one["kind"]: one for one in load((CHART / f"overlays/{name}.yaml").read_text())}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_chart_has_each_overlay_as_kustomize_renders_it(name: str) -> None:
    assert list(overlay(name).values()) == list(rendered(f"overlays/{name}")), "run make chart"


def test_helm_has_no_complaint_about_the_chart() -> None:
    found = helm.lint(str(CHART))

    assert found["errors"] == []
    assert {message["error"] for message in found["messages"]} == {"icon is recommended"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_without_values_the_chart_renders_the_overlay(name: str) -> None:
    found, expected = chart(overlay=name), overlay(name)
    for resources in (found, expected):
        resources["ConfigMap"]["metadata"]["name"] = "settings"
    for pod in pods([found["RayService"], expected["RayService"]]):
        for container in pod["spec"]["containers"]:
            container["envFrom"][0]["configMapRef"]["name"] = "settings"

    assert found == expected


def test_each_value_reaches_its_place() -> None:
    values = {
        "overlay": "gpu-small",
        "image": "registry.internal/cluster:7",
        "host": "vectors.internal",
        "tlsSecret": "certificate",
        "ingressClass": "haproxy",
        "secret": "secrets",
        "settings": {"CLUSTER_BLOB_URL": "s3://blobs", "CLUSTER_QUEUE_TOKENS": 2_000_000},
        "nodes": {"cpu": {"minReplicas": 2, "replicas": 2}, "gpu": {"maxReplicas": 16}},
    }
    found = chart(**values)
    for one in found.values():
        check(one)
    containers = [container for pod in pods(found["RayService"]) for container in pod["spec"]["containers"]]
    groups = {
        one["groupName"]: one for one in found["RayService"]["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    }
    ingress = found["Ingress"]["spec"]

    assert len(containers) == 3
    for container in containers:
        settings, secrets = container["envFrom"]
        assert container["image"] == "registry.internal/cluster:7"
        assert settings["configMapRef"]["name"] == found["ConfigMap"]["metadata"]["name"]
        assert secrets["secretRef"]["name"] == "secrets"
    assert found["ConfigMap"]["data"]["CLUSTER_BLOB_URL"] == "s3://blobs"
    assert found["ConfigMap"]["data"]["CLUSTER_QUEUE_TOKENS"] == "2000000"
    assert (groups["cpu"]["minReplicas"], groups["cpu"]["maxReplicas"]) == (2, 8)
    assert (groups["gpu"]["minReplicas"], groups["gpu"]["maxReplicas"]) == (0, 16)
    assert ingress["tls"] == [{"hosts": ["vectors.internal"], "secretName": "certificate"}]
    assert (ingress["rules"][0]["host"], ingress["ingressClassName"]) == ("vectors.internal", "haproxy")


def test_another_setting_gives_the_configuration_another_name() -> None:
    names = {
        chart(settings={"CLUSTER_QUEUE_TOKENS": tokens})["ConfigMap"]["metadata"]["name"] for tokens in (1, 2)
    }

    assert len(names) == 2


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"overlay": "tpu"}, "'cpu', 'gpu-small', 'gpu-large'"),
        ({"imagine": "x"}, "imagine"),
        ({"settings": {"OPENAI_API_KEY": "x"}}, "OPENAI_API_KEY"),
        ({"nodes": {"gpu": {"maxReplicas": 1}}}, "the overlay cpu has no such group of nodes"),
        ({"nodes": {"cpu": {"maxReplicas": -1}}}, "maxReplicas"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any], error: str) -> None:
    with pytest.raises(helm.HelmError, match=error):
        chart(**values)


def test_the_defaults_are_those_of_the_overlays() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    settings = overlay("cpu")["ConfigMap"]["data"]

    assert values["settings"].items() <= settings.items()
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version("embedding-cluster")
