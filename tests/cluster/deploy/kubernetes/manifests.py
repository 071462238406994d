"""Reads the manifests, renders the overlays with kubectl, and validates resources."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S

KUBERAY = ROOT / "cluster/deploy/kuberay"
CRDS = ROOT.parent / "shared" / "contracts" / "kuberay"
#: The folders that a person applies.
APPLIED = ("overlays/cpu", "overlays/gpu-small", "overlays/gpu-large", "jobs")
KUBERNETES_VERSION = "1.32"
#: Files that kustomize reads but does not send to Kubernetes.
NOT_RESOURCES = {"kustomization.yaml", "name-references.yaml", "gpu-workers.yaml"}

Resource = dict[str, Any]


def load(text: str) -> list[Any]:
    """Return the documents of a YAML file. The schemas are large, and the parser in C reads them ten times
    faster than the one in Python.
    """
    return list(yaml.load_all(text, yaml.CSafeLoader))


def resources() -> dict[str, Resource]:
    """Return the resources as they stand in the files, by kind and name."""
    found = {}
    for path in sorted(KUBERAY.rglob("*.yaml")):
        if path.name not in NOT_RESOURCES:
            for one in load(path.read_text()):
                found[f"{one['kind']} {one['metadata']['name']}"] = one
    return found


@cache
def rendered(folder: str) -> tuple[Resource, ...]:
    """Return the resources of a folder as kustomize renders them. Skip the test without kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl, which renders the overlays, is not installed")
    text = subprocess.run(
        ["kubectl", "kustomize", KUBERAY / folder],
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST_WAIT_S,
    ).stdout
    return tuple(load(text))


def check(resource: Resource) -> None:
    """Validate a resource with the schema of its kind. Unknown fields are errors."""
    if not resource["apiVersion"].startswith("ray.io/"):
        kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)
        return
    errors = [f"{error.json_path}: {error.message}" for error in crd(resource["kind"]).iter_errors(resource)]
    assert not errors, errors


@cache
def crd(kind: str) -> Draft202012Validator:
    """Return the validator of KubeRay's resources of this kind. Skip the test without the schema."""
    path = CRDS / f"ray.io_{kind.lower()}s.yaml"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    (definition,) = load(path.read_text())
    (version,) = (one for one in definition["spec"]["versions"] if one["name"] == "v1")
    return Draft202012Validator(_closed(version["schema"]["openAPIV3Schema"], top=True))


def _closed(schema: Any, *, top: bool = False) -> Any:
    """Return the schema without permission for fields that it does not name. Kubernetes drops such fields."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    is_object = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if is_object and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    if top:
        closed["properties"]["metadata"] = {"type": "object"}
    return closed


def pods(resource: Resource) -> Iterator[Mapping[str, Any]]:
    """Yield the template of each pod of a resource."""
    if isinstance(resource, dict):
        if "containers" in resource.get("spec", {}):
            yield resource
        for value in resource.values():
            yield from pods(value)
    elif isinstance(resource, list):
        for value in resource:
            yield from pods(value)


def settings_of(path: Path) -> dict[str, str]:
    """Return the variables of a file like ``settings.env``."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)
