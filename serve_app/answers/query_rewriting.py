"""Rewrite the queries of a search with the default chat model. The search route calls ``rewritten``.

await rewritten(service, context, ["hey, who can, um, stop that pump?"])     # ["who may stop the pump"]
"""

import asyncio
from collections.abc import Sequence

from cluster.chat import rewrite
from cluster.errors import InvalidInput
from cluster.organisations.caller import require_model
from serve_app.answers.metered_chat import MeteredChat
from serve_app.embedding.served_model import RequestContext
from serve_app.service import Service


async def rewritten(service: Service, context: RequestContext, queries: Sequence[str]) -> list[str]:
    """Return the queries in words that are good to search with. The tokens count as usage of the context.

    Args:
        service: has the chat models.
        context: the context of the request.
        queries: the queries; blank queries stay as they are.

    Raises:
        InvalidInput: there is no chat model.
        NotPermitted: the caller's key does not allow the chat model.
        ClusterError: the errors of ``MeteredChat.stream``.
    """
    if not service.chat:
        raise InvalidInput(
            "rewrite_query is true, but this cluster has no chat model (CLUSTER_CHAT_MODELS); leave "
            "rewrite_query out",
            param="rewrite_query",
        )
    model = service.chat.named(None)
    require_model(model.name)
    chat = MeteredChat(model, service.admission, service.usage, context)

    async def one(query: str) -> str:
        return await rewrite(chat, [], query) if query.strip() else query

    return await asyncio.gather(*map(one, queries))
