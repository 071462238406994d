"""OpenAI's own description of its API, to hold answers against."""

from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

FILE = Path(__file__).parents[2] / "shared" / "contracts" / "openai" / "openapi-subset.yaml"


def complaints(name: str, value: Any, *, ours: Collection[str] = ()) -> list[str]:
    """How the value breaks the schema of that name.

    Args:
        ours: fields of ours in objects that OpenAI's schema closes; they are left out, wherever they are.
    """
    schema = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(_without(value, ours))]


@cache
def document() -> dict[str, Any]:
    """The description; its tests are skipped where it is not."""
    if not FILE.exists():
        pytest.skip(f"{FILE} is not here")
    document: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return document


def _without(value: Any, names: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {name: _without(part, names) for name, part in value.items() if name not in names}
    return [_without(part, names) for part in value] if isinstance(value, list) else value
