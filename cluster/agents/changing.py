"""Adds, changes and deletes single agents for the routes of agents. ``imports`` creates agents in bulk.

changed = add_agent(connection, blobs, "acme", "helper", {"instructions": "Be brief."}, how)
delete_agent(connection, "acme", changed.agent.id)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row
from pydantic import ValidationError

from cluster.agents import knowledge as places_of
from cluster.agents.agents import SQL, DefinedAgent, agent_id, definition_of, save_agent
from cluster.agents.contents import Contents
from cluster.agents.definition import AgentDefinition
from cluster.agents.files.agent_rows import Located, shown_path
from cluster.agents.files.reading import CheckedAgent, CheckedAgents, knowledge_references
from cluster.agents.imports import normalised, resolve
from cluster.agents.knowledge import NewStores
from cluster.agents.preparing import missing_references, prepare
from cluster.blobs import BlobStore
from cluster.errors import InvalidInput, NotFound
from cluster.organisations.organisations import StorageLimits

#: The fields that a request gives, with their new values. None removes a value.
Changes = Mapping[str, Any]
#: Beginning of the paths of faults in the only agent of a request. Error messages leave this part out.
AGENT_PATH = "agents[0]."


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeChange:
    """The resources and limits that a change of an agent's knowledge needs."""

    blobs: BlobStore
    new_stores: NewStores
    default_limits: StorageLimits
    #: Maximum size of a text in bytes.
    max_bytes: int
    #: Maximum number of attempts of the jobs that index files.
    attempts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangedAgent:
    """An agent after a change."""

    agent: DefinedAgent
    #: SHA-256 of deleted files; call ``files.release_blobs`` with them after the commit.
    released: list[str]


def add_agent(
    connection: Connection[Any], organisation: str, external_id: str, changes: Changes, how: KnowledgeChange
) -> ChangedAgent:
    """Add the agent if it does not exist, make the changes, and return the agent.

    Args:
        changes: fields of ``AgentSettings``.

    Raises:
        InvalidInput: the fields do not fit each other, or the knowledge names a thing that does not exist.
        NotPermitted: the caller's key may not use a vector store of the knowledge.
        Throttled: the organisation has reached a storage limit.
        NotFound: an uploaded file was deleted after it was checked.
        Unavailable: the last file with the bytes of a new content was deleted at the same time.
    """
    places_of.lock(connection, organisation)
    row = _row(connection, organisation, agent_id(organisation, external_id))
    return _change(connection, organisation, row or {"external_id": external_id}, changes, how)


def change_agent(
    connection: Connection[Any], organisation: str, id: str, changes: Changes, how: KnowledgeChange
) -> ChangedAgent:
    """Make the changes in the agent with this id, and return the agent.

    Raises:
        ClusterError: the errors of ``add_agent``.
        NotFound: the organisation has no such agent.
    """
    places_of.lock(connection, organisation)
    row = _row(connection, organisation, id)
    if row is None:
        raise NotFound(f"there is no agent {id!r}")
    return _change(connection, organisation, row, changes, how)


def delete_agent(connection: Connection[Any], organisation: str, id: str) -> list[str]:
    """Delete the definition and the knowledge of the agent, and the stores and files that were made for
    agents and that no agent uses any more. The statistics and the conversations of the agent stay.

    Returns:
        the SHA-256 of deleted files; call ``files.release_blobs`` with them after the commit.

    Raises:
        NotFound: the organisation has no such agent.
    """
    key = {"organisation": organisation, "agent": id}
    places_of.lock(connection, organisation)
    if not connection.execute(SQL["delete"], key).rowcount:
        raise NotFound(f"there is no agent {id!r}")
    connection.execute(SQL["forget_knowledge"], key)
    return places_of.release(connection, organisation)


def _row(connection: Connection[Any], organisation: str, id: str) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(SQL["get"], {"organisation": organisation, "agent": id}).fetchone()


def _change(
    connection: Connection[Any],
    organisation: str,
    row: dict[str, Any],
    changes: Changes,
    how: KnowledgeChange,
) -> ChangedAgent:
    old = definition_of({"name": None, "model": None, "definition": {}, **row})
    fields = {**old.model_dump(mode="json", exclude_unset=True), **changes}
    try:
        definition = AgentDefinition.model_validate(fields)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        path = shown_path("", error["loc"])
        raise InvalidInput(f"{path or 'the agent'}: {error['msg']}", param=path or None) from exc
    id = agent_id(organisation, definition.external_id)
    if "knowledge" not in changes:
        known = dict(
            connection.execute(SQL["places"], {"organisation": organisation, "agent": id}).fetchall()
        )
        return ChangedAgent(
            agent=save_agent(connection, organisation, definition, knowledge=known), released=[]
        )
    definition, places = _with_knowledge(connection, organisation, definition, how)
    agent = save_agent(connection, organisation, definition, knowledge=places)
    return ChangedAgent(agent=agent, released=places_of.release(connection, organisation))


def _with_knowledge(
    connection: Connection[Any], organisation: str, definition: AgentDefinition, how: KnowledgeChange
) -> tuple[AgentDefinition, Mapping[str, str]]:
    """Attach the files of the new knowledge. Return the definition with the ids of these files, and for each
    source the store that holds the source.
    """
    id = agent_id(organisation, definition.external_id)
    contents = Contents(how.blobs, organisation, open_file=None, max_bytes=how.max_bytes)
    given = Located(value=definition.model_dump(mode="json", exclude_unset=True))
    checked = CheckedAgents(
        agents=[CheckedAgent(number=1, given=given, definition=definition)],
        faults=[],
        references=list(knowledge_references(1, given)),
    )
    for fault in missing_references(connection, organisation, checked, contents):
        path = fault.path.removeprefix(AGENT_PATH)
        raise InvalidInput(f"{path}: {fault.message}", param=path)
    prepared = prepare(checked, contents)
    limits = how.default_limits
    (sources,) = resolve(connection, how.blobs, organisation, prepared, default_limits=limits)
    places = places_of.plan(
        connection,
        organisation,
        {id: [source.id for source in sources]},
        names={id: definition.external_id},
        new=how.new_stores,
    )
    now = datetime.now(UTC)
    places_of.attach(connection, organisation, places.values(), before=now, attempts=how.attempts)
    return normalised(prepared[0], sources), places[id]
