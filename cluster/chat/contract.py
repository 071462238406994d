"""Define the contract of chat models, and the types of their requests and answers.

``cluster.chat.models`` opens the models. Agents' answers and ``cluster.chat.rewriting`` use them.

    async with aclosing(model.stream(ChatRequest(messages=[ChatMessage("user", "Hello")]))) as deltas:
        text = "".join([delta.text async for delta in deltas])
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from cluster.errors import ProviderUnavailable

ChatRole = Literal["system", "user", "assistant"]
#: ``stop``: the answer is whole. ``length``: the answer reached its maximum number of tokens, or the context
#: is full. ``content_filter``: the server left out a part of the answer.
ChatFinishReason = Literal["stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """A message of a chat."""

    role: ChatRole
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatRequest:
    """A request for one answer. An option that is None is not sent, so the server's default applies."""

    messages: Sequence[ChatMessage]
    temperature: float | None = None
    top_p: float | None = None
    #: Maximum number of tokens of the answer. None, and larger numbers: the model's ``max_output_tokens``.
    max_tokens: int | None = None
    #: Texts that end the answer; OpenAI allows at most four.
    stop: Sequence[str] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatUsage:
    """The tokens of one answer."""

    #: Name in ``CLUSTER_CHAT_MODELS`` of the model that answered. After a failure, the fallback
    #: answered.
    model: str
    prompt_tokens: int
    completion_tokens: int
    #: True if the server reported no usage, so the tokens were counted here.
    counted_here: bool = False
    #: Price of these tokens, in US dollars; None if the settings have no price.
    cost: Decimal | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatDelta:
    """A part of an answer. The last part of each whole answer has ``finish_reason`` and ``usage``."""

    text: str = ""
    finish_reason: ChatFinishReason | None = None
    usage: ChatUsage | None = None


class ChatInterrupted(ProviderUnavailable):
    """The answer broke off after its first token. It is not repeated, because its reader has seen a part.

    Args:
        message: says what happened.
        sent: the text that the caller got before the answer broke off.
        usage: the tokens of the prompt and of ``sent``, counted here.
    """

    # The arguments after the message have defaults because unpickling passes the message alone and sets the
    # attributes later.
    def __init__(self, message: str, *, sent: str = "", usage: ChatUsage | None = None) -> None:
        super().__init__(message)
        self.sent = sent
        self.usage = usage


class ChatModel(Protocol):
    """A chat model with its retries and its fallback."""

    @property
    def name(self) -> str:
        """Name of the model in ``CLUSTER_CHAT_MODELS``."""

    @property
    def context_tokens(self) -> int:
        """Maximum number of tokens of a prompt and its answer together."""

    @property
    def max_output_tokens(self) -> int:
        """Maximum number of tokens of an answer."""

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt with these messages.

        The result includes the tokens that a chat template adds to each message. The result is never
        smaller than what OpenAI counts.
        """

    def most_tokens(self, messages: Sequence[ChatMessage]) -> float:
        """Return a number that ``count_tokens`` does not exceed, much faster than by counting; infinite if
        the model's tokeniser has no such bound.
        """

    def count_text(self, text: str) -> int:
        """Count the tokens of a text alone, such as an answer that broke off."""

    def usage_of(self, messages: Sequence[ChatMessage], answer: str) -> ChatUsage:
        """Count the usage of an answer whose reader left before its end."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Send the request, and yield the answer while it arrives.

        If the iterator is closed (``contextlib.aclosing``) or its task is cancelled, the request to the
        server ends immediately. Before the first token, a failed request is sent a second time if that can
        help, and then to the fallback. So the caller never repeats a request.

        Raises:
            Throttled: the server asks to send less.
            ProviderUnavailable: the server does not answer, or not in time.
            Misconfigured: the server refuses the key or does not know the model.
            InvalidInput: the server refuses the request, for example because the prompt is too long.
            ChatInterrupted: the answer broke off after its first token.
        """


class ChatObserver(Protocol):
    """Measures the requests to chat servers, for example as metrics. No method may wait."""

    def first_token(self, model: str, seconds: float) -> None:
        """Take note that an answer of this model began, so many seconds after the request was sent."""

    def answered(self, model: str, tokens: int, seconds: float) -> None:
        """Take note that an answer with so many tokens ended, so many seconds after its first token."""

    def failed(self, model: str, reason: str) -> None:
        """Take note that a request failed. ``reason`` is the name of the error's class."""
