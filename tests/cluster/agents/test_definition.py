"""An agent's definition is checked, saved once for each external id, and read back whole."""

from typing import Any

import pytest
from psycopg import Connection
from pydantic import ValidationError

from cluster.agents import AgentDefinition, load_agent, save_agent
from cluster.agents.agents import agent_id, config_hash
from cluster.errors import NotFound

WHOLE = {
    "external_id": "helper",
    "name": "Helper",
    "model": "small",
    "role": "Support engineer",
    "goal": "Solve it",
    "temperature": 1,
    "greeting": "Hello!",
    "metadata": {"team": "shop"},
    "knowledge": [{"vector_store_id": "vs_b"}, {"vector_store_id": "vs_a"}, {"vector_store_id": "vs_b"}],
    "retrieval": {"k": 3, "threshold": 0.5, "rerank": False, "no_answer": "No idea."},
    "record_conversations": False,
}


def test_a_saved_definition_is_read_back_by_both_ids(connection: Connection[Any], organisation: str) -> None:
    saved = save_agent(connection, organisation, AgentDefinition.model_validate(WHOLE), knowledge={})
    assert saved == load_agent(connection, organisation, "helper")
    assert saved == load_agent(connection, organisation, saved.id)
    assert saved.definition.model_dump(mode="json", exclude_unset=True) == WHOLE
    assert saved.stores == ("vs_b", "vs_a")
    assert saved.definition.system_prompt == "Your role: Support engineer\n\nYour goal: Solve it"


def test_an_agent_that_only_events_know_cannot_be_loaded(
    connection: Connection[Any], organisation: str, stranger: str
) -> None:
    connection.execute(
        "INSERT INTO agents (organisation, id, external_id, name) VALUES (%s, %s, 'heard', 'heard')",
        [organisation, agent_id(organisation, "heard")],
    )
    with pytest.raises(NotFound, match="no definition"):
        load_agent(connection, organisation, "heard")
    save_agent(connection, organisation, AgentDefinition(external_id="heard"), knowledge={})
    assert load_agent(connection, organisation, "heard").definition.name == "heard"
    with pytest.raises(NotFound, match="there is no agent"):
        load_agent(connection, stranger, "heard")


def test_the_digest_depends_on_the_meaning_and_not_on_the_form() -> None:
    def digest(*sources: str, **fields: Any) -> str:
        return config_hash(AgentDefinition.model_validate({"external_id": "a", **fields}), sources)

    plain = digest()
    assert digest(name="a", greeting=None, retrieval={"k": 8}) == plain
    assert digest("src_1", "src_2", knowledge=[{"file_id": "file-1"}]) == digest("src_2", "src_1", "src_2")
    assert digest(metadata={"a": "1", "b": "2"}) == digest(metadata={"b": "2", "a": "1"})
    changed = [{"name": "b"}, {"temperature": 0.1}, {"retrieval": {"k": 9}}, {"role": "x"}]
    changed += [{"knowledge": [{"vector_store_id": "vs_1"}]}, {"record_conversations": False}]
    assert len({plain, digest("src_1"), *(digest(**one) for one in changed)}) == 8


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"external_id": None}, ("external_id",)),
        ({"external_id": "x" * 257}, ("external_id",)),
        ({"temperature": 2.1}, ("temperature",)),
        ({"temperature": "0.5"}, ("temperature",)),
        ({"instructions": "a", "goal": "b"}, ()),
        ({"instructions": "  "}, ("instructions",)),
        ({"greeting": "a\0"}, ("greeting",)),
        ({"metadata": {str(n): "" for n in range(17)}}, ("metadata",)),
        ({"knowledge": [{"file_id": "a", "text": "b"}]}, ("knowledge", 0)),
        ({"knowledge": [{}]}, ("knowledge", 0)),
        ({"knowledge": [{"file_id": "a", "name": "b"}]}, ("knowledge", 0)),
        ({"retrieval": {"threshold": 1.5}}, ("retrieval", "threshold")),
        ({"colour": "red"}, ("colour",)),
    ],
)
def test_a_wrong_field_is_refused_with_its_place(fields: dict[str, Any], place: tuple[Any, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        AgentDefinition.model_validate({"external_id": "a", **fields})
    assert [error["loc"] for error in refused.value.errors()] == [place]
