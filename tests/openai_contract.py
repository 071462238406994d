"""Checks responses against OpenAI's own description of its API."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "shared" / "contracts" / "openai" / "openapi-subset.yaml"


def complaints(name: str, value: Any, *, ours: Collection[str] = ()) -> list[str]:
    """Messages about everything in the value that the schema of this name forbids.

    Args:
        ours: names of our own fields in objects that allow no others. They are removed before the check.
    """
    schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(_without(value, ours))]


@cache
def document() -> dict[str, Any]:
    """The description. The test is skipped where the file is missing."""
    if not FILE.exists():
        pytest.skip(f"{FILE} does not exist")
    document: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return document


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(part, names) for name, part in value.items() if name not in names}
    return [_without(part, names) for part in value] if isinstance(value, list) else value
