"""The models of the answers about agents. Times are in seconds since 1970."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from cluster.agents.agents import definition_of
from cluster.agents.definition import AgentKnowledge, AgentRetrieval
from cluster.agents.files.agent_rows import AgentFault
from cluster.platform_data.rows import Agent
from serve_app.edge.response_model import ListObject, Omissible, ResponseModel
from serve_app.routes.files import unix


class AgentKnowledgeObject(ResponseModel):
    """One thing that an agent knows."""

    file_id: Omissible[str] = None
    """Id of a file; left out for a vector store."""
    vector_store_id: Omissible[str] = None
    """Id of a vector store of yours; left out for a file."""

    @classmethod
    def of(cls, knowledge: AgentKnowledge) -> Self:
        """Show the entry."""
        return cls(file_id=knowledge.file_id, vector_store_id=knowledge.vector_store_id)


class AgentRetrievalObject(ResponseModel):
    """How an agent searches its knowledge."""

    k: int
    """Maximum number of passages for an answer."""
    threshold: float
    """Minimum score of a passage."""
    rerank: bool
    """True if the cross-encoder orders the passages, provided that the cluster has one."""
    no_answer: str
    """What the agent says if it found nothing."""

    @classmethod
    def of(cls, retrieval: AgentRetrieval) -> Self:
        """Show the values."""
        return cls(
            k=retrieval.k,
            threshold=retrieval.threshold,
            rerank=retrieval.rerank,
            no_answer=retrieval.no_answer,
        )


class AgentObject(ResponseModel):
    """An agent that talks to customers."""

    id: str
    """Id of the agent, `agent_...`."""
    object: Literal["agent"] = "agent"
    """Always `agent`."""
    created_at: int
    """Time at which the cluster first heard of the agent."""
    external_id: str
    """Your id of the agent."""
    name: str
    """Name of the agent, for people."""
    model: str | None
    """Name of the agent's model; null if it is unknown, or if the agent uses the default chat model."""
    defined: bool
    """True if the agent has a definition and can answer; false if only events name it."""
    instructions: str | None
    """What the agent is to do and how; null if it is not given."""
    role: str | None
    """The role of the agent; null if it is not given."""
    goal: str | None
    """What the agent wants to achieve; null if it is not given."""
    backstory: str | None
    """The background of the agent; null if it is not given."""
    temperature: float | None
    """Temperature of the chat model; null for the model's own."""
    greeting: str | None
    """The first sentence of a conversation; null if it is not given."""
    metadata: dict[str, str]
    """Named texts that the caller stored with the agent."""
    knowledge: list[AgentKnowledgeObject]
    """What the agent knows. A text is a file here."""
    retrieval: AgentRetrievalObject
    """How the agent searches its knowledge."""
    record_conversations: bool
    """False if the cluster does not store the conversations of the agent."""
    vector_store_ids: list[str]
    """Ids of the vector stores that the agent searches. Their `file_counts` tell which files can be searched
    already."""

    @classmethod
    def of(cls, agent: Agent, stores: Sequence[str]) -> Self:
        """Show the agent, and the stores of its files and texts."""
        names = ("external_id", "name", "model")
        row: dict[str, Any] = {name: getattr(agent, name) for name in names}
        definition = definition_of({**row, "definition": agent.definition or {}})
        own = [one.vector_store_id for one in definition.knowledge if one.vector_store_id is not None]
        return cls(
            id=agent.id,
            created_at=unix(agent.created_at),
            external_id=agent.external_id,
            name=agent.name,
            model=agent.model,
            defined=agent.definition is not None,
            instructions=definition.instructions,
            role=definition.role,
            goal=definition.goal,
            backstory=definition.backstory,
            temperature=definition.temperature,
            greeting=definition.greeting,
            metadata=definition.metadata,
            knowledge=[AgentKnowledgeObject.of(one) for one in definition.knowledge],
            retrieval=AgentRetrievalObject.of(definition.retrieval),
            record_conversations=definition.record_conversations,
            vector_store_ids=list(dict.fromkeys([*own, *stores])),
        )


class AgentList(ListObject[AgentObject]):
    """A page of agents."""


class DeletedAgent(ResponseModel):
    """The confirmation that an agent was deleted."""

    id: str
    """Id of the deleted agent."""
    object: Literal["agent.deleted"] = "agent.deleted"
    """Always `agent.deleted`."""
    deleted: Literal[True] = True
    """Always true."""


class AgentErrorObject(ResponseModel):
    """Says what is wrong with one value of an agent."""

    row: int | None
    """Position of the agent, from 1; null if the error is not in an agent."""
    line: int | None
    """Line of the file; null if it is unknown."""
    path: str
    """The place of the value, such as `agents[3].retrieval.k`; empty for the whole file."""
    message: str
    """What is wrong, and the limit."""

    @classmethod
    def of(cls, fault: AgentFault) -> Self:
        """Show the error."""
        return cls(row=fault.row, line=fault.line, path=fault.path, message=fault.message)


class FailedAgentObject(ResponseModel):
    """An agent that an import could not create."""

    number: int
    """Position of the agent, from 1."""
    line: int | None
    """Line of the file; null if it is unknown."""
    external_id: str
    """Your id of the agent."""
    error: str
    """Why the agent could not be created."""


class AgentImportObject(ResponseModel):
    """An import of agents: how far it is, or the errors in it."""

    object: Literal["agent_import"] = "agent_import"
    """Always `agent_import`."""
    job: str | None
    """Id of the job that creates the agents; null if nothing is created."""
    agents: int
    """Number of agents in the import."""
    created: int
    """Number of agents that were created."""
    updated: int
    """Number of agents that were changed."""
    unchanged: int
    """Number of agents that had this definition already."""
    failed: int
    """Number of agents that could not be created."""
    files: int
    """Number of files that the new and changed agents know; each file counts once."""
    files_completed: int
    """Number of these files that can be searched."""
    files_failed: int
    """Number of these files that could not be indexed."""
    tokens_embedded: int
    """Number of tokens that were embedded for the import."""
    failures: list[FailedAgentObject]
    """The first 100 agents that could not be created."""
    errors: list[AgentErrorObject]
    """Every error that was found; empty if a job was submitted."""

    @classmethod
    def of(cls, job: str | None, summary: Mapping[str, Any], errors: Sequence[AgentFault] = ()) -> Self:
        """Show the import."""
        counts = {name: value for name, value in summary.items() if name != "failures"}
        failures = [FailedAgentObject(**failure) for failure in summary["failures"]]
        return cls(
            job=job, **counts, failures=failures, errors=[AgentErrorObject.of(fault) for fault in errors]
        )
