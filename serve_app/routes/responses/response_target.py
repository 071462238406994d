"""Find what answers a request: an agent, a chat model, or quoted passages; and the vector stores to search.

target = await response_target(service, context, body)
target.stores
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from psycopg import Connection

from cluster.answers import AnswerRules
from cluster.documents.vector_stores.stores import VectorStore, find_store
from cluster.errors import InvalidInput
from cluster.organisations.caller import require_store
from cluster.usage.events import UsageSource
from serve_app.answers import Answerer, AnswerTarget
from serve_app.embedding.served_model import RequestContext
from serve_app.retrieval import Retriever
from serve_app.routes.responses.response_requests import CreateResponseRequest, FileSearchTool
from serve_app.service import Service

#: Name of the model that quotes passages without a chat model.
EXTRACTIVE = "extractive"


def model_name(service: Service, body: CreateResponseRequest) -> str:
    """Return the model of the request; by default the default chat model, or else ``EXTRACTIVE``."""
    if body.model is not None:
        return body.model
    return service.chat.named(None).name if service.chat else EXTRACTIVE


async def response_target(
    service: Service, context: RequestContext, body: CreateResponseRequest
) -> AnswerTarget:
    """Return what answers the request. The vector stores of a tool replace the agent's stores.

    Raises:
        ModelNotFound: there is no such agent or chat model.
        NotFound: there is no such vector store.
        NotPermitted: the caller's key does not allow the model or a vector store.
        InvalidInput: there is nothing to quote from, or no ranker has the name that the tool gives.
        Conflict: no served model computes the vectors of a vector store of the tool.
    """
    model = model_name(service, body)
    if model == EXTRACTIVE:
        context = replace(context, source=UsageSource.CHAT)
        target = AnswerTarget(context=context, agent=None, chat=None, rules=AnswerRules(), stores=())
    else:
        target = await Answerer(service).target(context, model)
    tool = body.file_search
    if body.tool_choice == "none":
        target = replace(target, stores=())
    elif tool is not None:
        agents_own = () if target.agent is None else target.agent.stores
        stores = await _stores(service, context.organisation, tool.vector_store_ids, agents_own)
        target = replace(target, stores=stores, found=None, rules=_rules(service, target.rules, tool))
    if target.agent is None and target.chat is None and not target.stores:
        raise InvalidInput(
            f"the model {EXTRACTIVE!r} quotes from vector stores, and the request names none; name one in "
            "tools[0].vector_store_ids, or name an agent or a chat model as the model",
            param="tools",
        )
    return target


async def _stores(
    service: Service, organisation: str, names: Sequence[str], agents_own: Collection[str]
) -> Sequence[str]:
    """Return the ids of the stores with these ids or names, each once.

    A key that allows an agent allows the models of the agent's own stores, and of no other store.

    Raises:
        NotFound: there is no such store.
        NotPermitted: the caller's key does not allow a store or its model.
        Conflict: no served model computes the vectors of a store.
    """

    def work(connection: Connection[Any]) -> list[VectorStore]:
        return [find_store(connection, organisation, name) for name in names]

    stores = await service.read(work)
    for store in stores:
        require_store(store.id)
        if store.id not in agents_own:
            service.models.of_store(store.fingerprint)  # checks that the caller's key allows the model
    return tuple(dict.fromkeys(store.id for store in stores))


def _rules(service: Service, rules: AnswerRules, tool: FileSearchTool) -> AnswerRules:
    """Return the rules with the options that the tool gives."""
    ranking = tool.ranking_options
    if tool.max_num_results is not None:
        rules = replace(rules, max_sources=tool.max_num_results)
    if ranking is None:
        return rules
    ranker = Retriever(service).ranker(ranking.ranker, param="tools[0].ranking_options.ranker")
    return replace(rules, threshold=ranking.score_threshold, ranker=ranker)
