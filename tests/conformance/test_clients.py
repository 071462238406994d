"""Unmodified client libraries with their defaults against the running server."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from psycopg_pool import ConnectionPool

from cluster.agents import AgentDefinition, save_agent
from cluster.answers.extractive import LABEL
from cluster.documents.vector_stores.stores import VectorStore
from cluster.settings import Settings
from cluster.settings.chat import ChatModelSetting
from cluster.settings.values import Table
from tests.conformance.conftest import PYTHON
from tests.serve_app.conftest import BIRDS, MODEL, Server, serving
from tests.simulators.chat_server import chat_server
from tests.waiting import LONGEST_WAIT_S

TEXTS = ["a heron", "ein Reiher 🐦", "アオサギ", "a heron stands still " * 30, "naïve café"]
LONG = "word " * 300
QUESTION = "Where do swifts sleep?"
GENERATED = "Swifts sleep on the wing [1]."
PYTHON_CLIENTS = ("langchain", "llamaindex", "haystack_", "litellm_", "cohere_")
NODE_CLIENTS = ("openai_client", "ai_sdk")
CHAT_CLIENTS = ("langchain", "litellm_", *NODE_CLIENTS)
RESPONSE_CLIENTS = ("langchain", "litellm_", "openai_client")
#: Keeps the clients from using the network.
OFFLINE = {
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "DO_NOT_TRACK": "1",
    "AI_SDK_LOG_WARNINGS": "false",
    "NO_PROXY": "*",
}

Ask = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def agents(
    server: Server, settings: Settings, pool: ConnectionPool, birds: VectorStore
) -> Iterator[dict[str, Any]]:
    """An agent that knows the birds. One endpoint has a chat model and generates the agent's answers. The
    other endpoint has none and quotes passages.
    """
    definition = {"external_id": "birdwatcher", "knowledge": [{"vector_store_id": birds.id}]}
    with pool.connection() as connection:
        agent = AgentDefinition.model_validate(definition)
        save_agent(connection, settings.organisation, agent, knowledge={})
    with chat_server() as chat:
        chat.reply = lambda messages: GENERATED
        model = ChatModelSetting(model="m-1", base_url=chat.url, context_tokens=4_096)
        with serving(settings.model_copy(update={"chat_models": Table({"small": model})})) as generating:
            urls = {"generated": generating.url, "quoted": server.url}
            yield {way: {"base_url": f"{url}/v1", "model": "agent:birdwatcher"} for way, url in urls.items()}


@pytest.fixture(scope="module")
def ask(server: Server, agents: dict[str, Any], request: pytest.FixtureRequest) -> Ask:
    """``ask(client)`` runs the client's script once and returns the JSON that it prints."""
    task = json.dumps(
        {
            "base_url": f"{server.url}/v1",
            "model": MODEL,
            "texts": TEXTS,
            "long": LONG,
            "question": QUESTION,
            "agents": agents,
        }
    )

    @cache
    def ask(client: str) -> dict[str, Any]:
        if client in NODE_CLIENTS:
            command: list[Path | str] = [
                request.getfixturevalue("node"),
                request.getfixturevalue("node_folder") / f"{client}.mjs",
            ]
        else:
            command = [request.getfixturevalue("client_python"), PYTHON / f"{client}.py"]
        done = subprocess.run(
            command,
            input=task,
            capture_output=True,
            text=True,
            env={**os.environ, **OFFLINE},
            timeout=LONGEST_WAIT_S,
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


@pytest.mark.parametrize("client", CHAT_CLIENTS)
@pytest.mark.parametrize("way", ["generated", "quoted"])
def test_a_client_streams_an_answer_of_an_agent_with_usage_and_sources(
    ask: Ask, client: str, way: str
) -> None:
    found = ask(client)["answers"][way]
    assert found["parts"] > 1
    assert found["finish"] == "stop"
    assert "does not exist" in found["error"]["message"]
    assert {"APICallError", "NotFoundError"} & set(found["error"]["classes"].split())
    if way == "generated":
        assert (found["text"], found["completion_tokens"]) == (GENERATED, 6)
        assert found["prompt_tokens"] > 50
    else:
        assert found["text"].startswith(LABEL)
        assert BIRDS["swift"][0] in found["text"]
        assert (found["prompt_tokens"], found["completion_tokens"]) == (0, 0)
    if client == "langchain":
        return  # its chat model drops the fields that OpenAI's chunks do not have; the text has the numbers
    source, cited = found["sources"][0], found["annotations"][0]["file_citation"]
    assert (source["number"], source["filename"], source["page"]) == (1, "birds.pdf", 2)
    assert (cited["number"], cited["quote"]) == (1, BIRDS["swift"][0])
    assert found["text"][cited["start_index"] : cited["end_index"]] == "[1]"


@pytest.mark.parametrize("client", RESPONSE_CLIENTS)
@pytest.mark.parametrize("way", ["generated", "quoted"])
def test_a_client_streams_a_response_of_an_agent_with_citations_and_continues_it(
    ask: Ask, client: str, way: str
) -> None:
    found = ask(client)["responses"][way]
    assert found["parts"] > 1
    assert found["text"].startswith(GENERATED if way == "generated" else LABEL)
    assert found["next"].startswith(GENERATED if way == "generated" else LABEL)
    assert (found["prompt_tokens"] > 50, found["completion_tokens"]) == (
        (True, 6) if way == "generated" else (False, 0)
    )
    cited = found["annotations"][0]
    assert (cited["type"], cited["filename"], cited["quote"]) == (
        "file_citation",
        "birds.pdf",
        BIRDS["swift"][0],
    )
    assert found["text"][cited["index"] :].startswith("[1]")
    assert "NotFoundError" in found["error"]["classes"].split()


@pytest.mark.skipif(
    shutil.which("java") is None,
    reason="this machine has no java; tests/serve_app/edge/test_http.py sends the same bytes",
)
def test_the_http_client_of_the_jdk_gets_vectors(server: Server) -> None:
    body = json.dumps({"model": MODEL, "input": TEXTS})
    command = ["java", PYTHON.with_name("java") / "Embed.java", f"{server.url}/v1/embeddings", body]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_WAIT_S)
    assert [line[:4] for line in done.stdout.splitlines()] == ["200 ", "200 "], done.stderr + done.stdout
    assert len(json.loads(done.stdout.splitlines()[0][4:])["data"]) == len(TEXTS)


def test_the_node_client_lists_the_models(ask: Ask) -> None:
    assert MODEL in ask("openai_client")["models"]
