"""Checks requests and answers against Pinecone's own description of its API.

contract = Contract()                      # checks nothing if the description is not there
contract.check("UpsertRequest", body)      # a list of what is wrong
"""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "contracts" / "pinecone"
FILE = FOLDER / "db_data_2026-04.oas.yaml"
#: The versions of the API that the simulator knows.
VERSIONS = {"2025-10", "2026-04"}


class Contract:
    """Checks values by the name of their schema."""

    def check(self, schema: str, value: Any) -> list[str]:
        """What in this value breaks the schema. Fields that the schema does not name break it, too."""
        if not FILE.exists():
            return []
        properties = schemas()[schema].get("properties", {})
        unknown = [f"{schema} has no field {name}" for name in value if name not in properties]
        errors = validator(schema).iter_errors(sample(value))
        return unknown + [f"{schema}{error.json_path[1:]}: {error.message}" for error in errors]


def sample(value: Any) -> Any:
    """The value with one element of each shape in long lists and objects, because a check takes time."""
    if isinstance(value, list):
        if len(types := set(map(type, value))) == 1 and types <= {int, float, str}:
            return value[:1]
        return list({shape(one): sample(one) for one in value}.values())
    if isinstance(value, dict):
        kept = {shape(one): name for name, one in value.items()} if len(value) > 50 else {}
        return {name: sample(value[name]) for name in (kept.values() or value)}
    return value


def shape(value: Any) -> Any:
    """Equal for values that a schema treats alike, apart from limits that the simulator checks itself."""
    if isinstance(value, dict):
        return tuple((name, type(one)) for name, one in value.items())
    return type(value)


@cache
def schemas() -> dict[str, Any]:
    """The schemas of Pinecone's data plane, by name."""
    found: dict[str, Any] = yaml.load(FILE.read_text(), _Loader)["components"]["schemas"]
    return found


@cache
def validator(schema: str) -> Draft202012Validator:
    """The validator of one schema."""
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": schemas()}}
    )


class _Loader(yaml.CSafeLoader):
    """Reads dates as texts, because the examples of the description are JSON."""


_Loader.yaml_implicit_resolvers = {
    first: [one for one in resolvers if one[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
