"""Find the agent or the chat model that a request names, and answer with the models of this replica.

The routes of chat completions and of responses use an ``Answerer``.

    answerer = Answerer(service)
    target = await answerer.target(context, "agent:helper")
    async with aclosing(answerer.answer(target, request)) as events: ...
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.agents import DefinedAgent, load_agent
from cluster.answers import AnswerEvent, AnswerRequest, AnswerRules, answer, rules_of
from cluster.database import single_statements, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.store_versions import VersionedStore
from cluster.errors import NotFound, Permanent
from cluster.organisations.caller import acting_as, current_caller, require_model
from cluster.retrieval import MAX_STORES, RetrievalOptions, Retrieved, find_stores
from cluster.usage.events import UsageSource
from serve_app.answers.metered_chat import MeteredChat
from serve_app.embedding.served_model import RequestContext
from serve_app.embedding.served_models import ModelNotFound
from serve_app.retrieval import Retriever
from serve_app.service import Service

#: A model with this prefix names an agent by its id or its external id.
AGENT_PREFIX = "agent:"


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerTarget:
    """What answers a request: an agent, or a chat model without documents."""

    #: The context of the request, with the source and the agent under which usage is recorded.
    context: RequestContext
    #: The agent; None if the request names a chat model.
    agent: DefinedAgent | None
    #: The chat model; None: the answer quotes passages.
    chat: MeteredChat | None
    rules: AnswerRules
    #: Ids of the vector stores that are searched; empty: nothing is searched.
    stores: Sequence[str]
    #: These stores, if they were found together with the agent; None: the search finds them.
    found: Sequence[VersionedStore] | None = None


class Answerer:
    """Answers with the models, the vector stores and the database of one replica."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._retriever = Retriever(service)

    async def target(self, context: RequestContext, model: str) -> AnswerTarget:
        """Return the agent or the chat model that a request names.

        Args:
            context: the context of the request.
            model: ``agent:`` and the id or the external id of an agent; or the name of a chat model.

        Raises:
            ModelNotFound: there is no such agent or chat model.
            NotPermitted: the caller's key does not allow the agent or the chat model.
        """
        if not model.startswith(AGENT_PREFIX):
            require_model(model)
            context = replace(context, source=UsageSource.CHAT)
            chat = self.chat(context, model)
            return AnswerTarget(context=context, agent=None, chat=chat, rules=AnswerRules(), stores=())
        agent, found = await self._load(context.organisation, model, searches=True)
        context = replace(context, source=UsageSource.CHAT, agent=agent.id)
        definition = agent.definition
        return AnswerTarget(
            context=context,
            agent=agent,
            chat=self.chat(context, definition.model) if self._service.chat else None,
            rules=rules_of(definition, cross_encoder=self._retriever.cross_encoder is not None),
            stores=agent.stores,
            found=found,
        )

    def chat(self, context: RequestContext, name: str | None) -> MeteredChat:
        """Return the chat model with this name, or the default chat model, for a request with this context.

        Raises:
            ModelNotFound: there is no such chat model.
        """
        models = self._service.chat
        if not models or (name is not None and name not in models.names):
            known = ", ".join(models.names) or "none"
            raise ModelNotFound(
                f"The chat model {name!r} does not exist. Name an agent as agent:ID, or a chat model of "
                f"CLUSTER_CHAT_MODELS: {known}. The definition of an agent may name a chat model, too."
            )
        return MeteredChat(models.named(name), self._service.admission, self._service.usage, context)

    def answer(self, target: AnswerTarget, request: AnswerRequest) -> AsyncGenerator[AnswerEvent, None]:
        """Return the events of the answer; see ``cluster.answers.answer``. An agent without documents answers
        with its chat model alone.
        """

        async def find(question: str, options: RetrievalOptions) -> Retrieved:
            caller = current_caller()
            if target.agent is not None:
                # A key that allows the agent allows the models that search for the agent.
                caller = replace(caller, models=None)
            with acting_as(caller):
                return await self._retriever.retrieve(
                    target.context,
                    target.stores,
                    [question],
                    options,
                    found=target.found,
                    prepared=self._service.contexts,
                )

        return answer(request, find=find if target.stores else None, chat=target.chat)

    async def agent(self, organisation: str, model: str) -> DefinedAgent:
        """Return the agent that ``model`` names.

        Args:
            organisation: the owner of the agent.
            model: ``agent:`` and the id or the external id of the agent.

        Raises:
            ModelNotFound: there is no such agent.
            NotPermitted: the caller's key does not allow the agent.
        """
        agent, _ = await self._load(organisation, model, searches=False)
        return agent

    async def _load(
        self, organisation: str, model: str, *, searches: bool
    ) -> tuple[DefinedAgent, list[VersionedStore] | None]:
        """Return the agent, and its stores if the request searches them. Both are read in one thread with one
        connection, because waking a thread takes as long as reading the stores.
        """
        name = model.removeprefix(AGENT_PREFIX)

        def load(pool: ConnectionPool, _: ChunkIndexes) -> tuple[DefinedAgent, list[VersionedStore] | None]:
            with translated(), single_statements(pool) as connection:
                try:
                    agent = load_agent(connection, organisation, name)
                except NotFound as exc:
                    raise ModelNotFound(f"The model {model} does not exist: {exc}.") from exc
                _require_agent(agent)
                return agent, _stores_of(connection, organisation, agent) if searches else None

        return await self._service.in_database(load)


def _stores_of(
    connection: Connection[Any], organisation: str, agent: DefinedAgent
) -> list[VersionedStore] | None:
    """Return the agent's stores; None if they cannot be searched, so that the search raises its error."""
    if not 1 <= len(agent.stores) <= MAX_STORES:
        return None
    try:
        return find_stores(connection, organisation, agent.stores)
    except Permanent:
        return None


def _require_agent(agent: DefinedAgent) -> None:
    """Check that the caller's key allows the agent, by its id or its external id.

    Raises:
        NotPermitted: the caller's key is limited to other models.
    """
    permitted = current_caller().models
    names = [f"{AGENT_PREFIX}{name}" for name in (agent.definition.external_id, agent.id)]
    if permitted is None or not permitted.intersection(names):
        require_model(names[0])
