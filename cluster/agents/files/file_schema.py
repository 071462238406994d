"""Makes the JSON Schema of a file of agents for ``GET /v1/agents/schema`` and ``docs/agents.schema.json``.

python -m cluster.agents.files.file_schema > docs/agents.schema.json
"""

from typing import Any

import orjson
from pydantic.json_schema import models_json_schema

from cluster.agents.definition import AgentDefinition, AgentSettings
from cluster.agents.files.agent_rows import MAX_AGENTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def agent_file_schema() -> dict[str, Any]:
    """Return the schema of the object in a YAML or JSON file; each line of JSON lines is an
    ``AgentDefinition``.
    """
    _, whole = models_json_schema([(AgentDefinition, "validation"), (AgentSettings, "validation")])
    return {
        "$schema": DIALECT,
        "title": "Agents",
        "description": "Agents to create, and the fields that all of them share.",
        "type": "object",
        "additionalProperties": False,
        "required": ["agents"],
        "properties": {
            "defaults": {"$ref": "#/$defs/AgentSettings"},
            "agents": {
                "type": "array",
                "maxItems": MAX_AGENTS,
                "items": {"$ref": "#/$defs/AgentDefinition"},
            },
        },
        "$defs": whole["$defs"],
    }


if __name__ == "__main__":
    print(orjson.dumps(agent_file_schema(), option=orjson.OPT_INDENT_2).decode())
