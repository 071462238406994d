"""Unmodified client libraries with their defaults against the running server."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conformance.conftest import PYTHON
from tests.serve_app.conftest import MODEL, Server

pytestmark = pytest.mark.timeout(400)  # the first use installs the clients

TEXTS = ["a heron", "ein Reiher 🐦", "アオサギ", "a heron stands still " * 30, "naïve café"]
LONG = "word " * 300
PYTHON_CLIENTS = ("langchain", "llamaindex", "haystack_", "litellm_", "cohere_")
NODE_CLIENTS = ("openai_client", "ai_sdk")
#: Keeps the clients from using the network.
OFFLINE = {
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "DO_NOT_TRACK": "1",
    "AI_SDK_LOG_WARNINGS": "false",
    "NO_PROXY": "*",
}

Ask = Callable[[str], dict[str, Any]]


@pytest.fixture
def ask(server: Server, request: pytest.FixtureRequest) -> Ask:
    """``ask(client)`` runs the client's script against the server and returns the JSON that it prints."""
    task = json.dumps({"base_url": f"{server.url}/v1", "model": MODEL, "texts": TEXTS, "long": LONG})

    def ask(client: str) -> dict[str, Any]:
        if client in NODE_CLIENTS:
            command: list[Path | str] = [
                request.getfixturevalue("node"),
                request.getfixturevalue("node_folder") / f"{client}.mjs",
            ]
        else:
            command = [request.getfixturevalue("client_python"), PYTHON / f"{client}.py"]
        done = subprocess.run(
            command, input=task, capture_output=True, text=True, env={**os.environ, **OFFLINE}, timeout=100
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    return ask


@pytest.mark.parametrize("client", [*PYTHON_CLIENTS, *NODE_CLIENTS])
def test_a_client_returns_the_vectors_in_order_and_raises_its_own_errors(
    ask: Ask, server: Server, client: str
) -> None:
    found = ask(client)
    expected = server.service.models.default.engine.embed(TEXTS)
    assert np.allclose(found["vectors"], expected.vectors, atol=1e-5)
    assert np.allclose(found["query"], expected.vectors[0], atol=1e-5)
    assert found.get("usage", expected.token_counts.sum()) == expected.token_counts.sum()
    assert "does not exist" in found["unknown"]["message"]
    assert "this model reads 254" in found["too_long"]["message"]
    kinds = {"ai_sdk": ("APICallError", "APICallError"), "default": ("NotFoundError", "BadRequestError")}
    for error, kind in zip(
        (found["unknown"], found["too_long"]), kinds.get(client, kinds["default"]), strict=True
    ):
        assert kind in error["classes"].split(), error


def test_the_client_of_cohere_reranks(ask: Ask) -> None:
    assert ask("cohere_")["ranked"][0] == 0  # the query itself


@pytest.mark.skipif(
    shutil.which("java") is None,
    reason="this machine has no java; tests/serve_app/edge/test_http.py sends the same bytes",
)
def test_the_http_client_of_the_jdk_gets_vectors(server: Server) -> None:
    body = json.dumps({"model": MODEL, "input": TEXTS})
    command = ["java", PYTHON.with_name("java") / "Embed.java", f"{server.url}/v1/embeddings", body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert [line[:4] for line in done.stdout.splitlines()] == ["200 ", "200 "], done.stderr + done.stdout
    assert len(json.loads(done.stdout.splitlines()[0][4:])["data"]) == len(TEXTS)


def test_the_node_client_lists_the_models(ask: Ask) -> None:
    assert MODEL in ask("openai_client")["models"]
