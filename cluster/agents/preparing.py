"""Checks what the agents of an import refer to, and stores the bytes of new contents.

The command ``create_agents`` and the routes call ``missing_references`` and then ``prepare``, before
``imports.submit_import`` writes any row.

    faults = missing_references(connection, "acme", checked, contents)
    prepared = prepare(checked, contents)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.agents.contents import Contents, NewContent
from cluster.agents.definition import AgentDefinition, AgentKnowledge
from cluster.agents.files.agent_rows import AgentFault
from cluster.agents.files.reading import CheckedAgents, KnowledgeReference
from cluster.database.queries import queries
from cluster.documents.linked_files import INTERNET_SHORTCUT
from cluster.errors import InvalidInput
from cluster.formats import DOCUMENT_PURPOSES, INGESTIBLE
from cluster.organisations.caller import require_store

SQL = queries("cluster.agents", "imports.sql")


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedAgent:
    """An agent whose new contents are stored."""

    #: Position of the agent in the file or request, from 1.
    number: int
    #: Line of the agent in the file, from 1; None if it is unknown.
    line: int | None
    definition: AgentDefinition
    #: For each entry of the definition's knowledge: a new content, or the entry itself.
    knowledge: Sequence[NewContent | AgentKnowledge]


def missing_references(
    connection: Connection[Any], organisation: str, checked: CheckedAgents, contents: Contents
) -> list[AgentFault]:
    """Return a fault for each file, uploaded file and vector store that cannot be used. An entry of the
    defaults has one fault, not one for each agent.

    Raises:
        NotPermitted: the caller's key may not use a named vector store.
    """
    files = _known_files(connection, organisation, checked.references)
    stores = _known_stores(connection, organisation, checked.references)
    wrong_paths: dict[str, str | None] = {}
    faults: list[AgentFault] = []
    for reference in checked.references:
        knowledge, message, field = reference.knowledge, None, ""
        if knowledge.file is not None:
            field = "file"
            if knowledge.file not in wrong_paths:
                wrong_paths[knowledge.file] = _wrong_path(contents, knowledge.file)
            message = wrong_paths[knowledge.file]
        elif knowledge.file_id is not None:
            field, message = "file_id", _wrong_file(knowledge.file_id, files.get(knowledge.file_id))
        elif knowledge.vector_store_id is not None and knowledge.vector_store_id not in stores:
            field, message = "vector_store_id", f"no vector store {knowledge.vector_store_id!r}"
        if message is not None:
            faults.append(reference.fault(field, message))
    return faults


def prepare(checked: CheckedAgents, contents: Contents) -> list[PreparedAgent]:
    """Store the bytes of the new contents of agents without faults.

    Raises:
        InvalidInput: a file has changed since the check, and cannot become knowledge any more.
    """
    return [
        PreparedAgent(
            number=agent.number,
            line=agent.given.line_of(()),
            definition=agent.definition,
            knowledge=[_stored(one, contents) for one in agent.definition.knowledge],
        )
        for agent in checked.agents
    ]


def _stored(knowledge: AgentKnowledge, contents: Contents) -> NewContent | AgentKnowledge:
    if knowledge.file is not None:
        return contents.of_file(knowledge.file)
    if knowledge.url is not None:
        return contents.of_url(knowledge.url)
    return contents.of_text(knowledge) if knowledge.text is not None else knowledge


def _known_files(
    connection: Connection[Any], organisation: str, references: Iterable[KnowledgeReference]
) -> dict[str, tuple[str, str]]:
    """Return, by id, the media type and the purpose of each referenced file that exists."""
    ids = {one.knowledge.file_id for one in references if one.knowledge.file_id is not None}
    found = connection.execute(SQL["file_hashes"], {"organisation": organisation, "ids": list(ids)})
    return {id: (media_type, purpose) for id, _, media_type, purpose in found}


def _known_stores(
    connection: Connection[Any], organisation: str, references: Iterable[KnowledgeReference]
) -> set[str]:
    """Return the ids of the referenced vector stores that exist and have not expired.

    Raises:
        NotPermitted: the caller's key is limited to other stores.
    """
    ids = {one.knowledge.vector_store_id for one in references if one.knowledge.vector_store_id is not None}
    for id in ids:
        require_store(id)
    found = connection.execute(SQL["live_stores"], {"organisation": organisation, "ids": list(ids)})
    return {id for (id,) in found}


def _wrong_path(contents: Contents, path: str) -> str | None:
    try:
        contents.check(path)
    except InvalidInput as exc:
        return str(exc)
    return None


def _wrong_file(id: str, found: tuple[str, str] | None) -> str | None:
    if found is None:
        return f"no file {id!r}"
    media_type, purpose = found
    if purpose not in DOCUMENT_PURPOSES:
        return f"file {id!r} is for {purpose!r}; upload it for {' or '.join(DOCUMENT_PURPOSES)}"
    if media_type not in {INTERNET_SHORTCUT, *(row.media_type for row in INGESTIBLE)}:
        return f"file {id!r} is {media_type}, from which no text is read"
    return None
