"""Saves and reads agents with their definitions.

The answer flow calls ``load_agent`` for each request, and so does the job ``precompute_contexts``.

    save_agent(connection, "acme", definition, knowledge={})
    agent = load_agent(connection, "acme", "helper")
    agent.definition.system_prompt, agent.stores
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from cluster.agents.definition import AgentDefinition
from cluster.database.queries import queries
from cluster.errors import NotFound
from cluster.platform_data.ids import row_id
from cluster.records import digest
from cluster.text.well_formed import json_bytes

SQL = queries("cluster.agents", "agents.sql")
#: Fields of a definition that have columns of their own in the table ``agents``.
COLUMNS = frozenset({"external_id", "name", "model"})


@dataclass(frozen=True, kw_only=True, slots=True)
class DefinedAgent:
    """An agent that can answer."""

    #: Id of the agent, ``agent_...``.
    id: str
    definition: AgentDefinition
    #: Ids of the vector stores that the agent searches, each once. The stores that the definition names come
    #: first, then the stores of the agent's files and texts. Empty for an agent without knowledge.
    stores: tuple[str, ...]
    #: Digest of the definition and of the contents of the agent's files and texts (``config_hash``).
    config_hash: str
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedAgent:
    """An agent in a list of models."""

    id: str
    external_id: str
    name: str
    updated_at: datetime


def load_agent(connection: Connection[Any], organisation: str, id_or_external_id: str) -> DefinedAgent:
    """Return the agent with this id, or else the agent with this external id.

    Raises:
        NotFound: the organisation has no such agent, or the agent has no definition.
    """
    key = {"organisation": organisation, "agent": id_or_external_id}
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL["load"], key).fetchone()
        if row is None:
            raise NotFound(f"there is no agent {id_or_external_id!r}")
        if row["definition"] is None:
            raise NotFound(
                f"agent {id_or_external_id!r} is only known from events and has no definition; "
                "POST /v1/agents gives it one"
            )
    definition = definition_of(row)
    named = [one.vector_store_id for one in definition.knowledge if one.vector_store_id is not None]
    return DefinedAgent(
        id=row["id"],
        definition=definition,
        stores=tuple(dict.fromkeys([*named, *row["stores"]])),
        config_hash=row["config_hash"],
        updated_at=row["updated_at"],
    )


def answering_agents(connection: Connection[Any], organisation: str, *, limit: int) -> list[ListedAgent]:
    """Return at most ``limit`` agents that can answer, in the order of their external ids."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["answering"], {"organisation": organisation, "limit": limit})
        return [ListedAgent(**row) for row in rows]


def stores_of(connection: Connection[Any], organisation: str, agents: Sequence[str]) -> dict[str, list[str]]:
    """Return, for each of these agents that has sources, the ids of the stores that have its sources."""
    values = {"organisation": organisation, "agents": list(agents)}
    return dict(connection.execute(SQL["stores_of_many"], values).fetchall())


def definition_of(row: dict[str, Any]) -> AgentDefinition:
    """Make the definition from a row of the table ``agents``."""
    columns = {name: row[name] or None for name in ("external_id", "name", "model")}
    return AgentDefinition.model_validate({**row["definition"], **columns})


def agent_id(organisation: str, external_id: str) -> str:
    """Return the id of the agent with this external id. The ingestion of events makes the same id."""
    return row_id("agent", organisation, external_id)


def save_agent(
    connection: Connection[Any],
    organisation: str,
    definition: AgentDefinition,
    *,
    knowledge: Mapping[str, str],
) -> DefinedAgent:
    """Add the agent, or replace its definition and its knowledge, in the caller's transaction.

    Args:
        definition: the definition, whose knowledge names only uploaded files and vector stores.
        knowledge: for the id of each source that the agent knows, the vector store that holds the source.
    """
    key = {"organisation": organisation, "agent": agent_id(organisation, definition.external_id)}
    values = {
        "external_id": definition.external_id,
        "name": definition.name or definition.external_id,
        "model": definition.model,
        "definition": Jsonb(definition.model_dump(mode="json", exclude_unset=True, exclude=set(COLUMNS))),
        "config_hash": config_hash(definition, knowledge),
    }
    connection.execute(SQL["save"], {**key, **values})
    connection.execute(SQL["forget_knowledge"], key)
    known = {"sources": list(knowledge), "stores": list(knowledge.values())}
    connection.execute(SQL["know"], {**key, **known})
    return load_agent(connection, organisation, key["agent"])


def config_hash(definition: AgentDefinition, sources: Iterable[str]) -> str:
    """Return a digest of the definition and of what the agent knows. Definitions that mean the same have the
    same digest, even if they were written differently.

    Args:
        definition: the definition. Of its knowledge, only the vector stores count; ``sources`` has the rest.
        sources: ids of the sources that the agent knows. Each id is made from the content of the source.
    """
    fields = definition.model_dump(mode="json", exclude={"knowledge"})
    stores = {one.vector_store_id for one in definition.knowledge if one.vector_store_id is not None}
    whole = {
        **fields,
        "name": definition.name or definition.external_id,
        "metadata": sorted(definition.metadata.items()),
        "stores": sorted(stores),
        "sources": sorted(set(sources)),
    }
    return digest("agent", json_bytes(whole).decode(), size=16)
