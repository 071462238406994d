"""The models of the answers about customers, conversations and messages. Times are in seconds since
1970.
"""

from datetime import datetime
from typing import Any, Literal, Self

from cluster.platform_data.erasure import Erasure
from cluster.platform_data.rows import Conversation, Customer, Message
from serve_app.edge.response_model import ListObject, Omissible, ResponseModel
from serve_app.routes.files import unix


class CustomerObject(ResponseModel):
    """A customer of the organisation."""

    id: str
    """Id of the customer, `cust_...`."""
    object: Literal["customer"] = "customer"
    """Always `customer`."""
    created_at: int
    """Time at which the cluster first heard of the customer."""
    external_id: str
    """Id of the customer in the events."""
    name: str | None
    """Name of the customer; null if no event named it."""
    email: str | None
    """Email address of the customer; null if no event named it."""
    properties: dict[str, Any]
    """Further properties of the customer."""
    profiling: bool | None
    """True if the customer agrees to be profiled, false if the customer refuses; null if neither is known."""
    first_seen_at: int
    """Time of the customer's earliest event."""
    last_seen_at: int
    """Time of the customer's latest event."""

    @classmethod
    def of(cls, customer: Customer) -> Self:
        """Show the customer."""
        return cls(
            id=customer.id,
            created_at=unix(customer.created_at),
            external_id=customer.external_id,
            name=customer.name,
            email=customer.email,
            properties=customer.properties,
            profiling=customer.profiling,
            first_seen_at=unix(customer.first_seen_at),
            last_seen_at=unix(customer.last_seen_at),
        )


class ErasedCustomer(ResponseModel):
    """The proof that a customer is erased, or the job that erases the customer."""

    id: str
    """Id of the erased customer."""
    object: Literal["customer.deleted"] = "customer.deleted"
    """Always `customer.deleted`."""
    deleted: bool
    """True if every row is deleted; false if a job deletes the rows."""
    deleted_rows: dict[str, int]
    """Number of rows that this request deleted, by table; empty if a job deletes the rows."""
    remaining_rows: dict[str, int]
    """Number of rows of the customer after the deletion, by table: 0 for each. Empty if a job deletes the
    rows; the result of the job then has both numbers."""
    job: Omissible[str] = None
    """Id of the job that deletes the rows; left out if every row is deleted."""

    @classmethod
    def of(cls, id: str, erasure: Erasure | None, job: str | None) -> Self:
        """Show the outcome of the erasure, or the job."""
        deleted, remaining = (erasure.deleted, erasure.remaining) if erasure is not None else ({}, {})
        return cls(
            id=id,
            deleted=erasure is not None,
            deleted_rows=dict(deleted),
            remaining_rows=dict(remaining),
            job=job,
        )


class ConversationObject(ResponseModel):
    """A conversation of a customer with an agent."""

    id: str
    """Id of the conversation, `conv_...`."""
    object: Literal["conversation"] = "conversation"
    """Always `conversation`."""
    created_at: int
    """Time at which the cluster first heard of the conversation."""
    external_id: str
    """Id of the conversation in the events."""
    agent: str | None
    """Id of the agent; null if it is unknown."""
    customer: str | None
    """Id of the customer; null if it is unknown."""
    channel: str | None
    """The channel, such as `web`; null if it is unknown."""
    started_at: int | None
    """Time of the start; null if no event told it."""
    ended_at: int | None
    """Time of the end; null if no event told it."""
    resolved: bool | None
    """Whether it is confirmed that the question was resolved; null if nothing was confirmed."""
    handed_over_at: int | None
    """Time at which an agent handed the conversation over to a person; null if that did not happen."""
    rating: int | None
    """The customer's rating from 1 to 5; null if there is none."""
    rated_at: int | None
    """Time of the rating; null if there is none."""
    first_event_at: int
    """Time of the conversation's earliest event."""
    last_event_at: int
    """Time of the conversation's latest event."""

    @classmethod
    def of(cls, conversation: Conversation) -> Self:
        """Show the conversation."""
        return cls(
            id=conversation.id,
            created_at=unix(conversation.created_at),
            external_id=conversation.external_id,
            agent=conversation.agent,
            customer=conversation.customer,
            channel=conversation.channel,
            started_at=_unix_or_none(conversation.started_at),
            ended_at=_unix_or_none(conversation.ended_at),
            resolved=conversation.resolved,
            handed_over_at=_unix_or_none(conversation.handed_over_at),
            rating=conversation.rating,
            rated_at=_unix_or_none(conversation.rated_at),
            first_event_at=unix(conversation.first_event_at),
            last_event_at=unix(conversation.last_event_at),
        )


class MessageObject(ResponseModel):
    """A message of a conversation."""

    id: str
    """Id of the message, `msg_...`."""
    object: Literal["conversation.message"] = "conversation.message"
    """Always `conversation.message`."""
    created_at: int
    """Time at which the message was written."""
    conversation: str
    """Id of the conversation."""
    agent: str | None
    """Id of the agent; null if it is unknown."""
    role: str
    """Who wrote the message: `user`, `assistant`, `system` or `tool`."""
    text: str
    """The text of the message."""
    model: str | None
    """Name of the model that answered; null if it is unknown."""
    latency_ms: int | None
    """Milliseconds until the whole answer; null if it is unknown."""
    time_to_first_token_ms: int | None
    """Milliseconds until the first token of the answer; null if it is unknown."""
    input_tokens: int
    """Number of tokens that the model read."""
    output_tokens: int
    """Number of tokens that the model wrote."""
    cost: str
    """Cost as exact decimal text."""
    error_class: str | None
    """Class of the error; null if there was no error."""
    retrieval_hit: bool | None
    """Whether a search found something for this answer; null if there was no search."""
    sources: list[Any]
    """The sources of the answer."""
    feedback: str | None
    """Feedback on the answer, `positive` or `negative`; null if there is none."""
    feedback_comment: str | None
    """The comment of the feedback; null if there is none."""

    @classmethod
    def of(cls, message: Message) -> Self:
        """Show the message."""
        return cls(
            id=message.id,
            created_at=unix(message.occurred_at),
            conversation=message.conversation,
            agent=message.agent,
            role=message.role,
            text=message.text,
            model=message.model,
            latency_ms=message.latency_ms,
            time_to_first_token_ms=message.time_to_first_token_ms,
            input_tokens=message.input_tokens,
            output_tokens=message.output_tokens,
            cost=f"{message.cost:f}",
            error_class=message.error_class,
            retrieval_hit=message.retrieval_hit,
            sources=message.sources,
            feedback=message.feedback,
            feedback_comment=message.feedback_comment,
        )


class CustomerList(ListObject[CustomerObject]):
    """A page of customers."""


class ConversationList(ListObject[ConversationObject]):
    """A page of conversations."""


class MessageList(ListObject[MessageObject]):
    """A page of messages."""


def _unix_or_none(at: datetime | None) -> int | None:
    return None if at is None else unix(at)
