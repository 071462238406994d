"""Defines the rates, as text and as formulas.

``GET /v1/stats/definitions`` returns the text, ``docs/analytics.md`` prints the text, and the answers of the
stats routes are computed with the formulas.

    RATES["containment"].of(measures)            # 0.88, or None if no conversation began
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from cluster.analytics.measures import Measures

#: Number of digits of a rate after the decimal point.
DIGITS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class RateDefinition:
    """Defines a rate: one measure divided by another measure."""

    #: Describes the rate for people.
    text: str
    numerator: Callable[[Measures], int | Decimal]
    denominator: Callable[[Measures], int | Decimal]

    def of(self, measures: Measures) -> float | None:
        """Return the rate, rounded to ``DIGITS`` digits after the point; None if the denominator is 0."""
        denominator = self.denominator(measures)
        if not denominator:
            return None
        return float(round(Decimal(self.numerator(measures)) / Decimal(denominator), DIGITS))


RATES: Mapping[str, RateDefinition] = MappingProxyType(
    {
        "retrieval_hit_rate": RateDefinition(
            text="Messages for which a search found something, divided by the messages for which something "
            "was searched.",
            numerator=lambda one: one.retrieval_hits,
            denominator=lambda one: one.retrievals,
        ),
        "containment": RateDefinition(
            text="Conversations that were never handed over to a person, divided by all conversations.",
            numerator=lambda one: one.conversations - one.handed_over,
            denominator=lambda one: one.conversations,
        ),
        "hand_over_rate": RateDefinition(
            text="Conversations that were handed over to a person, divided by all conversations.",
            numerator=lambda one: one.handed_over,
            denominator=lambda one: one.conversations,
        ),
        "confirmed_resolution": RateDefinition(
            text="Conversations whose latest conversation.ended says that they are resolved, divided by all "
            "conversations.",
            numerator=lambda one: one.resolved,
            denominator=lambda one: one.conversations,
        ),
        "assumed_resolution": RateDefinition(
            text="Conversations that are assumed to be resolved, divided by all conversations. A "
            "conversation is assumed to be resolved if no conversation.ended says whether it is resolved, it "
            "was not handed over, the customer wrote at least one message, every message of the customer was "
            "answered, and nothing has happened for 24 hours.",
            numerator=lambda one: one.assumed_resolved,
            denominator=lambda one: one.conversations,
        ),
        "csat": RateDefinition(
            text="Ratings of 4 or 5, divided by all ratings. The measure ratings is the number n of ratings.",
            numerator=lambda one: one.satisfied,
            denominator=lambda one: one.ratings,
        ),
        "csat_response_rate": RateDefinition(
            text="Conversations with a rating, divided by all conversations.",
            numerator=lambda one: one.ratings,
            denominator=lambda one: one.conversations,
        ),
        "positive_feedback_rate": RateDefinition(
            text="Messages with positive feedback, divided by the messages with feedback. The measure "
            "feedbacks is the number n of messages with feedback.",
            numerator=lambda one: one.positive_feedbacks,
            denominator=lambda one: one.feedbacks,
        ),
        "no_answer_rate": RateDefinition(
            text="Messages of customers after which no answer without an error followed in the conversation, "
            "divided by all messages of customers.",
            numerator=lambda one: one.unanswered,
            denominator=lambda one: one.turns,
        ),
        "average_turns": RateDefinition(
            text="Messages of customers, divided by conversations.",
            numerator=lambda one: one.turns,
            denominator=lambda one: one.conversations,
        ),
        "average_duration_ms": RateDefinition(
            text="Milliseconds from the first to the last event of each conversation, as an average.",
            numerator=lambda one: one.duration_ms,
            denominator=lambda one: one.conversations,
        ),
    }
)
#: A text about what all rates have in common.
BASIS = (
    "Rates of conversations are about the conversations that began in the window. A conversation belongs to "
    "the agent of its first event that names one. A percentile is the smallest value such that at least that "
    "share of the values is not larger (percentile_disc). Percentiles are computed from all values of the "
    "window and never averaged."
)
