"""Turn the arrays of an invented platform into events, and compute the true counts and sums of these events.

for event in sent_events(platform): ...       # CloudEvents, in the order in which they are sent
truth(platform)["agents"]["agent-0"]["messages"]
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from data_jobs.platform_data.invented_platform import EventKind, InventedPlatform

#: The time zones of the customers. Two zones change to daylight-saving time in March, and two zones have an
#: offset that is not a whole number of hours.
ZONES = tuple(map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu")))
PLANS = ("free", "paid")
MODEL = "invented-model"
CHANNELS = ("web", "email", "phone")
ERROR_CLASSES = ("timeout", "rate_limit", "provider_unavailable")
QUESTIONS = (
    "Where is my parcel?",
    "How do I reset my password?",
    "Can I change the delivery address?",
    "What does the yearly plan cost?",
    "Why was my card refused?",
)
ANSWERS = (
    "Your parcel arrives tomorrow.",
    "I have sent you a link for a new password.",
    "Yes, until the parcel leaves the warehouse.",
    "The yearly plan costs as much as ten months.",
    "I could not find an answer. A colleague will help you.",
)
#: Number of events that are turned into Python values in one step.
ROWS_AT_ONCE = 50_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPES: dict[int, str] = {
    EventKind.SEEN: "customer.seen",
    EventKind.STARTED: "conversation.started",
    EventKind.ASKED: "message.created",
    EventKind.ANSWERED: "message.created",
    EventKind.REQUESTED: "request.completed",
    EventKind.FAILED: "error.raised",
    EventKind.HANDED_OVER: "conversation.handed_over",
    EventKind.RATED: "conversation.rated",
    EventKind.ENDED: "conversation.ended",
}


class _DrawnEvent(NamedTuple):
    """The values of one event: its index, and its element of each array of ``InventedPlatform``."""

    number: int
    kind: int
    time_ms: int
    conversation: int
    customer: int
    agent: int
    latency_ms: int
    time_to_first_token_ms: int
    input_tokens: int
    output_tokens: int
    cost: int
    rating: int
    resolved: bool
    failed: bool
    retrieved: bool
    hit: bool


def sent_events(platform: InventedPlatform) -> Iterator[dict[str, Any]]:
    """Yield the events in the order of sending. Events that are sent twice are yielded twice."""
    source = f"/invented/{platform.options.seed}"
    for row in _rows(platform):
        time = EPOCH + timedelta(milliseconds=row.time_ms)
        yield {
            "specversion": "1.0",
            "id": f"e{row.number}",
            "source": source,
            "type": TYPES[row.kind],
            "time": time.astimezone(ZONES[row.customer % len(ZONES)]).isoformat(timespec="milliseconds"),
            "subject": f"customer-{row.customer}",
            "data": _data(row),
        }


def _rows(platform: InventedPlatform) -> Iterator[_DrawnEvent]:
    """Yield the events in the order of sending. Arrays are converted in large parts, because reading single
    elements of an array is slow.
    """
    for start in range(0, len(platform.order), ROWS_AT_ONCE):
        numbers = platform.order[start : start + ROWS_AT_ONCE]
        columns = [getattr(platform, name)[numbers].tolist() for name in _DrawnEvent._fields[1:]]
        yield from map(_DrawnEvent._make, zip(numbers.tolist(), *columns, strict=True))


def _data(row: _DrawnEvent) -> dict[str, Any]:
    if row.kind == EventKind.SEEN:
        return {
            "name": f"Customer {row.customer}",
            "properties": {"plan": PLANS[row.customer % len(PLANS)]},
        }
    data: dict[str, Any] = {
        "conversation_id": f"conversation-{row.conversation}",
        "agent_id": f"agent-{row.agent}",
    }
    match row.kind:
        case EventKind.STARTED:
            data["channel"] = CHANNELS[row.conversation % len(CHANNELS)]
        case EventKind.ASKED:
            data |= {"role": "user", "text": QUESTIONS[row.number % len(QUESTIONS)]}
        case EventKind.ANSWERED:
            data |= {"role": "assistant", "text": ANSWERS[row.number % len(ANSWERS)]} | _measured(row)
            if row.retrieved:
                data["retrieval_hit"] = row.hit
        case EventKind.REQUESTED:
            data |= _measured(row)
        case EventKind.FAILED:
            data["error_class"] = ERROR_CLASSES[row.number % len(ERROR_CLASSES)]
        case EventKind.RATED:
            data["rating"] = row.rating
        case EventKind.ENDED:
            data["resolved"] = row.resolved
    return data


def _measured(row: _DrawnEvent) -> dict[str, Any]:
    measured: dict[str, Any] = {
        "model": MODEL,
        "latency_ms": row.latency_ms,
        "time_to_first_token_ms": row.time_to_first_token_ms,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost": _decimal(row.cost),
    }
    if row.failed:
        measured["error_class"] = ERROR_CLASSES[row.number % len(ERROR_CLASSES)]
    return measured


def truth(platform: InventedPlatform) -> dict[str, Any]:
    """Return the numbers of sent events, different events and duplicates, the number of different events of
    each type, and the counts and sums of the messages of each agent.
    """
    kinds = np.bincount(platform.kind, minlength=len(EventKind))
    types: dict[str, int] = {}
    for kind in EventKind:
        types[TYPES[kind]] = types.get(TYPES[kind], 0) + int(kinds[kind])
    message = np.isin(platform.kind, (EventKind.ASKED, EventKind.ANSWERED))
    agents = {}
    for agent in np.unique(platform.agent[message]).tolist():
        chosen = message & (platform.agent == agent)
        agents[f"agent-{agent}"] = {
            "messages": int(chosen.sum()),
            "conversations": len(np.unique(platform.conversation[chosen])),
            "customers": len(np.unique(platform.customer[chosen])),
            "input_tokens": int(platform.input_tokens[chosen].sum()),
            "output_tokens": int(platform.output_tokens[chosen].sum()),
            "cost": _decimal(int(platform.cost[chosen].sum())),
            "errors": int((platform.failed & chosen).sum()),
        }
    count = len(platform.kind)
    sent = len(platform.order)
    return {"sent": sent, "events": count, "duplicates": sent - count, "types": types, "agents": agents}


def _decimal(billionths: int) -> str:
    whole, rest = divmod(billionths, 10**9)
    return f"{whole}.{rest:09d}"
