"""The events of a streamed response, in the shapes of OpenAI's Responses API.

``ResponseWriter`` makes the events in their order. Each event has the next ``sequence_number`` of its stream.

    encoded(event)                     # b"event: response.created\ndata: {...}\n\n"
"""

from typing import Any, Literal

from cluster.text.well_formed import json_bytes
from serve_app.edge.response_model import ResponseModel
from serve_app.routes.responses.response_objects import (
    FileCitationObject,
    FileSearchCallObject,
    OutputMessageObject,
    OutputTextObject,
    ResponseObject,
)

#: The media type of a stream, for the OpenAPI document. The data of each event is JSON.
STREAM_CONTENT: dict[str, Any] = {
    "text/event-stream": {
        "schema": {"type": "object", "properties": {name: {"type": "string"} for name in ("event", "data")}}
    }
}
ResponseState = Literal[
    "response.created",
    "response.in_progress",
    "response.completed",
    "response.incomplete",
    "response.failed",
]
ItemState = Literal["response.output_item.added", "response.output_item.done"]
SearchState = Literal[
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.file_search_call.completed",
]
PartState = Literal["response.content_part.added", "response.content_part.done"]


class ResponseStateEvent(ResponseModel):
    """The response begins or ends."""

    type: ResponseState
    """`response.created` and `response.in_progress` begin the stream; each of the other types ends it."""
    response: ResponseObject
    """The response as it is now."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


class OutputItemEvent(ResponseModel):
    """An item of the output begins or ends."""

    type: ItemState
    """Whether the item begins or ends."""
    output_index: int
    """Position of the item in the output, from 0."""
    item: FileSearchCallObject | OutputMessageObject
    """The item as it is now."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


class FileSearchCallEvent(ResponseModel):
    """The state of the search changes."""

    type: SearchState
    """The new state."""
    output_index: int
    """Position of the search in the output."""
    item_id: str
    """Id of the search."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


class ContentPartEvent(ResponseModel):
    """The text of the message begins or ends."""

    type: PartState
    """Whether the text begins or ends."""
    item_id: str
    """Id of the message."""
    output_index: int
    """Position of the message in the output."""
    content_index: Literal[0] = 0
    """Always 0."""
    part: OutputTextObject
    """The text as it is now."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


class TextDeltaEvent(ResponseModel):
    """The next part of the text."""

    type: Literal["response.output_text.delta"] = "response.output_text.delta"
    """Always `response.output_text.delta`."""
    item_id: str
    """Id of the message."""
    output_index: int
    """Position of the message in the output."""
    content_index: Literal[0] = 0
    """Always 0."""
    delta: str
    """The next part of the text."""
    logprobs: tuple[()] = ()
    """Always empty."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


class AnnotationEvent(ResponseModel):
    """A citation of the text. The citations follow the last part of the text."""

    type: Literal["response.output_text.annotation.added"] = "response.output_text.annotation.added"
    """Always `response.output_text.annotation.added`."""
    item_id: str
    """Id of the message."""
    output_index: int
    """Position of the message in the output."""
    content_index: Literal[0] = 0
    """Always 0."""
    annotation_index: int
    """Position of the citation in the list of citations, from 0."""
    annotation: FileCitationObject
    """The citation."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


class TextDoneEvent(ResponseModel):
    """The whole text."""

    type: Literal["response.output_text.done"] = "response.output_text.done"
    """Always `response.output_text.done`."""
    item_id: str
    """Id of the message."""
    output_index: int
    """Position of the message in the output."""
    content_index: Literal[0] = 0
    """Always 0."""
    text: str
    """The text."""
    logprobs: tuple[()] = ()
    """Always empty."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


class StreamErrorEvent(ResponseModel):
    """An error after the beginning of the stream. The event `response.failed` follows and ends the stream."""

    type: Literal["error"] = "error"
    """Always `error`."""
    code: str | None
    """Code of the error."""
    message: str
    """What went wrong, and what to do."""
    param: str | None
    """Always null."""
    sequence_number: int
    """Number of the event in the stream, from 0."""


ResponseStreamEvent = (
    ResponseStateEvent
    | OutputItemEvent
    | FileSearchCallEvent
    | ContentPartEvent
    | TextDeltaEvent
    | AnnotationEvent
    | TextDoneEvent
    | StreamErrorEvent
)


def encoded(event: ResponseStreamEvent) -> bytes:
    """Return the event as a server-sent event. JSON has no line breaks, so one ``data`` line is enough."""
    return b"event: %s\ndata: %s\n\n" % (event.type.encode(), json_bytes(event.model_dump()))
