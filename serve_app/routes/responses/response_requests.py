"""The models of the bodies of ``POST /v1/responses``.

``responses`` reads these models. OpenAI's API reference describes the fields.

    body.messages()                    # the input as messages of a chat, the oldest first
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from cluster.chat import ChatMessage
from cluster.chat.contract import ChatRole
from cluster.retrieval.retrieve import MAX_STORES
from serve_app.edge.request_model import PositiveWhole, RequestModel, Text, Whole
from serve_app.messages import must
from serve_app.routes.search import FILTERS_OF_OTHERS
from serve_app.routes.vector_store_fields import Metadata

#: Maximum number of items of an input, and of parts of an item.
MAX_ITEMS, MAX_PARTS = 1_000, 100
#: Value of ``include`` with which an answer contains the found texts.
RESULTS = "file_search_call.results"
#: Fields that are refused, because an answer that ignores them would lack its history or its prompt.
NEEDED_FIELDS = frozenset({"conversation", "prompt"})
ROLES: dict[str, ChatRole] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}


def _in_foreground(value: bool) -> bool:
    if value:
        raise must("be false or left out: a response is never made in the background here")
    return value


class InputPart(RequestModel):
    """A part of the content of an input message."""

    type: Literal["input_text", "output_text", "text"]
    """`input_text`, or `output_text` in an earlier answer. Images, files and audio are not accepted."""
    text: Text
    """The text."""
    annotations: list[Any] | None = None
    """Annotations of an earlier answer; they have no effect."""
    logprobs: list[Any] | None = None
    """Log probabilities of an earlier answer; they have no effect."""


class InputItem(RequestModel):
    """An item of the input: a message, or an item of an earlier answer."""

    type: Literal["message", "file_search_call", "reasoning"] = "message"
    """`message` by default. `file_search_call` and `reasoning`, as in earlier answers, have no effect."""
    role: Literal["user", "assistant", "system", "developer"] | None = None
    """Who wrote the message; `developer` means the same as `system`."""
    content: Text | Annotated[list[InputPart], Field(max_length=MAX_PARTS)] | None = None
    """The text of the message, or its parts."""
    id: Text | None = None
    """Id of the item in an earlier answer; it has no effect."""
    status: Text | None = None
    """Status of the item in an earlier answer; it has no effect."""
    phase: Text | None = None
    """Has no effect."""
    queries: list[Any] | None = None
    """Queries of a `file_search_call`; they have no effect."""
    results: list[Any] | None = None
    """Results of a `file_search_call`; they have no effect."""
    summary: list[Any] | None = None
    """Summary of a `reasoning` item; it has no effect."""
    encrypted_content: Text | None = None
    """Content of a `reasoning` item; it has no effect."""

    @model_validator(mode="after")
    def _a_message_has_text(self) -> Self:
        if self.type == "message" and (self.role is None or self.content is None):
            raise must("have a role and a content, because its type is message")
        return self

    @property
    def text(self) -> str:
        """The text of the message; its parts are joined."""
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or ""


class FileSearchRanking(RequestModel):
    """How found texts are ordered, and their minimum score."""

    ranker: Text = "auto"
    """As in a search of a vector store: `auto`, `none`, or the name of the cross-encoder."""
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Minimum score of a text, from 0 to 1."""
    hybrid_search: dict[str, Any] | None = None
    """Weights of the rankings; they have no effect."""


class FileSearchTool(RequestModel):
    """The tool that searches vector stores for the question."""

    type: Literal["file_search"]
    """Always `file_search`; there is no other tool."""
    vector_store_ids: Annotated[list[Text], Field(min_length=1, max_length=MAX_STORES)]
    """Ids of the vector stores to search."""
    filters: dict[str, Any] | None = None
    """A comparison or a compound filter on attributes of files, as in a search of a vector store."""
    max_num_results: Annotated[Whole, Field(ge=1, le=50)] | None = None
    """Maximum number of texts from which the answer is made; by default the agent's maximum, or 8."""
    ranking_options: FileSearchRanking | None = None
    """The ranker and the minimum score; by default the agent's."""

    @model_validator(mode="before")
    @classmethod
    def _no_filter_of_others(cls, tool: Any) -> Any:
        # Other unknown fields of a tool are ignored. Without its filter, the search would find too much.
        for name in FILTERS_OF_OTHERS & tool.keys() if isinstance(tool, dict) else ():
            raise must(f"not have the field {name}; send a filter as filters")
        return tool


class ToolChoice(RequestModel):
    """A choice of the tool `file_search`."""

    type: Literal["file_search"]
    """Always `file_search`."""


class TextFormat(RequestModel):
    """The format of the answer."""

    type: Literal["text"]
    """Always `text`; JSON schemas are not supported."""


class TextOptions(RequestModel):
    """Options of the answer's text."""

    format: TextFormat | None = None
    """The format of the answer, which is always plain text."""
    verbosity: Text | None = None
    """Has no effect."""


class ResponseStreamOptions(RequestModel):
    """Options of a stream."""

    include_obfuscation: bool | None = None
    """Has no effect: events have no padding."""


class CreateResponseRequest(RequestModel):
    """OpenAI's CreateResponse, with the tool `file_search`."""

    CHANGES_NOTHING: ClassVar[frozenset[str]] = frozenset(
        {
            "max_tool_calls",
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_retention",
            "reasoning",
            "safety_identifier",
            "service_tier",
            "top_logprobs",
            "truncation",
        }
    )

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False for fields that carry a part of the prompt."""
        return name not in NEEDED_FIELDS

    model: Text | None = None
    """`agent:` and the id of an agent; or the name of a chat model (`CLUSTER_CHAT_MODELS`); or `extractive`
    for an answer of quoted passages. By default the first chat model, or `extractive` if there is none.
    """
    input: Text | Annotated[list[InputItem], Field(min_length=1, max_length=MAX_ITEMS)]
    """The question, or a list of messages that ends with the question."""
    instructions: Text | None = None
    """Instructions for the chat model, which follow the agent's instructions. The instructions of an earlier
    response are not used again.
    """
    previous_response_id: Text | None = None
    """Id of the response that this request continues; its messages come before the input."""
    tools: Annotated[list[FileSearchTool], Field(max_length=1)] | None = None
    """The tool `file_search`. The vector stores of the tool are searched in place of the agent's stores."""
    tool_choice: Literal["auto", "required", "none"] | ToolChoice = "auto"
    """`none` answers without a search. With every other value, each question is searched for."""
    include: Annotated[list[Text], Field(max_length=32)] | None = None
    """`file_search_call.results` adds the found texts to the answer; other values have no effect."""
    stream: bool = False
    """If true, the answer is sent as server-sent events while it is made."""
    stream_options: ResponseStreamOptions | None = None
    """Options of the stream."""
    store: bool = True
    """If false, neither the response nor its messages are stored, so that no request can continue it."""
    metadata: Metadata | None = None
    """Up to 16 named texts, which are stored and returned. `conversation` is your id of the conversation in
    which the messages are recorded.
    """
    user: Annotated[Text, Field(min_length=1, max_length=256)] | None = None
    """Your id of the customer who asks."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Temperature of the chat model; by default the agent's."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Nucleus sampling of the chat model."""
    max_output_tokens: PositiveWhole | None = None
    """Maximum number of tokens of the answer."""
    text: TextOptions | None = None
    """Options of the answer's text."""
    background: Annotated[bool, AfterValidator(_in_foreground)] = False
    """Only `false` is accepted."""
    max_tool_calls: Whole | None = None
    """Has no effect: there is one search for each answer."""
    parallel_tool_calls: bool | None = None
    """Has no effect."""
    prompt_cache_key: Text | None = None
    """Has no effect."""
    prompt_cache_retention: Text | None = None
    """Has no effect."""
    reasoning: dict[str, Any] | None = None
    """Has no effect."""
    safety_identifier: Text | None = None
    """Has no effect."""
    service_tier: Text | None = None
    """Has no effect."""
    top_logprobs: Whole | None = None
    """Has no effect: there are no log probabilities."""
    truncation: Text | None = None
    """Has no effect: a long history is cut, the oldest messages first."""

    @property
    def file_search(self) -> FileSearchTool | None:
        """The tool of the request; None if it names none."""
        return self.tools[0] if self.tools else None

    def messages(self) -> list[ChatMessage]:
        """Return the messages of the input, the oldest first."""
        if isinstance(self.input, str):
            return [ChatMessage("user", self.input)]
        return [
            ChatMessage(ROLES[item.role], item.text)
            for item in self.input
            if item.type == "message" and item.role is not None
        ]
