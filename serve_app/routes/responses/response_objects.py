"""The models of the answers of ``/v1/responses``, in the shapes of OpenAI's Responses API.

``ResponseWriter`` fills these models, and the events of a stream contain them.
"""

from typing import Any, Literal, Self

from cluster.answers import Citation, Source
from serve_app.edge.place_fields import PlaceFields, place_values
from serve_app.edge.response_model import Omissible, ResponseModel

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class FileCitationObject(PlaceFields):
    """A place of the answer that cites a file: OpenAI's `file_citation`, with the place in the file."""

    type: Literal["file_citation"] = "file_citation"
    """Always `file_citation`."""
    index: int
    """Position of the citation in the text of the answer, such as that of `[1]`, counted from 0."""
    file_id: str
    """Id of the cited file, or of the document if a bulk ingest added the document."""
    filename: str
    """Name of the file."""
    page: int | None
    """Page of the document, from 1; null if the document has no pages."""
    start: int | None
    """Position of the source's first character on the page."""
    end: int | None
    """Position after the source's last character on the page."""
    quote: str
    """The part of the source with most of the question's words."""

    @classmethod
    def of(cls, citation: Citation) -> Self:
        """Convert the citation into the object that answers contain."""
        source = citation.source
        return cls(
            index=citation.start,
            file_id=source.file,
            filename=source.filename,
            page=source.page,
            start=source.start,
            end=source.end,
            **place_values(source.place),
            quote=source.quote,
        )


class OutputTextObject(ResponseModel):
    """The text of an answer."""

    type: Literal["output_text"] = "output_text"
    """Always `output_text`."""
    text: str
    """The text."""
    annotations: list[FileCitationObject]
    """The citations, in the order of the text."""
    logprobs: tuple[()] = ()
    """Always empty."""


class OutputMessageObject(ResponseModel):
    """The message with the answer."""

    id: str
    """Id of the message, `msg_...`. If the conversation is recorded, the message there has the same id."""
    type: Literal["message"] = "message"
    """Always `message`."""
    status: ItemStatus
    """`in_progress`, `completed` or `incomplete`."""
    role: Literal["assistant"] = "assistant"
    """Always `assistant`."""
    content: list[OutputTextObject]
    """One text; empty while the message begins."""


class FileSearchResultObject(ResponseModel):
    """A text that the search found."""

    file_id: str
    """Id of the file, or of the document if a bulk ingest added the document."""
    filename: str
    """Name of the file."""
    score: float
    """0 to 1, higher is better. Compare scores within one answer only."""
    text: str
    """The text."""
    attributes: dict[str, str | int | float | bool]
    """Attributes of the file."""

    @classmethod
    def of(cls, source: Source) -> Self:
        """Convert the source into the object that answers contain."""
        return cls(
            file_id=source.file,
            filename=source.filename,
            score=source.score,
            text=source.text,
            attributes=dict(source.attributes),
        )


class FileSearchCallObject(ResponseModel):
    """The search for the question."""

    id: str
    """Id of the search, `fs_...`."""
    type: Literal["file_search_call"] = "file_search_call"
    """Always `file_search_call`."""
    status: Literal["in_progress", "searching", "completed", "failed"]
    """How far the search is."""
    queries: list[str]
    """The question that was searched for; empty until the search ends."""
    results: list[FileSearchResultObject] | None
    """The found texts, if `include` asks for them; otherwise null."""


class ResponseErrorObject(ResponseModel):
    """The reason why a response failed."""

    code: str
    """`server_error`, `rate_limit_exceeded` or `invalid_prompt`."""
    message: str
    """What went wrong, and what to do."""


class IncompleteDetailsObject(ResponseModel):
    """The reason why a response is incomplete."""

    reason: Literal["max_output_tokens", "content_filter"]
    """`max_output_tokens` if the answer reached its maximum number of tokens; `content_filter` if the chat
    server left out a part.
    """


class InputTokensDetailsObject(ResponseModel):
    """Details of the tokens that the chat model read."""

    cached_tokens: int = 0
    """Always 0."""
    cache_write_tokens: int = 0
    """Always 0."""


class OutputTokensDetailsObject(ResponseModel):
    """Details of the tokens that the chat model wrote."""

    reasoning_tokens: int = 0
    """Always 0."""


class ResponseUsageObject(ResponseModel):
    """The tokens of the chat model; 0 if no chat model was asked."""

    input_tokens: int
    """Tokens that the chat model read."""
    input_tokens_details: InputTokensDetailsObject = InputTokensDetailsObject()
    """Details of these tokens."""
    output_tokens: int
    """Tokens that the chat model wrote."""
    output_tokens_details: OutputTokensDetailsObject = OutputTokensDetailsObject()
    """Details of these tokens."""
    total_tokens: int
    """The sum of both."""


class ConversationOfResponse(ResponseModel):
    """The conversation in which the messages are recorded."""

    id: str
    """Id of the conversation, `conv_...`."""


class ResponseTextFormat(ResponseModel):
    """The format of an answer."""

    type: Literal["text"] = "text"
    """Always `text`."""


class ResponseTextOptions(ResponseModel):
    """Options of the text of an answer."""

    format: ResponseTextFormat = ResponseTextFormat()
    """The format, which is always plain text."""


class ResponseObject(ResponseModel):
    """OpenAI's Response."""

    id: str
    """Id of the response, `resp_...`."""
    object: Literal["response"] = "response"
    """Always `response`."""
    created_at: int
    """Time at which the response began, in seconds since 1970."""
    completed_at: int | None
    """Time at which the response was completed; null until then."""
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    """How far the response is."""
    background: Literal[False] = False
    """Always false."""
    error: ResponseErrorObject | None
    """The reason why the response failed; null if it did not."""
    incomplete_details: IncompleteDetailsObject | None
    """The reason why the response is incomplete; null if it is not."""
    instructions: str | None
    """The instructions of the request."""
    max_output_tokens: int | None
    """The maximum number of tokens of the request."""
    model: str
    """The model of the request, or the model that was chosen if the request named none."""
    output: list[FileSearchCallObject | OutputMessageObject]
    """The search, if there was one, and the message with the answer."""
    parallel_tool_calls: Literal[False] = False
    """Always false."""
    previous_response_id: str | None
    """Id of the response that this one continues; null if it begins a conversation."""
    store: bool
    """Whether the response is stored."""
    temperature: float | None
    """The temperature of the request; null if it named none."""
    text: ResponseTextOptions = ResponseTextOptions()
    """Options of the text."""
    tool_choice: str | dict[str, Any]
    """The tool choice of the request."""
    tools: list[dict[str, Any]]
    """The tools of the request."""
    top_p: float | None
    """The nucleus sampling of the request; null if it named none."""
    truncation: Literal["auto"] = "auto"
    """Always `auto`: a long history is cut, the oldest messages first."""
    usage: ResponseUsageObject | None
    """Tokens of the chat model; null until the response ends."""
    user: str | None
    """Your id of the customer who asked."""
    metadata: dict[str, str]
    """The metadata of the request."""
    conversation: Omissible[ConversationOfResponse] = None
    """The conversation in which the messages are recorded; left out if they are not recorded."""


class ResponseDeleted(ResponseModel):
    """A deleted response."""

    id: str
    """Id of the response."""
    object: Literal["response"] = "response"
    """Always `response`."""
    deleted: Literal[True] = True
    """Always true."""
