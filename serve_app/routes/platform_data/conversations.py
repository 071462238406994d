"""/v1/conversations: list and get conversations, and list the messages of a conversation."""

from typing import Annotated

from fastapi import Query

from cluster.platform_data.rows import CONVERSATIONS, list_messages
from serve_app.edge.authentication import Organisation
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.platform_data.platform_objects import (
    ConversationList,
    ConversationObject,
    MessageList,
    MessageObject,
)

router = json_router(404)


@router.get("/v1/conversations", summary="List conversations")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    agent: Annotated[str | None, Query(description="Only conversations with the agent of this id")] = None,
    customer: Annotated[
        str | None, Query(description="Only conversations of the customer of this id")
    ] = None,
    external_id: Annotated[
        str | None, Query(description="Only the conversation with this id of yours")
    ] = None,
) -> ConversationList:
    """Lists the conversations that the filters select, one page at a time."""
    found = await service.read(
        lambda connection: CONVERSATIONS.page(
            connection, organisation, page, agent=agent, customer=customer, external_id=external_id
        )
    )
    return ConversationList.of(found, ConversationObject.of, lambda conversation: conversation.id)


@router.get("/v1/conversations/{conversation_id}", summary="Get a conversation")
async def retrieve(
    conversation_id: str, service: ServiceDep, organisation: Organisation
) -> ConversationObject:
    """Shows the conversation."""
    return ConversationObject.of(
        await service.read(lambda connection: CONVERSATIONS.get(connection, organisation, conversation_id))
    )


@router.get("/v1/conversations/{conversation_id}/messages", summary="List the messages of a conversation")
async def messages(
    conversation_id: str, page: PageDep, service: ServiceDep, organisation: Organisation
) -> MessageList:
    """Lists the messages by the time at which they were written, one page at a time."""
    found = await service.read(
        lambda connection: list_messages(connection, organisation, conversation_id, page)
    )
    return MessageList.of(found, MessageObject.of, lambda message: message.id)
