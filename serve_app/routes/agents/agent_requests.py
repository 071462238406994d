"""The models of the requests that add and change agents."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from cluster.agents.definition import (
    MAX_KNOWLEDGE,
    MAX_KNOWLEDGE_CHARACTERS,
    MAX_PASSAGES,
    AgentId,
    AgentMetadata,
    AgentName,
    Prompt,
    Sentence,
)
from cluster.agents.files.agent_rows import MAX_AGENTS
from cluster.jobs.kinds.inputs import MAX_URL_CHARACTERS
from serve_app.edge.request_model import PositiveWhole, RequestModel, Text
from serve_app.messages import must
from serve_app.routes.platform_data.directory_requests import ExternalIdField

#: The fields of an agent's definition that a request can set.
SETTABLE = (
    *("name", "model", "instructions", "role", "goal", "backstory", "temperature", "greeting"),
    *("metadata", "knowledge", "retrieval", "record_conversations"),
)


class AgentKnowledgeRequest(RequestModel):
    """One thing that an agent knows. Exactly one of `file_id`, `url`, `text` and `vector_store_id` is
    given.
    """

    file_id: AgentId | None = None
    """Id of an uploaded file."""
    url: Annotated[Text, Field(min_length=1, max_length=MAX_URL_CHARACTERS)] | None = None
    """URL of a page or a document. A job fetches it."""
    text: Annotated[Text, Field(min_length=1, max_length=MAX_KNOWLEDGE_CHARACTERS)] | None = None
    """The text itself. It is stored as a file."""
    name: AgentName | None = None
    """Name of the text in the sources of answers; only together with `text`."""
    vector_store_id: AgentId | None = None
    """Id of a vector store of yours. The agent searches the whole store."""


class AgentRetrievalRequest(RequestModel):
    """How an agent searches its knowledge."""

    k: Annotated[PositiveWhole, Field(le=MAX_PASSAGES)] | None = None
    """Maximum number of passages for an answer; 8 by default."""
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Minimum score of a passage, 0 by default. If no passage reaches it, the agent says that it found
    nothing."""
    rerank: bool | None = None
    """If true, which is the default, the cross-encoder orders the passages, provided that the cluster has
    one."""
    no_answer: Sentence | None = None
    """What the agent says if it found nothing."""


class AgentChangesRequest(RequestModel):
    """The fields of an agent that a request can set. Fields that are not given keep their values, and `null`
    removes a value."""

    NULL_CLEARS = frozenset(SETTABLE)

    name: AgentName | None = None
    """Name of the agent, for people; `null` sets it to the external id."""
    model: AgentName | None = None
    """Name of the chat model; by default, the default chat model of the cluster."""
    instructions: Prompt | None = None
    """What the agent is to do and how. Give either this, or `role`, `goal` and `backstory`."""
    role: Prompt | None = None
    """The role of the agent, such as `Support engineer`."""
    goal: Prompt | None = None
    """What the agent wants to achieve."""
    backstory: Prompt | None = None
    """The background of the agent."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """Temperature of the chat model; by default, the model's own."""
    greeting: Sentence | None = None
    """The first sentence of a conversation, which your application can show."""
    metadata: AgentMetadata | None = None
    """Up to 16 named texts, which replace all earlier ones."""
    knowledge: Annotated[list[AgentKnowledgeRequest], Field(max_length=MAX_KNOWLEDGE)] | None = None
    """What the agent knows, which replaces all earlier knowledge. Files are indexed after the answer."""
    retrieval: AgentRetrievalRequest | None = None
    """How the agent searches its knowledge, which replaces all earlier values."""
    record_conversations: bool | None = None
    """If false, the cluster does not store the conversations of the agent."""

    def changes(self) -> dict[str, Any]:
        """Return the given fields with their values."""
        given = self.model_dump(exclude_unset=True)
        return {name: given[name] for name in SETTABLE if name in given}


class NewAgentRequest(AgentChangesRequest):
    """An agent to add, or to change if it exists."""

    external_id: ExternalIdField
    """Your id of the agent, at most 256 characters. Events name the agent by it."""


class BulkAgentsRequest(RequestModel):
    """Agents to create, as a list or as an uploaded file. Exactly one of `agents` and `file_id` is given."""

    agents: Annotated[list[Any], Field(min_length=1, max_length=MAX_AGENTS)] | None = None
    """The agents, each as in `GET /v1/agents/schema`."""
    file_id: Text | None = None
    """Id of an uploaded file with agents: YAML, JSON, JSON lines or CSV, as its name says."""
    defaults: dict[str, Any] | None = None
    """Fields for all agents of `agents`. A file has its own defaults."""
    mode: Literal["atomic", "partial"] = "atomic"
    """`atomic`: all agents or none. `partial`: every agent that can be created."""
    validate_only: bool = False
    """If true, nothing is created, and the answer lists every error."""

    @model_validator(mode="after")
    def _one_source(self) -> "BulkAgentsRequest":
        if (self.agents is None) == (self.file_id is None):
            raise must("have exactly one of agents and file_id")
        if self.file_id is not None and self.defaults is not None:
            raise must("have no defaults together with file_id; put them into the file")
        return self
