"""GET /v1/models and /v1/models/{model}: the models that compute vectors, the chat models and the agents.

An answer shows the kind of a model. It never shows where the model comes from, its base URL or the name of
the environment variable with its key.
"""

from typing import Literal, Self

from cluster.agents import ListedAgent, answering_agents
from cluster.chat import ChatModel
from cluster.organisations.caller import current_caller, require_model
from serve_app.answers import AGENT_PREFIX, Answerer
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.output import int8_range
from serve_app.embedding.served_model import ServedModel
from serve_app.routes.files import unix

router = json_router(404)

#: Maximum number of agents in the list of models.
MAX_AGENTS = 1_000


class ModelObject(ResponseModel):
    """OpenAI's Model, with the fields after `owned_by` added. Clients need these to use the vectors."""

    id: str
    """Name of the model, as requests send it."""
    object: Literal["model"] = "model"
    """Always `model`."""
    created: Literal[0] = 0
    """Always 0, because OpenAI's schema requires a time and a served model has no time of creation."""
    owned_by: Literal["embedding-cluster"] = "embedding-cluster"
    """Always `embedding-cluster`."""
    kind: str
    """How the vectors are computed: `local` and `sentence-transformers` compute in this cluster; with
    `openai`, the texts are sent to a server that the operator chose."""
    dimensions: int
    """Number of dimensions of the model's vectors."""
    trained_dimensions: list[int]
    """Numbers of dimensions that the model was trained for; a request may choose one in `dimensions`."""
    max_input_tokens: int
    """Maximum number of tokens of an input, special tokens included."""
    max_model_len: int
    """The same number as `max_input_tokens`, for vLLM's clients."""
    context_length: int
    """The same number as `max_input_tokens`, for model routers."""
    prompts: dict[str, str]
    """The model's prompts by name; `prompt_name` or `input_type` of a request selects a prompt."""
    int8_range: float
    """The number that `output_dtype` `int8` writes as 127."""
    fingerprint: str
    """Id of the vectors' space: vectors with the same fingerprint can be compared."""

    @classmethod
    def of(cls, model: ServedModel, kind: str) -> Self:
        """Convert the served model into the object that answers contain; ``kind`` is the kind of engine."""
        fingerprint = model.engine.fingerprint
        return cls(
            id=model.name,
            kind=kind,
            dimensions=fingerprint.dim,
            trained_dimensions=list(model.engine.dimensions),
            max_input_tokens=fingerprint.max_tokens,
            max_model_len=fingerprint.max_tokens,
            context_length=fingerprint.max_tokens,
            prompts=dict(model.engine.prompts),
            int8_range=int8_range(fingerprint.dim),
            fingerprint=fingerprint.id,
        )


class ChatModelObject(ResponseModel):
    """A chat model, which `model` of POST /v1/chat/completions can name."""

    id: str
    """Name of the model, as requests send it."""
    object: Literal["model"] = "model"
    """Always `model`."""
    created: Literal[0] = 0
    """Always 0, because OpenAI's schema requires a time."""
    owned_by: Literal["embedding-cluster"] = "embedding-cluster"
    """Always `embedding-cluster`."""
    kind: Literal["chat"] = "chat"
    """Always `chat`."""
    context_length: int
    """Maximum number of tokens of a prompt and its answer together."""
    max_output_tokens: int
    """Maximum number of tokens of an answer."""

    @classmethod
    def of(cls, model: ChatModel) -> Self:
        """Show the chat model."""
        return cls(
            id=model.name, context_length=model.context_tokens, max_output_tokens=model.max_output_tokens
        )


class AgentModelObject(ResponseModel):
    """An agent of the organisation, which `model` of POST /v1/chat/completions can name."""

    id: str
    """`agent:` and the external id of the agent, as requests send it."""
    object: Literal["model"] = "model"
    """Always `model`."""
    created: int
    """Time of the agent's last change, in seconds since 1970."""
    owned_by: Literal["embedding-cluster"] = "embedding-cluster"
    """Always `embedding-cluster`."""
    kind: Literal["agent"] = "agent"
    """Always `agent`."""
    agent_id: str
    """Id of the agent, `agent_...`."""
    name: str
    """Name of the agent, for people."""

    @classmethod
    def of(cls, agent: ListedAgent) -> Self:
        """Show the agent."""
        return cls(
            id=f"{AGENT_PREFIX}{agent.external_id}",
            created=unix(agent.updated_at),
            agent_id=agent.id,
            name=agent.name,
        )


class ModelList(ResponseModel):
    """The models, chat models and agents."""

    object: Literal["list"] = "list"
    """Always `list`."""
    data: list[ModelObject | ChatModelObject | AgentModelObject]
    """The models that compute vectors, the chat models, and the first 1,000 agents by their external ids."""


@router.get("/v1/models", summary="List models")
async def list_models(service: ServiceDep, organisation: Organisation) -> ModelList:
    """Lists the models, chat models and agents that the caller's key allows."""
    permitted = current_caller().models
    agents = await service.read(
        lambda connection: answering_agents(connection, organisation, limit=MAX_AGENTS)
    )
    listed: list[ModelObject | ChatModelObject | AgentModelObject] = [
        *(ModelObject.of(model, service.models.kinds[name]) for name, model in service.models.items()),
        *(ChatModelObject.of(service.chat.named(name)) for name in service.chat.names),
        *map(AgentModelObject.of, agents),
    ]
    return ModelList(data=[one for one in listed if permitted is None or one.id in permitted])


@router.get("/v1/models/{model:path}", summary="Get a model")
async def get_model(
    model: str, service: ServiceDep, context: ContextDep
) -> ModelObject | ChatModelObject | AgentModelObject:
    """Returns the model, the chat model or the agent with this name."""
    if model.startswith(AGENT_PREFIX):
        agent = await Answerer(service).agent(context.organisation, model)
        external_id = agent.definition.external_id
        return AgentModelObject.of(
            ListedAgent(
                id=agent.id,
                external_id=external_id,
                name=agent.definition.name or external_id,
                updated_at=agent.updated_at,
            )
        )
    if model in service.chat.names:
        require_model(model)
        return ChatModelObject.of(service.chat.named(model))
    found = service.models.named(model)
    return ModelObject.of(found, service.models.kinds[found.name])
