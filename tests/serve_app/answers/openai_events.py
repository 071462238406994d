"""Answers that a test writes itself, and a check of streamed events against OpenAI's own types."""

from collections.abc import Iterable
from typing import Any

import orjson
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from cluster.answers import Citation, Done, Source, Sources, Text
from cluster.chat import ChatUsage

STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SOURCE = Source(
    number=1,
    file="file-1",
    filename="birds.pdf",
    chunk="chunk-1",
    store="vs_1",
    page=3,
    start=10,
    end=40,
    quote="Swifts sleep on the wing.",
    text="Swifts sleep on the wing, far above the ground.",
    score=0.5,
    attributes={"year": 1999},
)
FOUND = Sources(sources=[SOURCE], query="Where do swifts sleep?")
TEXTS = [Text(text="On the "), Text(text="wing [1].")]
#: The usage of a call that rewrites the question, and of the call that answers.
CALLS = [
    ChatUsage(model="m", prompt_tokens=3, completion_tokens=1),
    ChatUsage(model="m", prompt_tokens=4, completion_tokens=4),
]
DONE = Done(
    finish_reason="stop",
    usage=CALLS[-1],
    citations=[Citation(source=SOURCE, start=12, end=15)],
    generated=True,
)


def strict_events(events: Iterable[dict[str, Any]]) -> list[Any]:
    """Validate the events strictly with OpenAI's types, and check their numbers and their indexes.

    OpenAI's clients do not validate what they receive, so a missing field would surprise their users later.
    """
    read = [STREAM_EVENT.validate_json(orjson.dumps(event), strict=True) for event in events]
    assert [event.sequence_number for event in read] == list(range(len(read)))
    for given, event in zip(events, read, strict=True):
        assert type(event).model_fields["type"].annotation is not None
        assert given["type"] == event.type
    return read


def strict_response(response: dict[str, Any]) -> Response:
    """Validate the response strictly with OpenAI's type."""
    return Response.model_validate_json(orjson.dumps(response), strict=True)


def rebuilt(events: Iterable[Any]) -> dict[str, Any]:
    """Build the output from the events alone, as a client does that shows an answer while it arrives.

    The result has the type of each item and, for the message, its text and its citations.
    """
    items: dict[int, dict[str, Any]] = {}
    for event in events:
        match event.type:
            case "response.output_item.added":
                assert event.output_index == len(items)
                items[event.output_index] = {"id": event.item.id, "type": event.item.type}
            case "response.content_part.added":
                items[event.output_index] |= {"text": "", "files": []}
            case "response.output_text.delta":
                assert items[event.output_index]["id"] == event.item_id
                items[event.output_index]["text"] += event.delta
            case "response.output_text.annotation.added":
                assert event.annotation_index == len(items[event.output_index]["files"])
                items[event.output_index]["files"].append(event.annotation.file_id)
            case "response.output_text.done":
                assert items[event.output_index]["text"] == event.text
    return {item["type"]: item for item in items.values()}
