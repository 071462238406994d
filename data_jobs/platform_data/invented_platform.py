"""Draw random events of an invented platform as NumPy arrays with one element for each event.

The same options always give the same arrays. ``sent_events`` turns the arrays into events.

    platform = invent(InventedPlatformOptions(seed=7, events=100_000))
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Integers of 32 or 64 bits.
Integers = NDArray[Any]
Flags = NDArray[np.bool_]

#: Number of events of a conversation, about the average. This number decides how many conversations are
#: drawn.
EVENTS_PER_CONVERSATION = 12
MAX_TURNS = 6
#: Average number of conversations of a customer.
CONVERSATIONS_PER_CUSTOMER = 4
#: Share of the conversations with an error, share with a hand-over to a person, share with a rating, and
#: share with an end.
SHARE_WITH = (0.03, 0.12, 0.3, 0.9)
#: Maximum pause between two events of a conversation, in milliseconds.
MAX_PAUSE_MS = 90_000
#: Maximum number of milliseconds between an event and the sending of the event, if the event is not late.
MAX_DELAY_MS = 30_000
#: Maximum number of milliseconds between an event and the sending of the event, if the event is late or is a
#: duplicate.
MAX_LATE_MS = 36 * 3_600_000
ERROR_SHARE, RETRIEVAL_SHARE, HIT_SHARE = 0.02, 0.7, 0.85
#: Cost of a token that a model reads, and cost of a token that a model writes, in billionths of a unit of
#: money.
INPUT_TOKEN_COST, OUTPUT_TOKEN_COST = 150, 600


#: Start of the default period, in which the clocks of New York and of Berlin change.
DEFAULT_START = datetime(2026, 3, 1, tzinfo=UTC)


class EventKind(IntEnum):
    """The kinds of generated events. The last four kinds are in the order in which such events happen."""

    #: A customer is seen.
    SEEN = 0
    #: A conversation begins.
    STARTED = 1
    #: A customer writes a message.
    ASKED = 2
    #: An agent writes a message.
    ANSWERED = 3
    #: The request to the model for an agent's message ends.
    REQUESTED = 4
    #: An error occurs on the platform.
    FAILED = 5
    #: A person takes over the conversation from the agent.
    HANDED_OVER = 6
    #: A customer rates the conversation.
    RATED = 7
    #: A conversation ends.
    ENDED = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class InventedPlatformOptions:
    """Says which events to draw."""

    seed: int
    #: Number of different events.
    events: int
    #: Percentage of the events that are sent a second time.
    duplicates: float = 2.0
    #: Percentage of the events that are late: sent up to 36 hours after the event.
    late: float = 3.0
    #: Start of the period in which the conversations begin.
    start: datetime = DEFAULT_START
    days: int = 45
    agents: int = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class InventedPlatform:
    """The drawn events. Each array has one element for each event, except ``order``."""

    options: InventedPlatformOptions
    #: Values of ``EventKind``.
    kind: Integers
    #: Milliseconds since 1970.
    time_ms: Integers
    conversation: Integers
    customer: Integers
    agent: Integers
    latency_ms: Integers
    time_to_first_token_ms: Integers
    input_tokens: Integers
    output_tokens: Integers
    #: Cost in billionths of a unit of money.
    cost: Integers
    rating: Integers
    resolved: Flags
    failed: Flags
    retrieved: Flags
    hit: Flags
    #: Indexes of the events in the order of sending. If an event is sent twice, its index occurs twice.
    order: Integers


def invent(options: InventedPlatformOptions) -> InventedPlatform:
    """Draw the events at random, and return the arrays."""
    draw = np.random.Generator(np.random.PCG64(options.seed))
    count = options.events
    kind, conversation = _conversations(draw, count)
    last = int(conversation[-1]) + 1
    customer = _small(draw.integers(0, max(1, last // CONVERSATIONS_PER_CUSTOMER), last))[conversation]
    agent = _small(draw.integers(0, options.agents, last))[conversation]
    time_ms = _times(draw, options, conversation, last)
    model = np.isin(kind, (EventKind.ANSWERED, EventKind.REQUESTED))
    latency = _small(np.where(model, draw.lognormal(6.8, 0.6, count).astype(np.int64), 0))
    read = _small(np.where(model, draw.integers(20, 2_000, count), 0))
    written = _small(np.where(model, draw.integers(5, 500, count), 0))
    return InventedPlatform(
        options=options,
        kind=kind,
        time_ms=time_ms,
        conversation=conversation,
        customer=customer,
        agent=agent,
        latency_ms=latency,
        time_to_first_token_ms=_small(latency * draw.integers(10, 50, count) // 100),
        input_tokens=read,
        output_tokens=written,
        cost=read * np.int32(INPUT_TOKEN_COST) + written * np.int32(OUTPUT_TOKEN_COST),
        rating=_small(draw.integers(1, 6, count)),
        resolved=draw.random(count) < 0.7,
        failed=model & (draw.random(count) < ERROR_SHARE),
        retrieved=draw.random(count) < RETRIEVAL_SHARE,
        hit=draw.random(count) < HIT_SHARE,
        order=_order(draw, options, time_ms),
    )


def _conversations(draw: np.random.Generator, count: int) -> tuple[Integers, Integers]:
    """Return the kind and the conversation of each event."""
    number = count // EVENTS_PER_CONVERSATION * 2 + 10
    turns = draw.integers(1, MAX_TURNS + 1, number)
    has = draw.random((number, len(SHARE_WITH))) < SHARE_WITH
    lengths = 2 + 3 * turns + has.sum(axis=1)
    conversation = np.repeat(np.arange(number), lengths)[:count]
    starts = np.cumsum(lengths) - lengths
    position = np.arange(len(conversation)) - starts[conversation]
    tail = position - 2 - 3 * turns[conversation]
    # Stable sorting puts the kinds that the conversation has before the other kinds, and keeps the order of
    # the kinds.
    kinds_of_tail = np.argsort(~has, axis=1, kind="stable")[conversation, np.clip(tail, 0, 3)]
    kind = np.where(position < 2, position, EventKind.ASKED + (position - 2) % 3)
    return _small(np.where(tail >= 0, EventKind.FAILED + kinds_of_tail, kind)), _small(conversation)


def _times(
    draw: np.random.Generator, options: InventedPlatformOptions, conversation: Integers, last: int
) -> Integers:
    start = options.start.astimezone(UTC)
    begins = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    starts = begins + draw.integers(0, options.days * 86_400_000, last)
    passed = np.cumsum(draw.integers(1, MAX_PAUSE_MS, len(conversation)))
    first = np.searchsorted(conversation, np.arange(last))
    return np.asarray(starts[conversation] + passed - passed[first][conversation])


def _order(draw: np.random.Generator, options: InventedPlatformOptions, time_ms: Integers) -> Integers:
    count = len(time_ms)
    late = draw.random(count) < options.late / 100
    delay = np.where(late, draw.integers(0, MAX_LATE_MS, count), draw.integers(0, MAX_DELAY_MS, count))
    again = np.flatnonzero(draw.random(count) < options.duplicates / 100)
    sent = np.concatenate([time_ms + delay, time_ms[again] + draw.integers(0, MAX_LATE_MS, len(again))])
    numbers = np.concatenate([np.arange(count, dtype=np.int32), again.astype(np.int32)])
    return np.asarray(numbers[np.argsort(sent, kind="stable")])


def _small(values: Integers) -> Integers:
    """Return the values as 32-bit integers, which need half as much memory."""
    return values.astype(np.int32)
