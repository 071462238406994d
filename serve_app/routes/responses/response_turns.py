"""The turns of a conversation of responses: the earlier turns of a request, and the turn to store.

Each stored response has the items of its own request, and names the response before it.

    turns = await Turns.before(service, "acme", body)
    turns.history                                 # the messages of the earlier turns and of this request
    await turns.store(service, writer.response, stores)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from uuid import uuid4

from psycopg import Connection

from cluster.chat import ChatMessage
from cluster.errors import InvalidInput, NotFound
from cluster.responses import StoredResponse, customer_of, earlier_turns, store_response
from serve_app.routes.responses.response_objects import ResponseObject
from serve_app.routes.responses.response_requests import CreateResponseRequest
from serve_app.service import Service

#: Maximum number of characters of the input of one request. Many later requests may read a stored input.
MAX_INPUT_CHARACTERS = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """The turns before a request, and the turn of the request."""

    organisation: str
    body: CreateResponseRequest
    #: The responses that the request continues, the oldest first.
    earlier: Sequence[StoredResponse]
    #: The messages of the request, the oldest first.
    messages: Sequence[ChatMessage]

    @classmethod
    async def before(cls, service: Service, organisation: str, body: CreateResponseRequest) -> Self:
        """Read the responses that the request continues.

        Raises:
            InvalidInput: the input is too long or does not end with a question, or there is no response with
                the previous id.
            NotPermitted: the caller's key may not use a store from which an earlier response was made.
        """
        messages = body.messages()
        if not messages or messages[-1].role != "user" or not messages[-1].content.strip():
            raise InvalidInput(
                "input must end with a message of the role user that has text; send the question there",
                param="input",
            )
        length = sum(len(message.content) for message in messages)
        if length > MAX_INPUT_CHARACTERS:
            raise InvalidInput(
                f"input has {length:,} characters; the limit is {MAX_INPUT_CHARACTERS:,}. Leave out the "
                "oldest messages",
                param="input",
            )
        earlier: Sequence[StoredResponse] = ()
        if body.previous_response_id is not None:
            try:
                earlier = await service.read(
                    partial(earlier_turns, organisation=organisation, id=body.previous_response_id)
                )
            except NotFound as exc:
                raise InvalidInput(f"previous_response_id: {exc}", param="previous_response_id") from exc
        return cls(organisation=organisation, body=body, earlier=earlier, messages=messages)

    @property
    def history(self) -> list[ChatMessage]:
        """The messages of the earlier turns and of the request, the oldest first."""
        said = [message for turn in self.earlier for message in _messages_of(turn)]
        return [*said, *self.messages]

    def conversation(self, id: str) -> str:
        """Return the client's id of the conversation; the id of the first response if no request names one.

        Args:
            id: id of the response of this request.
        """
        named = (self.body.metadata or {}).get("conversation")
        before = self.earlier[-1].conversation if self.earlier else None
        return named or before or id

    async def store(self, service: Service, response: ResponseObject, stores: Sequence[str]) -> None:
        """Store the response, so that later requests can continue it.

        Args:
            stores: ids of the vector stores that were searched.

        Raises:
            Conflict: a job is erasing the customer who asks.
            Unavailable: the database does not answer.
        """
        items = [_input_item(message) for message in self.messages]
        answer = response.model_dump(mode="json")

        def work(connection: Connection[Any]) -> None:
            conversation = self.conversation(response.id)
            previous = self.earlier[-1] if self.earlier else None
            customer = customer_of(
                connection,
                self.organisation,
                user=self.body.user,
                previous=previous,
                conversation=conversation,
            )
            stored = StoredResponse(
                id=response.id,
                previous=None if previous is None else previous.id,
                customer=customer,
                conversation=conversation,
                stores=stores,
                input=items,
                response=answer,
            )
            store_response(connection, self.organisation, stored)

        await service.in_transaction(work)


def _input_item(message: ChatMessage) -> dict[str, Any]:
    """Return the message as an item of the list of input items."""
    type = "output_text" if message.role == "assistant" else "input_text"
    part: dict[str, Any] = {"type": type, "text": message.content}
    if type == "output_text":
        part["annotations"] = []
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "status": "completed",
        "role": message.role,
        "content": [part],
    }


def _messages_of(turn: StoredResponse) -> list[ChatMessage]:
    """Return the messages of a stored turn: those of its request, and the answer."""
    asked = [
        ChatMessage(item["role"], "".join(part["text"] for part in item["content"])) for item in turn.input
    ]
    answers = [item for item in turn.response["output"] if item["type"] == "message"]
    text = "".join(part["text"] for item in answers for part in item["content"])
    return [*asked, ChatMessage("assistant", text)]
