"""Agents and chat models are listed as models. A key reaches an agent only if its lists allow it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import NotFoundError
from psycopg_pool import ConnectionPool

from cluster.agents import AgentDefinition, DefinedAgent, save_agent
from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.stores import ensure_store
from cluster.keys.api_keys import NewKey, create_key
from cluster.organisations.caller import Scope
from tests.conftest import new_organisation
from tests.serve_app.answers.conftest import ChattingServer, NewAgent
from tests.serve_app.conftest import Server, bearer
from tests.waiting import LONGEST_WAIT_S


def test_agents_and_chat_models_are_listed_with_the_models(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent("Swifts sleep.", name="Ada")
    name = f"agent:{agent.definition.external_id}"
    listed = {one.id: one for one in chatting.openai.models.list()}

    assert listed[name].model_extra == {"kind": "agent", "agent_id": agent.id, "name": "Ada"}
    assert listed[name].created == int(agent.updated_at.timestamp())
    assert chatting.openai.models.retrieve(name) == listed[name]
    assert chatting.openai.models.retrieve(f"agent:{agent.id}") == listed[name]
    assert listed["small"].model_extra == {
        "kind": "chat",
        "context_length": 4_096,
        "max_output_tokens": 200,
    }
    assert chatting.openai.models.retrieve("small") == listed["small"]
    with pytest.raises(NotFoundError, match="there is no agent 'nobody'"):
        chatting.openai.models.retrieve("agent:nobody")


@pytest.fixture(scope="module")
def keyed_pool(keyed_server: Server) -> Iterator[ConnectionPool]:
    with open_pool(keyed_server.service.settings, access=OWNER) as pool:
        yield pool


class Owner:
    """An organisation with a store and an agent that knows the store."""

    def __init__(self, server: Server, pool: ConnectionPool, text: str) -> None:
        self.server, self.pool, self.organisation = server, pool, new_organisation(pool)
        settings, engine = server.service.settings, server.service.models.default.engine
        index = open_chunk_index(settings, pool)
        with pool.connection() as connection:
            self.store = ensure_store(connection, self.organisation, "s", fingerprint=engine.fingerprint)
        index.ensure(self.store.collection, dim=self.store.fingerprint.dim)
        vector = engine.embed([text]).vectors[0]  # type: ignore[attr-defined]  # an engine of this process
        row = ChunkRecord(id="c", document="d", text=text, attributes={}, vector=vector)
        index.upsert(self.organisation, self.store.id, [row], collection=self.store.collection)
        self.agent = self.new_agent("helper", self.store.id)

    def new_agent(self, external_id: str, store: str) -> DefinedAgent:
        definition = {"external_id": external_id, "knowledge": [{"vector_store_id": store}]}
        with self.pool.connection() as connection:
            return save_agent(
                connection, self.organisation, AgentDefinition.model_validate(definition), knowledge={}
            )

    def ask(self, model: str, **key: Any) -> httpx.Response:
        """Ask with a new key that has these properties."""
        with self.pool.connection() as connection:
            issued = create_key(connection, self.organisation, NewKey(name="k", **key))
        question = {"model": model, "messages": [{"role": "user", "content": "Where do swifts sleep?"}]}
        return httpx.post(
            f"{self.server.url}/v1/chat/completions",
            json=question,
            headers=bearer(issued.text),
            timeout=LONGEST_WAIT_S,
        )


@pytest.fixture(scope="module")
def owner(keyed_server: Server, keyed_pool: ConnectionPool) -> Owner:
    return Owner(keyed_server, keyed_pool, "Swifts sleep on the wing.")


def test_a_key_for_an_agent_needs_only_the_scope_read_and_the_agents_name(owner: Owner) -> None:
    read = frozenset({Scope.READ})
    for name in ("agent:helper", f"agent:{owner.agent.id}"):
        answer = owner.ask("agent:helper", scopes=read, models=(name,))
        assert answer.status_code == 200, answer.text
        assert [source["chunk_id"] for source in answer.json()["sources"]] == ["c"]


def test_a_key_for_other_models_or_other_stores_cannot_ask_the_agent(owner: Owner) -> None:
    read = frozenset({Scope.READ})
    other_model = owner.ask("agent:helper", scopes=read, models=("agent:other",))
    assert other_model.status_code == 403
    with owner.pool.connection() as connection:
        engine = owner.server.service.models.default.engine
        other = ensure_store(connection, owner.organisation, "t", fingerprint=engine.fingerprint)
    other_store = owner.ask("agent:helper", scopes=read, stores=(other.id,))
    assert other_store.status_code == 403
    assert "Swifts" not in other_store.text


def test_no_agent_and_no_store_of_another_organisation_is_reached(
    owner: Owner, keyed_server: Server, keyed_pool: ConnectionPool
) -> None:
    stranger = Owner(keyed_server, keyed_pool, "Herons stand still.")
    by_id = stranger.ask(f"agent:{owner.agent.id}")
    assert (by_id.status_code, by_id.json()["error"]["code"]) == (404, "model_not_found")
    stranger.new_agent("thief", owner.store.id)
    stolen = stranger.ask("agent:thief")
    assert stolen.status_code == 404
    assert "Swifts" not in stolen.text
    own = stranger.ask("agent:helper")
    assert [source["quote"] for source in own.json()["sources"]] == ["Herons stand still."]
