"""Answer one request of ``POST /v1/responses``, whole or as a stream of events.

answered = await AnsweredResponse.begin(service, context, body)
response = await answered.whole()
stream = await StreamedAnswer.begin(answered.encoded_events())
"""

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from http import HTTPStatus
from typing import Self

import orjson

from cluster.answers import AnswerRequest, Sources
from cluster.chat import ChatMessage
from cluster.errors import ClusterError
from cluster.platform_data.ids import row_id
from cluster.responses import new_response_id
from serve_app.answers import Answerer, AnswerTarget
from serve_app.answers.agent_answer import AgentAnswer, ConversationOfAnswer
from serve_app.edge.errors import response_of, unexpected_error_response
from serve_app.embedding.served_model import RequestContext
from serve_app.routes.responses.response_events import ResponseStreamEvent, encoded
from serve_app.routes.responses.response_objects import ConversationOfResponse, ResponseObject
from serve_app.routes.responses.response_requests import RESULTS, CreateResponseRequest, ToolChoice
from serve_app.routes.responses.response_target import model_name, response_target
from serve_app.routes.responses.response_turns import Turns
from serve_app.routes.responses.response_writer import ResponseWriter
from serve_app.service import Service


class AnsweredResponse:
    """One request and its answer. Use either ``whole`` or ``encoded_events``, once."""

    def __init__(
        self, service: Service, body: CreateResponseRequest, turns: Turns, target: AnswerTarget
    ) -> None:
        self._service, self._body, self._turns, self._target = service, body, turns, target
        tool = body.file_search
        request = AnswerRequest(
            rules=target.rules,
            history=[
                *([ChatMessage("system", body.instructions)] if body.instructions else []),
                *turns.history,
            ],
            filters=None if tool is None else tool.filters,
            max_tokens=body.max_output_tokens,
            temperature=body.temperature,
            top_p=body.top_p,
        )
        id = new_response_id()
        of = ConversationOfAnswer(conversation=turns.conversation(id), customer=body.user, store=body.store)
        self._answer = AgentAnswer(service, Answerer(service), target, request, id=id, of=of)
        self._writer = ResponseWriter(
            self._beginning(id),
            searches=bool(target.stores),
            with_results=RESULTS in (body.include or ()),
            message=self._answer.message_id or f"msg_{id.removeprefix('resp_')}",
        )

    @classmethod
    async def begin(cls, service: Service, context: RequestContext, body: CreateResponseRequest) -> Self:
        """Read the earlier turns, and find what answers the request.

        Raises:
            InvalidInput: the request has a wrong field, or names a previous response that does not exist.
            NotFound: there is no such model or vector store.
            NotPermitted: the caller's key does not allow a model or a vector store.
        """
        target = await response_target(service, context, body)
        return cls(service, body, await Turns.before(service, context.organisation, body), target)

    async def whole(self) -> ResponseObject:
        """Answer, store the response unless the request forbids it, and return the response.

        Raises:
            ClusterError: the search, the chat server or the database failed.
        """
        async with aclosing(self._events()) as events:
            async for _ in events:
                pass
        return self._writer.response

    async def encoded_events(self) -> AsyncGenerator[bytes, None]:
        """Yield the events of the stream. An error after the first event is an event, too.

        Raises:
            ClusterError: the search failed, or the chat server failed before its first token. In this case,
                no event was sent.
        """
        began = False
        try:
            async with aclosing(self._events()) as events:
                async for batch in events:
                    began = True
                    yield _encoded(batch)
        except Exception as exc:
            if not began:
                raise
            yield _encoded(self._writer.fail(*_described(exc)))

    async def _events(self) -> AsyncGenerator[list[ResponseStreamEvent], None]:
        """Yield the events, in one batch for each part of the answer.

        The first batch comes with the first text, so that an error of the chat server before this text still
        gets its HTTP status.
        """
        batch: list[ResponseStreamEvent] = []
        async with aclosing(self._answer.events()) as answer:
            async for part in answer:
                if isinstance(part, Sources):
                    batch += self._writer.begin()
                batch += self._writer.take(part)
                if not isinstance(part, Sources):
                    yield batch
                    batch = []
        self._writer.finish(self._answer.calls)
        if self._body.store:
            await self._turns.store(self._service, self._writer.response, self._target.stores)
        yield [self._writer.end()]

    def _beginning(self, id: str) -> ResponseObject:
        body = self._body
        choice = body.tool_choice
        return ResponseObject(
            id=id,
            created_at=int(time.time()),
            completed_at=None,
            status="in_progress",
            error=None,
            incomplete_details=None,
            instructions=body.instructions,
            max_output_tokens=body.max_output_tokens,
            model=model_name(self._service, body),
            output=[],
            previous_response_id=body.previous_response_id,
            store=body.store,
            temperature=body.temperature,
            tool_choice=choice.model_dump() if isinstance(choice, ToolChoice) else choice,
            tools=[tool.model_dump(exclude_none=True) for tool in body.tools or ()],
            top_p=body.top_p,
            usage=None,
            user=body.user,
            metadata=body.metadata or {},
            conversation=self._conversation(),
        )

    def _conversation(self) -> ConversationOfResponse | None:
        """Return the conversation in which the messages are recorded; None if they are not recorded."""
        name = self._answer.conversation
        if name is None:
            return None
        return ConversationOfResponse(id=row_id("conv", self._target.context.organisation, name))


def _encoded(events: Iterable[ResponseStreamEvent]) -> bytes:
    """Encode the events together, so that one write sends them. Each write is a packet of its own."""
    return b"".join(map(encoded, events))


def _described(exc: Exception) -> tuple[str, str]:
    """Return the code and the message of an error that ends a stream."""
    answer = response_of(exc) if isinstance(exc, ClusterError) else unexpected_error_response(exc)
    message = orjson.loads(bytes(answer.body))["error"]["message"]
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limit_exceeded", message
    if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return "invalid_prompt", message
    return "server_error", message
