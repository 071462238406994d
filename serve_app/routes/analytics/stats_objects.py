"""The models of the answers about statistics. Times are in seconds since 1970.

``stats`` returns these models. ``RatesObject`` takes its descriptions from ``cluster.analytics.definitions``.
"""

from typing import Any, Literal, Self

from pydantic import Field

from cluster.analytics.definitions import BASIS, RATES
from cluster.analytics.measures import MEASURES, Measures
from cluster.analytics.stats import NOT_ADDITIVE, Bucket, PeriodStats
from cluster.analytics.system_stats import SystemStats
from serve_app.edge.response_model import ResponseModel
from serve_app.routes.files import unix

#: Measures that are exact decimal numbers, and are sent as text.
MONEY = frozenset({"cost", "request_cost"})


class MeasuresObject(ResponseModel):
    """The measures of one window, or their sums over several windows."""

    events: int
    """Number of events of any type."""
    customers: int | None
    """Number of different customers; null in a total, because a sum would count a customer several times."""
    messages: int
    """Number of messages of any role."""
    answers: int
    """Number of messages of the role `assistant`."""
    active_conversations: int | None
    """Number of different conversations with a message; null in a total."""
    input_tokens: int
    """Tokens that models read for messages."""
    output_tokens: int
    """Tokens that models wrote for messages."""
    cost: str
    """Cost of messages, as an exact decimal number."""
    requests: int
    """Number of events `request.completed`."""
    request_input_tokens: int
    """Tokens that models read for these requests."""
    request_output_tokens: int
    """Tokens that models wrote for these requests."""
    request_cost: str
    """Cost of these requests, as an exact decimal number."""
    errors: int
    """Number of messages, requests and events `error.raised` with an error class."""
    errors_by_class: dict[str, int]
    """The number of errors of each class; at most the 100 most frequent classes of a window."""
    latency_p50_ms: int | None
    """Median latency of answers in milliseconds; null without a latency, and in a total."""
    latency_p95_ms: int | None
    """95th percentile of the latency of answers in milliseconds."""
    first_token_p50_ms: int | None
    """Median time to the first token of answers in milliseconds."""
    first_token_p95_ms: int | None
    """95th percentile of the time to the first token of answers in milliseconds."""
    request_latency_p50_ms: int | None
    """Median latency of requests in milliseconds."""
    request_latency_p95_ms: int | None
    """95th percentile of the latency of requests in milliseconds."""
    retrievals: int
    """Number of messages for which something was searched."""
    retrieval_hits: int
    """Number of these messages for which the search found something."""
    conversations: int
    """Number of conversations that began in the window. The fields below count these conversations."""
    ended: int
    """Number of conversations that have ended."""
    handed_over: int
    """Number of conversations that were handed over to a person."""
    turns: int
    """Number of messages of customers in these conversations."""
    unanswered: int
    """Number of messages of customers after which no answer without an error followed."""
    duration_ms: int
    """Milliseconds from the first to the last event, as a sum over the conversations."""
    duration_p50_ms: int | None
    """Median duration of a conversation in milliseconds; null in a total."""
    resolved: int
    """Number of conversations that are confirmed to be resolved."""
    unresolved: int
    """Number of conversations that are confirmed not to be resolved."""
    assumed_resolved: int
    """Number of conversations that are assumed to be resolved."""
    ratings: int
    """Number of conversations with a rating (n of CSAT)."""
    satisfied: int
    """Number of ratings of 4 or 5."""
    rating_sum: int
    """Sum of the ratings."""
    feedbacks: int
    """Number of messages of the window with feedback."""
    positive_feedbacks: int
    """Number of these messages with positive feedback."""

    @classmethod
    def of(cls, measures: Measures, *, total: bool = False) -> Self:
        """Convert the measures. ``total`` leaves out the measures of which a sum means nothing."""
        values: dict[str, Any] = {}
        for name in MEASURES:
            value = getattr(measures, name)
            if name in MONEY:
                values[name] = f"{value:f}"
            elif name == "errors_by_class" or value is None:
                values[name] = value
            else:
                values[name] = None if total and name in NOT_ADDITIVE else int(value)
        return cls(**values)


class RatesObject(ResponseModel):
    """Rates of the window. A rate is null if there is nothing to divide by."""

    retrieval_hit_rate: float | None = Field(description=RATES["retrieval_hit_rate"].text)
    containment: float | None = Field(description=RATES["containment"].text)
    hand_over_rate: float | None = Field(description=RATES["hand_over_rate"].text)
    confirmed_resolution: float | None = Field(description=RATES["confirmed_resolution"].text)
    assumed_resolution: float | None = Field(description=RATES["assumed_resolution"].text)
    csat: float | None = Field(description=RATES["csat"].text)
    csat_response_rate: float | None = Field(description=RATES["csat_response_rate"].text)
    positive_feedback_rate: float | None = Field(description=RATES["positive_feedback_rate"].text)
    no_answer_rate: float | None = Field(description=RATES["no_answer_rate"].text)
    average_turns: float | None = Field(description=RATES["average_turns"].text)
    average_duration_ms: float | None = Field(description=RATES["average_duration_ms"].text)

    @classmethod
    def of(cls, measures: Measures) -> Self:
        """Compute the rates from the measures."""
        return cls(**{name: rate.of(measures) for name, rate in RATES.items()})


class StatsBucketObject(ResponseModel):
    """The statistics of one window."""

    object: Literal["stats.bucket"] = "stats.bucket"
    """Always `stats.bucket`."""
    start_time: int
    """Beginning of the window."""
    end_time: int
    """End of the window: the first second after it."""
    measures: MeasuresObject
    """The measures of the window."""
    rates: RatesObject
    """The rates of the window."""

    @classmethod
    def of(cls, bucket: Bucket) -> Self:
        """Convert the bucket into the object that answers contain."""
        return cls(
            start_time=unix(bucket.starts_at),
            end_time=unix(bucket.ends_at),
            measures=MeasuresObject.of(bucket.measures),
            rates=RatesObject.of(bucket.measures),
        )


class SystemStatsObject(ResponseModel):
    """Counts of files, documents, chunks and jobs at the time of the last roll-up."""

    computed_at: int
    """Time of the count."""
    vector_stores: int
    """Number of vector stores."""
    files: int
    """Number of files."""
    documents: int
    """Number of documents of the vector stores."""
    chunks: int
    """Number of chunks of these documents."""
    bytes: int
    """Bytes of the files."""
    jobs: dict[str, int]
    """Number of jobs by state, without archived jobs."""
    retries: int
    """Number of attempts at these jobs after the first attempt of each job."""
    dead_letters: int
    """Number of failed jobs that can be queued again."""

    @classmethod
    def of(cls, stats: SystemStats) -> Self:
        """Convert the counts into the object that answers contain."""
        return cls(
            computed_at=unix(stats.computed_at),
            vector_stores=stats.vector_stores,
            files=stats.files,
            documents=stats.documents,
            chunks=stats.chunks,
            bytes=stats.bytes,
            jobs=dict(stats.jobs),
            retries=stats.retries,
            dead_letters=stats.dead_letters,
        )


class AgentStatsObject(ResponseModel):
    """Statistics of an agent."""

    object: Literal["stats"] = "stats"
    """Always `stats`."""
    agent: str | None
    """Id of the agent; null: the whole organisation."""
    time_zone: str
    """Time zone of the organisation, in which days begin and end."""
    computed_at: int | None
    """Time at which the last roll-up began; null if no roll-up has run."""
    complete_through: int | None
    """The buckets contain everything from before this time that was accepted before `computed_at`."""
    waiting_hours: int
    """Number of hours of the period that changed after the last roll-up, by late events or an erasure. The
    next roll-up computes them again."""
    data: list[StatsBucketObject]
    """The windows with events, in order."""
    live: StatsBucketObject | None
    """The hours after `complete_through`, up to six hours with the current hour, computed for this answer.
    Null if the period ends before these hours."""
    total: MeasuresObject
    """The sums over `data` and `live`."""
    rates: RatesObject
    """The rates of the sums."""

    @classmethod
    def of(cls, stats: PeriodStats, *, agent: str | None, **more: Any) -> Self:
        """Convert the statistics into the object that answers contain."""
        total = stats.total
        return cls(
            agent=agent,
            time_zone=stats.time_zone,
            computed_at=None if stats.computed_at is None else unix(stats.computed_at),
            complete_through=None if stats.complete_through is None else unix(stats.complete_through),
            waiting_hours=stats.waiting_hours,
            data=[StatsBucketObject.of(bucket) for bucket in stats.buckets],
            live=None if stats.live is None else StatsBucketObject.of(stats.live),
            total=MeasuresObject.of(total, total=True),
            rates=RatesObject.of(total),
            **more,
        )


class OrganisationStatsObject(AgentStatsObject):
    """Statistics of an organisation."""

    system: SystemStatsObject | None
    """Counts of files, documents, chunks and jobs; null if no roll-up has run."""


class StatsDefinitionsObject(ResponseModel):
    """The definitions of the rates."""

    object: Literal["stats.definitions"] = "stats.definitions"
    """Always `stats.definitions`."""
    basis: str
    """What the rates and the percentiles have in common."""
    rates: dict[str, str]
    """The definition of each rate."""

    @classmethod
    def of_all(cls) -> Self:
        """Return every definition."""
        return cls(basis=BASIS, rates={name: rate.text for name, rate in RATES.items()})
