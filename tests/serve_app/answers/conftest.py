"""An endpoint whose agents answer with a chat model on a simulated server."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.agents import AgentDefinition, DefinedAgent, save_agent
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.settings import Settings
from cluster.settings.chat import ChatModelSetting
from cluster.settings.values import Table
from tests.conftest import new_organisation
from tests.serve_app.conftest import Server, serving
from tests.simulators.chat_server import ChatServerSimulator, chat_server
from tests.waiting import LONGEST_WAIT_S

ANSWER = "Swifts sleep on the wing [1]."

NewAgent = Callable[..., DefinedAgent]
NewStore = Callable[..., VectorStore]


@dataclass(frozen=True, kw_only=True)
class ChattingServer:
    """A running endpoint with a chat model, and its chat server."""

    server: Server
    chat: ChatServerSimulator
    http: httpx.Client
    openai: OpenAI


@pytest.fixture(scope="session")
def _chatting(settings: Settings, pool: ConnectionPool) -> Iterator[ChattingServer]:
    with chat_server() as chat:
        model = ChatModelSetting(
            model="m-1",
            base_url=chat.url,
            context_tokens=4_096,
            max_output_tokens=200,
            price_per_million_input_tokens=2,
            price_per_million_output_tokens=8,
        )
        changes = {"chat_models": Table({"small": model}), "organisation": new_organisation(pool)}
        with (
            serving(settings.model_copy(update=changes)) as server,
            httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http,
            OpenAI(base_url=f"{server.url}/v1", api_key="none needed", max_retries=0) as openai,
        ):
            yield ChattingServer(server=server, chat=chat, http=http, openai=openai)
        assert chat.complaints == []


@pytest.fixture
def chatting(_chatting: ChattingServer) -> ChattingServer:
    """The endpoint; its chat server answers ``ANSWER``, and has seen no call."""
    _chatting.chat.calls.clear()
    _chatting.chat.faults.clear()
    _chatting.chat.token_s = 0.0
    _chatting.chat.reply = lambda messages: ANSWER
    return _chatting


@pytest.fixture
def new_store(chatting: ChattingServer, settings: Settings, pool: ConnectionPool) -> NewStore:
    """``new_store("a text", ...)`` makes a vector store of the endpoint's organisation with these chunks."""

    def make(*texts: str, organisation: str = "", filename: str = "birds.pdf") -> VectorStore:
        server = chatting.server
        owner = organisation or server.service.settings.organisation
        engine, index = server.service.models.default.engine, open_chunk_index(settings, pool)
        with pool.connection() as connection:
            store = ensure_store(connection, owner, f"s-{uuid4().hex[:8]}", fingerprint=engine.fingerprint)
        index.ensure(store.collection, dim=store.fingerprint.dim)
        vectors = engine.embed(list(texts)).vectors  # type: ignore[attr-defined]  # an engine of this process
        rows = [
            ChunkRecord(
                id=f"chunk-{number}",
                document=f"doc-{number}",
                text=text,
                attributes={"page": number, "start": 0, "end": len(text), "filename": filename},
                vector=vector,
            )
            for number, (text, vector) in enumerate(zip(texts, vectors, strict=True), start=1)
        ]
        index.upsert(store.organisation, store.id, rows, collection=store.collection)
        return store

    return make


@pytest.fixture
def new_agent(chatting: ChattingServer, new_store: NewStore, pool: ConnectionPool) -> NewAgent:
    """``new_agent("a text", ..., instructions="Be brief.")`` makes an agent that knows these texts."""

    def make(*texts: str, **definition: Any) -> DefinedAgent:
        knowledge = [{"vector_store_id": new_store(*texts).id}] if texts else []
        given = {"external_id": f"agent-{uuid4().hex[:8]}", "knowledge": knowledge, **definition}
        organisation = chatting.server.service.settings.organisation
        with pool.connection() as connection:
            return save_agent(connection, organisation, AgentDefinition.model_validate(given), knowledge={})

    return make
