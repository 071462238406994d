"""POST /v1/chat/completions: an agent or a chat model answers, as OpenAI's API reference describes it.

``model`` is ``agent:`` and the id or the external id of an agent, or the name of a chat model. The answer is
written while the client waits, and is never queued. ``docs/answers.md`` describes sources, citations and what
is stored.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.responses import Response

from cluster.answers import AnswerRequest, Done, Sources, Text
from cluster.text.well_formed import json_bytes
from serve_app.answers import Answerer
from serve_app.answers.agent_answer import AgentAnswer, ConversationOfAnswer
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.service_access import ServiceDep
from serve_app.edge.streamed_answer import StreamedAnswer, sse_data
from serve_app.routes.answers.chat_objects import (
    ChatCompletion,
    CompletionChoice,
    CompletionMessage,
    CompletionUsage,
    SourceObject,
    annotations_of,
)
from serve_app.routes.answers.chat_requests import ChatCompletionRequest

router = json_router(404, 409, 429)
END = sse_data(b"[DONE]")


@router.post("/v1/chat/completions", summary="Answer a question", response_model=ChatCompletion)
async def create(body: ChatCompletionRequest, service: ServiceDep, context: ContextDep) -> Response:
    """Answers the last message of the conversation from the documents of an agent, with sources.

    With `stream`, the answer is sent as server-sent events: `chat.completion.chunk` objects, then `[DONE]`.
    While the model writes nothing, comments keep the connection open. After an error in the middle of the
    answer, the last event has the object `error`.
    """
    answerer = Answerer(service)
    target = await answerer.target(context, body.model)
    request = AnswerRequest(
        rules=target.rules,
        history=body.history(),
        filters=body.filters,
        max_tokens=body.most_tokens(),
        temperature=body.temperature,
        top_p=body.top_p,
        stop=body.stops(),
        seed=body.seed,
        frequency_penalty=body.frequency_penalty,
        presence_penalty=body.presence_penalty,
    )
    id = f"chatcmpl-{uuid4().hex}"
    of = ConversationOfAnswer(
        conversation=body.metadata.conversation, customer=body.user, store=body.store is not False
    )
    running = AgentAnswer(service, answerer, target, request, id=id, of=of)
    if body.stream:
        include_usage = body.stream_options.include_usage
        return await StreamedAnswer.begin(_chunks(running, id, body.model, include_usage=include_usage))
    return await _whole(running, id, body.model)


async def _whole(running: AgentAnswer, id: str, model: str) -> Response:
    sources: Sources | None = None
    parts: list[str] = []
    done: Done | None = None
    async with aclosing(running.events()) as events:
        async for event in events:
            if isinstance(event, Sources):
                sources = event
            elif isinstance(event, Text):
                parts.append(event.text)
            else:
                done = event
    assert sources is not None
    assert done is not None
    message = CompletionMessage(content="".join(parts))
    completion = ChatCompletion(
        id=id,
        created=int(time.time()),
        model=model,
        choices=[CompletionChoice(message=message, finish_reason=done.finish_reason)],
        usage=CompletionUsage.of(running.calls),
        sources=[SourceObject.of(source) for source in sources.sources],
        annotations=annotations_of(done.citations),
        generated=done.generated,
        precomputed=sources.precomputed or None,
        conversation=running.conversation,
        message_id=running.message_id,
    )
    return Response(completion.model_dump_json(), media_type="application/json")


async def _chunks(
    running: AgentAnswer, id: str, model: str, *, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks as events. The first event comes with the first text, so that an error of the chat
    server before this text still gets its HTTP status.
    """
    shared = {"id": id, "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
    usage = {"usage": None} if include_usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None, **ours: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse_data(json_bytes({**shared, "choices": [choice], **usage, **ours}))

    first = b""
    async with aclosing(running.events()) as events:
        async for event in events:
            if isinstance(event, Sources):
                first = chunk({"role": "assistant", "content": ""}, **_first_fields(running, event))
            elif isinstance(event, Text):
                yield first + chunk({"content": event.text})
                first = b""
            else:
                annotations = [one.model_dump(mode="json") for one in annotations_of(event.citations)]
                ended = chunk({}, event.finish_reason, annotations=annotations, generated=event.generated)
                yield first + ended
    if include_usage:
        tokens = CompletionUsage.of(running.calls).model_dump()
        yield sse_data(json_bytes({**shared, "choices": [], "usage": tokens}))
    yield END


def _first_fields(running: AgentAnswer, sources: Sources) -> dict[str, Any]:
    """Return the fields of the first chunk that OpenAI's chunks do not have."""
    fields = {
        "sources": [SourceObject.of(source).model_dump(mode="json") for source in sources.sources],
        "conversation": running.conversation,
        "message_id": running.message_id,
        "precomputed": sources.precomputed or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
