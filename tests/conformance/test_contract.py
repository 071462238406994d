"""Responses against OpenAI's own description of them, and our own description against ourselves."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator

from cluster.ledger.stores import VectorStore
from tests.serve_app.conftest import MODEL, Server

CONTRACT = Path(__file__).parents[3] / "shared" / "contracts" / "openai" / "openapi-subset.yaml"


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    """OpenAI's schemas."""
    if not CONTRACT.exists():
        pytest.skip(f"{CONTRACT} is not here")
    document: dict[str, Any] = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    return document


def complaints(contract: dict[str, Any], name: str, value: Any) -> list[str]:
    """How the value breaks the schema of that name."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": contract["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


def test_answers_and_errors_are_as_openai_describes_them(contract: dict[str, Any], server: Server) -> None:
    with httpx.Client(base_url=server.url) as http:
        embeddings = http.post("/v1/embeddings", json={"model": MODEL, "input": ["a", "b"]}).json()
        models = http.get("/v1/models").json()
        refused = [
            http.post("/v1/embeddings", json={"model": "none", "input": "a"}),
            http.post("/v1/embeddings", json={"model": MODEL, "input": []}),
            http.post("/v1/embeddings", content=b"{"),
            http.get("/v1/models/none"),
        ]
    assert complaints(contract, "CreateEmbeddingResponse", embeddings) == []
    assert complaints(contract, "ListModelsResponse", models) == []
    assert complaints(contract, "Model", models["data"][0]) == []
    for response in refused:
        assert complaints(contract, "ErrorResponse", response.json()) == []


def test_every_request_openai_allows_is_understood(contract: dict[str, Any], server: Server) -> None:
    """Each property of their request has a place in ours."""
    theirs = contract["components"]["schemas"]["CreateEmbeddingRequest"]["properties"].keys()
    with httpx.Client(base_url=server.url) as http:
        ours = http.get("/openapi.json").json()["components"]["schemas"]["EmbeddingRequest"]["properties"].keys()
    assert theirs <= ours


@pytest.mark.timeout(400)
def test_whatever_our_description_allows_or_forbids_is_never_a_server_error(
    client_python: Path, server: Server, birds: VectorStore, tmp_path: Path
) -> None:
    """Half of the requests name a model and a store that exist: names made up at random would never get past the first check."""
    description = httpx.get(f"{server.url}/openapi.json").json()
    for schema in description["components"]["schemas"].values():
        if "model" in schema.get("properties", {}):
            schema["properties"]["model"] = {"enum": [MODEL, MODEL, "none"]}
    parameters = description["paths"]["/v1/vector_stores/{vector_store}/search"]["post"]["parameters"]
    next(one for one in parameters if one["name"] == "vector_store")["schema"] = {"enum": [birds.name, "none"]}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(description))
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [client_python.parent / "schemathesis", "run", file, "--url", server.url, "--checks", checks, "--max-examples", "150"]
    options = ["--phases", "examples,coverage,fuzzing", "--request-timeout", "30", "--generation-deterministic", "--no-color"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6_000:]
