"""The model of the request of POST /v1/chat/completions."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from cluster.chat import ChatMessage
from cluster.errors import InvalidInput
from cluster.platform_data.event_data import MAX_ID_CHARACTERS
from serve_app.edge.compatibility_fields import one_of
from serve_app.edge.request_model import PositiveWhole, RequestModel, Text, Whole
from serve_app.messages import must

#: Maximum number of messages of a request.
MAX_MESSAGES = 2_000
#: The role of ``ChatMessage`` for each role of OpenAI's API. Other roles belong to tools, which agents do not
#: call.
ROLES: dict[str, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
#: Maximum number of stop texts, as in OpenAI's API.
MAX_STOPS = 4

ExternalIdText = Annotated[Text, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]


def _no_tools(tools: list[Any]) -> list[Any]:
    if tools:
        raise must("be empty or left out, because agents call no tools")
    return tools


def _no_format(format: dict[str, Any]) -> dict[str, Any]:
    if format.get("type", "text") != "text":
        raise must('be {"type": "text"} or left out, because answers are text')
    return format


def _not_many(messages: list[Any]) -> list[Any]:
    if len(messages) > MAX_MESSAGES:
        raise must(f"have at most {MAX_MESSAGES:,} messages, and has {len(messages):,}; leave out the oldest")
    return messages


class ChatContentPart(RequestModel):
    """A part of a message."""

    type: str
    """`text`; images, files and audio are not accepted."""
    text: Text | None = None
    """The text of the part."""


class ChatMessageRequest(RequestModel):
    """A message of the conversation."""

    role: str
    """`user`, `assistant`, `system`, or `developer`, which is the same as `system`."""
    content: Text | list[ChatContentPart] | None = None
    """The text of the message, as text or as a list of parts of the type `text`."""

    def message(self, param: str) -> ChatMessage:
        """Return the message for the chat model.

        Raises:
            InvalidInput: the role or a part is not supported.
        """
        if self.role not in ROLES:
            raise InvalidInput(
                f"{param}.role is {self.role!r}; it may be {', '.join(ROLES)}, because agents call no tools",
                param=f"{param}.role",
            )
        parts = [] if self.content is None else self.content
        if isinstance(parts, str):
            return ChatMessage(ROLES[self.role], parts)
        for number, part in enumerate(parts):
            if part.type != "text":
                raise InvalidInput(
                    f"{param}.content[{number}].type is {part.type!r}; only text is accepted",
                    param=f"{param}.content[{number}].type",
                )
        return ChatMessage(ROLES[self.role], "\n".join(part.text or "" for part in parts))


class StreamOptions(RequestModel):
    """OpenAI's ChatCompletionStreamOptions."""

    CHANGES_NOTHING = frozenset({"include_obfuscation"})

    include_usage: bool = False
    """True: one more chunk before the end has the tokens of the answer."""


class ChatMetadata(RequestModel):
    """Metadata of the request. Other names than `conversation` are ignored."""

    conversation: ExternalIdText | None = None
    """Your id of the conversation, under which the question and the answer are stored."""


class ChatCompletionRequest(RequestModel):
    """OpenAI's CreateChatCompletionRequest, with `filters` added."""

    CHANGES_NOTHING = frozenset(
        {
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_retention",
            "reasoning_effort",
            "safety_identifier",
            "service_tier",
            "tool_choice",
            "verbosity",
        }
    )

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False for fields that change what the client gets, such as audio in place of text."""
        return name not in {"audio", "functions", "filter", "where", "web_search_options"}

    model: Text
    """`agent:` and the id or the external id of an agent; or the name of a chat model, which answers without
    documents."""
    messages: Annotated[list[ChatMessageRequest], AfterValidator(_not_many)]
    """The conversation, oldest message first. The last message is the question, of the role `user`."""
    filters: dict[str, Any] | None = None
    """Only documents whose attributes pass this filter are used: a comparison (`type`, `key`, `value`) or a
    compound filter (`type`, `filters`), as in a search."""
    stream: bool = False
    """True: the answer is sent as server-sent events while the model writes."""
    stream_options: StreamOptions = StreamOptions()
    """Options of a streamed answer."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    """Temperature of the chat model; by default, the agent's."""
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the probability from which the chat model chooses each token."""
    max_completion_tokens: PositiveWhole | None = None
    """Maximum number of tokens of the answer."""
    max_tokens: PositiveWhole | None = None
    """OpenAI's older name for `max_completion_tokens`."""
    stop: Text | Annotated[list[Text], Field(max_length=MAX_STOPS)] | None = None
    """A text, or at most four texts. The chat model stops before it writes one of them."""
    seed: Whole | None = None
    """Seed of the chat model; the same seed gives similar answers."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Positive: the chat model repeats itself less often."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    """Positive: the chat model speaks more often of something new."""
    n: Literal[1] | None = None
    """Number of answers; only 1 is accepted."""
    logprobs: Literal[False] | None = None
    """Only `false` is accepted."""
    response_format: Annotated[dict[str, Any], AfterValidator(_no_format)] | None = None
    """Only the type `text` is accepted."""
    tools: Annotated[list[Any], AfterValidator(_no_tools)] | None = None
    """Only an empty list is accepted."""
    user: ExternalIdText | None = None
    """Your id of the customer who asks, under which the conversation is stored."""
    metadata: ChatMetadata = ChatMetadata()
    """`conversation`: your id of the conversation."""
    store: bool | None = None
    """False: this conversation is not stored, whatever the agent says."""

    def history(self) -> list[ChatMessage]:
        """Return the messages for the answer flow.

        Raises:
            InvalidInput: a message has a role or a part that is not supported.
        """
        return [one.message(f"messages[{number}]") for number, one in enumerate(self.messages)]

    def stops(self) -> Sequence[str]:
        """Return the stop texts."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def most_tokens(self) -> int | None:
        """Return the maximum number of tokens of the answer; None if the request does not limit it.

        Raises:
            InvalidInput: the two names of this field have different values.
        """
        most: int | None = one_of(
            max_completion_tokens=self.max_completion_tokens, max_tokens=self.max_tokens
        )
        return most
