"""The columns of the roll-ups of the platform's data, in the order of the tables ``agent_hourly`` and
``agent_daily``.

``rollups`` writes these columns, and ``stats`` reads them. ``docs/analytics.md`` describes each column.

    Measures(**row).containment
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """The measures of one window, of an agent or of the whole organisation."""

    events: int = 0
    #: Different customers. A sum over windows counts a customer once for each window.
    customers: int = 0
    messages: int = 0
    #: Messages of the role ``assistant``.
    answers: int = 0
    #: Different conversations with a message in the window.
    active_conversations: int = 0
    #: Tokens and cost of messages.
    input_tokens: Decimal = Decimal(0)
    output_tokens: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    #: Events of the type ``request.completed``, and their tokens and cost.
    requests: int = 0
    request_input_tokens: Decimal = Decimal(0)
    request_output_tokens: Decimal = Decimal(0)
    request_cost: Decimal = Decimal(0)
    #: Messages, requests and events ``error.raised`` with an error class.
    errors: int = 0
    errors_by_class: Mapping[str, int]
    #: Percentiles of the latencies of answers, in milliseconds; None: no answer has a latency.
    latency_p50_ms: int | None = None
    latency_p95_ms: int | None = None
    first_token_p50_ms: int | None = None
    first_token_p95_ms: int | None = None
    #: Percentiles of the latencies of requests, in milliseconds.
    request_latency_p50_ms: int | None = None
    request_latency_p95_ms: int | None = None
    #: Messages for which something was searched, and those for which something was found.
    retrievals: int = 0
    retrieval_hits: int = 0
    #: Conversations that began in the window. The measures below are about these conversations.
    conversations: int = 0
    ended: int = 0
    handed_over: int = 0
    #: Messages of customers.
    turns: Decimal = Decimal(0)
    #: Turns after which no answer without an error followed.
    unanswered: Decimal = Decimal(0)
    #: Milliseconds from the first to the last event, as a sum over the conversations.
    duration_ms: Decimal = Decimal(0)
    duration_p50_ms: int | None = None
    #: Conversations whose resolution ``conversation.ended`` confirms, and those for which it denies it.
    resolved: int = 0
    unresolved: int = 0
    assumed_resolved: int = 0
    ratings: int = 0
    #: Ratings of 4 or 5.
    satisfied: int = 0
    rating_sum: int = 0
    #: Messages with feedback, and those with positive feedback.
    feedbacks: int = 0
    positive_feedbacks: int = 0


#: Names of the columns.
MEASURES = tuple(field.name for field in fields(Measures))
