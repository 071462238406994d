"""The models of the field ``data`` of each known event type.

``event_types`` has the table of types. ``read_events`` validates the data of each event with its model.
Unknown fields are kept as properties of the event.

    MessageCreated.model_validate({"conversation_id": "c1", "role": "user", "text": "Hello"})
"""

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from cluster.described_model import DescribedModel

#: Maximum number of characters of an id that a sender gives.
MAX_ID_CHARACTERS = 256
MAX_NAME_CHARACTERS = 256
#: Maximum number of characters of a message.
MAX_TEXT_CHARACTERS = 200_000
#: Maximum number of sources of one message.
MAX_SOURCES = 100
#: The largest value of a column of the type "integer".
MAX_INTEGER = 2**31 - 1
#: The largest number of tokens of one message. The sum of a million such messages fits a "bigint".
MAX_TOKENS = 10**12


def _rounded(value: Any) -> Any:
    return round(value) if isinstance(value, float) and abs(value) <= MAX_INTEGER else value


def _decimal(value: Any) -> Any:
    """Read a number by its shortest text, so that 0.1 is exactly 0.1."""
    return repr(value) if isinstance(value, float) else value


ExternalId = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS)]
Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
Milliseconds = Annotated[int, BeforeValidator(_rounded), Field(ge=0, le=MAX_INTEGER)]
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
Cost = Annotated[
    Decimal, BeforeValidator(_decimal), Field(strict=False, ge=0, max_digits=24, decimal_places=12)
]


class EventData(DescribedModel):
    """The fields that the data of every event may have."""

    model_config = ConfigDict(strict=True, extra="allow")

    agent_id: ExternalId | None = None
    """Id of the agent, as the sender names it."""
    customer_id: ExternalId | None = None
    """Id of the customer, as the sender names it; by default the event's `subject`."""
    conversation_id: ExternalId | None = None
    """Id of the conversation, as the sender names it."""


class ConversationData(EventData):
    """The data of an event about a conversation."""

    conversation_id: ExternalId
    """Id of the conversation, as the sender names it."""


class Measured(EventData):
    """The measured values of a message or a request."""

    model: Name | None = None
    """Name of the model that answered."""
    latency_ms: Milliseconds | None = None
    """Milliseconds until the whole answer; a fraction is rounded."""
    time_to_first_token_ms: Milliseconds | None = None
    """Milliseconds until the first token of the answer; a fraction is rounded."""
    input_tokens: Tokens = 0
    """Number of tokens that the model read."""
    output_tokens: Tokens = 0
    """Number of tokens that the model wrote."""
    cost: Cost = Decimal(0)
    """Cost as a number or as text, with at most 12 digits after the point."""
    error_class: Name | None = None
    """Class of the error; leave it out if there was no error."""


class MessageCreated(Measured):
    """A message was written in a conversation."""

    conversation_id: ExternalId
    """Id of the conversation, as the sender names it."""
    role: Literal["user", "assistant", "system", "tool"]
    """Who wrote the message."""
    text: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)] = ""
    """The text of the message."""
    retrieval_hit: bool | None = None
    """True if a search found something for this answer, false if it found nothing. Leave it out if there was
    no search."""
    sources: Annotated[list[Any], Field(max_length=MAX_SOURCES)] = Field(default=[])
    """The sources of the answer, in any form."""


class ConversationStarted(ConversationData):
    """A conversation began."""

    channel: Name | None = None
    """The channel, such as `web` or `email`."""


class ConversationEnded(ConversationData):
    """A conversation ended."""

    resolved: bool | None = None
    """True or false if it is confirmed that the customer's question was or was not resolved."""


class ConversationHandedOver(ConversationData):
    """An agent handed the conversation over to a person."""


class ConversationRated(ConversationData):
    """The customer rated the conversation."""

    rating: Annotated[int, Field(ge=1, le=5)]
    """The rating, from 1 (worst) to 5 (best)."""


class CustomerSeen(EventData):
    """A customer used the platform. The event can describe the customer."""

    name: Name | None = None
    """Name of the customer."""
    email: Name | None = None
    """Email address of the customer."""
    properties: dict[str, Any] = Field(default={})
    """Further properties of the customer."""
    profiling: bool | None = None
    """True if the customer agrees to be profiled, false if the customer refuses. A profile that exists is
    deleted at once if the customer refuses."""


class PurchaseCompleted(EventData):
    """A customer has bought something."""

    amount: Cost | None = None
    """Price of the purchase as a number or as text, with at most 12 digits after the point."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    """Currency of the amount in ISO 4217, such as `EUR`."""
    items: Annotated[int, Field(ge=0, le=MAX_INTEGER)] | None = None
    """Number of things that the customer bought."""


class RequestCompleted(Measured):
    """The platform has answered a request of its own API."""

    agent_id: ExternalId
    """Id of the agent, as the sender names it."""


class ErrorRaised(EventData):
    """The platform met an error."""

    error_class: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    """Class of the error."""
