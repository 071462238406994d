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
    #: Input tokens of messages.
    input_tokens: Decimal = Decimal(0)
    #: Output tokens of messages.
    output_tokens: Decimal = Decimal(0)
    #: Cost of messages.
    cost: Decimal = Decimal(0)
    #: Events of the type ``request.completed``.
    requests: int = 0
    #: Input tokens of these requests.
    request_input_tokens: Decimal = Decimal(0)
    #: Output tokens of these requests.
    request_output_tokens: Decimal = Decimal(0)
    #: Cost of these requests.
    request_cost: Decimal = Decimal(0)
    #: Messages, requests and events ``error.raised`` that have an error class.
    errors: int = 0
    #: Number of these errors in each error class.
    errors_by_class: Mapping[str, int]
    #: 50th percentile of the latencies of answers, in milliseconds; None: no answer has a latency.
    latency_p50_ms: int | None = None
    #: 95th percentile of these latencies.
    latency_p95_ms: int | None = None
    #: 50th percentile of the times until the first token of answers, in milliseconds; None if
    #: no answer has this time.
    first_token_p50_ms: int | None = None
    #: 95th percentile of these times.
    first_token_p95_ms: int | None = None
    #: 50th percentile of the latencies of requests, in milliseconds; None: no request has a latency.
    request_latency_p50_ms: int | None = None
    #: 95th percentile of these latencies.
    request_latency_p95_ms: int | None = None
    #: Messages for which something was searched.
    retrievals: int = 0
    #: Messages for which a search found something.
    retrieval_hits: int = 0
    #: Conversations that began in the window. The measures below are about these conversations.
    conversations: int = 0
    ended: int = 0
    handed_over: int = 0
    #: Messages of customers.
    turns: Decimal = Decimal(0)
    #: Messages of customers after which no answer without an error followed.
    unanswered: Decimal = Decimal(0)
    #: Milliseconds from the first to the last event, as a sum over the conversations.
    duration_ms: Decimal = Decimal(0)
    duration_p50_ms: int | None = None
    #: Conversations that are resolved, as ``conversation.ended`` says.
    resolved: int = 0
    #: Conversations that are not resolved, as ``conversation.ended`` says.
    unresolved: int = 0
    assumed_resolved: int = 0
    ratings: int = 0
    #: Ratings of 4 or 5.
    satisfied: int = 0
    rating_sum: int = 0
    #: Messages with feedback.
    feedbacks: int = 0
    #: Messages with positive feedback.
    positive_feedbacks: int = 0


#: Names of the columns.
MEASURES = tuple(field.name for field in fields(Measures))
