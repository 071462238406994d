"""The definition of an agent: what it is called, how it speaks, what it knows and how it searches.

The routes of agents, the bulk import and the answer flow use this model. Its JSON Schema is published by
``GET /v1/agents/schema``.

    definition = AgentDefinition.model_validate(
        {"external_id": "helper", "instructions": "Be brief.", "knowledge": [{"file_id": "file-1"}]}
    )
    definition.system_prompt                        # "Be brief."
"""

from typing import Annotated

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from cluster.jobs.kinds.inputs import MAX_URL_CHARACTERS, StrictInput, storable
from cluster.platform_data.event_data import MAX_ID_CHARACTERS, MAX_NAME_CHARACTERS
from cluster.records import MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTE_VALUE, MAX_ATTRIBUTES

#: Maximum number of characters of instructions, of a role, of a goal and of a backstory.
MAX_INSTRUCTIONS_CHARACTERS = 100_000
#: Maximum number of characters of a greeting and of the sentence of an agent that finds nothing.
MAX_SENTENCE_CHARACTERS = 2_000
#: Maximum number of characters of a text that an agent knows.
MAX_KNOWLEDGE_CHARACTERS = 1_000_000
#: Maximum number of entries in the knowledge of an agent.
MAX_KNOWLEDGE = 1_000
#: Maximum number of vector stores that the knowledge of an agent can name, because a search of many stores is
#: slow.
MAX_NAMED_STORES = 16
MAX_PATH_CHARACTERS = 4_096
#: Number of passages that an agent reads for an answer, by default and at most.
DEFAULT_PASSAGES, MAX_PASSAGES = 8, 50
NO_ANSWER = "I found nothing about this in my documents."


def _meaningful(text: str) -> str:
    """Return the text. Raise an error if the text is blank or Postgres cannot store it."""
    if not text.strip():
        raise PydanticCustomError("must", "must not be blank; leave it out if there is none")
    return storable(text)


#: Checks of texts. In the types below, the limits of the length come first, and the JSON Schema shows them.
_STORABLE, _MEANINGFUL = AfterValidator(storable), AfterValidator(_meaningful)
AgentId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS), _STORABLE]
AgentName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS), _STORABLE]
Sentence = Annotated[str, Field(max_length=MAX_SENTENCE_CHARACTERS), _MEANINGFUL]
Prompt = Annotated[str, Field(max_length=MAX_INSTRUCTIONS_CHARACTERS), _MEANINGFUL]
AgentMetadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=MAX_ATTRIBUTE_NAME), _STORABLE],
        Annotated[str, Field(max_length=MAX_ATTRIBUTE_VALUE), _STORABLE],
    ],
    Field(max_length=MAX_ATTRIBUTES),
]


class AgentKnowledge(StrictInput):
    """One thing that an agent knows: a file, a URL, a text or a vector store. Exactly one of `file`,
    `file_id`, `url`, `text` and `vector_store_id` is given.
    """

    file: Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS), _STORABLE] | None = None
    """Path of a file, relative to the file of the agents. Only the command `create_agents` reads paths."""
    file_id: AgentId | None = None
    """Id of an uploaded file."""
    url: Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARACTERS), _STORABLE] | None = None
    """URL of a page or a document. A job fetches it."""
    text: Annotated[str, Field(max_length=MAX_KNOWLEDGE_CHARACTERS), _MEANINGFUL] | None = None
    """The text itself. It is stored as a file."""
    name: AgentName | None = None
    """Name of the text in the sources of answers; only together with `text`."""
    vector_store_id: AgentId | None = None
    """Id of a vector store of yours. The agent searches the whole store."""

    @model_validator(mode="after")
    def _one_kind(self) -> "AgentKnowledge":
        kinds = ("file", "file_id", "url", "text", "vector_store_id")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            found = "none of them" if not given else " and ".join(given)
            raise PydanticCustomError(
                "one_kind",
                "must have exactly one of {kinds}, and has {found}",
                {"kinds": ", ".join(kinds), "found": found},
            )
        if self.name is not None and self.text is None:
            raise PydanticCustomError("name_of_text", "has a name without a text; remove the name")
        return self


class AgentRetrieval(StrictInput):
    """How an agent searches its knowledge."""

    k: Annotated[int, Field(ge=1, le=MAX_PASSAGES)] = DEFAULT_PASSAGES
    """Maximum number of passages for an answer."""
    threshold: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    """Minimum value of a passage: the score of the cross-encoder, or else the cosine similarity of the
    question and the passage. If no passage reaches it, the agent says that it found nothing."""
    rerank: bool = True
    """If true, the cross-encoder orders the passages, provided that the cluster has one."""
    no_answer: Sentence = NO_ANSWER
    """What the agent says if it found nothing."""


class AgentSettings(StrictInput):
    """The fields of an agent except its id. A file of agents can have defaults for them."""

    name: AgentName | None = None
    """Name of the agent, for people; by default, the external id."""
    model: AgentName | None = None
    """Name of the chat model; by default, the first chat model of the cluster."""
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
    metadata: AgentMetadata = Field(default={})
    """Up to 16 named texts, which are stored and returned unchanged."""
    knowledge: Annotated[tuple[AgentKnowledge, ...], Field(max_length=MAX_KNOWLEDGE, strict=False)] = ()
    """What the agent knows."""
    retrieval: AgentRetrieval = AgentRetrieval()
    """How the agent searches its knowledge."""
    record_conversations: bool = True
    """If false, the cluster does not store the conversations of the agent."""

    @model_validator(mode="after")
    def _one_prompt(self) -> "AgentSettings":
        parts = [name for name in ("role", "goal", "backstory") if getattr(self, name) is not None]
        if self.instructions is not None and parts:
            raise PydanticCustomError(
                "one_prompt",
                "has instructions and {parts}; give only one of the two",
                {"parts": ", ".join(parts)},
            )
        return self

    @field_validator("knowledge")
    @classmethod
    def _few_stores(cls, knowledge: tuple[AgentKnowledge, ...]) -> tuple[AgentKnowledge, ...]:
        stores = {one.vector_store_id for one in knowledge} - {None}
        if len(stores) > MAX_NAMED_STORES:
            raise PydanticCustomError(
                "must",
                "must have at most {limit} vector stores, and has {count}",
                {"limit": MAX_NAMED_STORES, "count": len(stores)},
            )
        return knowledge

    @property
    def system_prompt(self) -> str:
        """The instructions; or the role, the goal and the backstory as text; empty if none is given."""
        if self.instructions is not None:
            return self.instructions
        parts = (("Your role", self.role), ("Your goal", self.goal), ("Your background", self.backstory))
        return "\n\n".join(f"{title}: {text}" for title, text in parts if text is not None)


class AgentDefinition(AgentSettings):
    """An agent: what it is called, how it speaks, what it knows and how it searches."""

    external_id: AgentId
    """Your id of the agent. The cluster makes its own id from it, so an agent is never created twice."""
