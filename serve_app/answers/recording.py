"""Record the question and the answer of an agent as messages of a conversation.

The routes of chat completions and of responses call ``record``. The messages are events like those of
``POST /v1/events``, so analytics, feedback and the erasure of customers treat them alike.

    ids = MessageIds.of("acme", "chatcmpl-1")
    await record(service, agent, exchange)      # the messages ids.question and ids.answer
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Self

import structlog

from cluster.agents import DefinedAgent
from cluster.answers import Source
from cluster.chat import ChatUsage
from cluster.errors import Retryable
from cluster.platform_data.event_data import MAX_TEXT_CHARACTERS
from cluster.platform_data.ids import row_id
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events
from serve_app.service import Service

log = structlog.get_logger(__name__)

#: Source of the events. Ids of answers are random, so no event of another sender has the same id.
SOURCE = "/v1/answers"
QUESTION, ANSWER = "question", "answer"
#: Error class of an answer whose client disconnected before the end of the answer.
LEFT = "ClientLeft"


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageIds:
    """Ids of the two messages of an answer. Feedback names the message of the answer."""

    question: str
    answer: str

    @classmethod
    def of(cls, organisation: str, id: str) -> Self:
        """Return the ids of the messages of the answer with this id, such as ``chatcmpl-...``."""
        question, answer = (
            row_id("msg", organisation, SOURCE, f"{id}/{part}") for part in (QUESTION, ANSWER)
        )
        return cls(question=question, answer=answer)


@dataclass(kw_only=True, slots=True)
class Exchange:
    """A question to an agent and its answer, as far as the answer was written."""

    #: Id of the answer, such as ``chatcmpl-...``.
    id: str
    organisation: str
    #: Id of the conversation, as the client names it.
    conversation: str
    #: Id of the customer, as the client names it; None if the customer is unknown.
    customer: str | None
    question: str
    asked_at: datetime
    #: The parts of the answer's text.
    parts: list[str] = field(default_factory=list)
    answered_at: datetime | None = None
    first_token_at: datetime | None = None
    sources: Sequence[Source] = ()
    #: True if the search found a source, False if it found none; None if nothing was searched.
    found: bool | None = None
    #: The usage of each call of a chat model.
    calls: Sequence[ChatUsage] = ()
    #: Class of the error that ended the answer; None if the answer is whole.
    error: str | None = None


async def record(service: Service, agent: DefinedAgent, exchange: Exchange) -> bool:
    """Write the two messages. Return False if the messages could not be written. In this case, the log says
    why, and no error is raised, because the client has its answer already.
    """
    events, faults = read_events(exchange.organisation, _rows(agent, exchange))
    try:
        done = await service.in_transaction(
            partial(ingest, organisation=exchange.organisation, events=events)
        )
    except Retryable as exc:
        log.error("answer_not_recorded", answer=exchange.id, reason=str(exc))
        return False
    if faults or done.faults:
        reasons = [f"{fault.field}: {fault.message}" for fault in [*faults, *done.faults]]
        log.warning("answer_not_recorded", answer=exchange.id, reason="; ".join(reasons))
        return False
    return True


def _rows(agent: DefinedAgent, exchange: Exchange) -> list[dict[str, Any]]:
    answered_at = exchange.answered_at or datetime.now(UTC)
    shared = {
        "agent_id": agent.definition.external_id,
        "conversation_id": exchange.conversation,
        "customer_id": exchange.customer,
    }
    calls = exchange.calls
    answer = {
        "role": "assistant",
        "text": _storable("".join(exchange.parts)),
        "model": calls[-1].model if calls else None,
        "latency_ms": _milliseconds(exchange.asked_at, answered_at),
        "time_to_first_token_ms": _milliseconds(exchange.asked_at, exchange.first_token_at),
        "input_tokens": sum(call.prompt_tokens for call in calls),
        "output_tokens": sum(call.completion_tokens for call in calls),
        "cost": f"{sum((call.cost or Decimal(0) for call in calls), Decimal(0)):.12f}",
        "error_class": exchange.error,
        "retrieval_hit": exchange.found,
        "sources": [source_record(source) for source in exchange.sources],
    }
    question = {"role": "user", "text": _storable(exchange.question)}
    return [
        {
            "id": f"{exchange.id}/{part}",
            "source": SOURCE,
            "type": "message.created",
            "time": at.isoformat(),
            "data": {name: value for name, value in {**shared, **data}.items() if value is not None},
        }
        for part, at, data in ((QUESTION, exchange.asked_at, question), (ANSWER, answered_at, answer))
    ]


def source_record(source: Source) -> dict[str, Any]:
    """Return the source as messages and answers show it."""
    return {
        "number": source.number,
        "file_id": source.file,
        "filename": source.filename,
        "vector_store_id": source.store,
        "chunk_id": source.chunk,
        "page": source.page,
        "start": source.start,
        "end": source.end,
        **source.place.attributes(),
        "quote": source.quote,
        "score": source.score,
    }


def _milliseconds(begin: datetime, end: datetime | None) -> int | None:
    return None if end is None else max(0, round((end - begin).total_seconds() * 1_000))


def _storable(text: str) -> str:
    """Return the text, cut to ``MAX_TEXT_CHARACTERS``, without characters that Postgres cannot store."""
    return text[:MAX_TEXT_CHARACTERS].replace("\0", "").encode("utf-8", "replace").decode()
