"""Run one answer in a replica, count it, and record it as messages of a conversation.

The routes of chat completions and of responses create one ``AgentAnswer`` for each request.

    running = AgentAnswer(service, answerer, target, request, id="chatcmpl-1", of=ConversationOfAnswer())
    async with aclosing(running.events()) as events:
        async for event in events: ...
    running.calls, running.message_id
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from cluster.answers import AnswerEvent, AnswerRequest, Done, Sources, Text
from cluster.chat import ChatUsage
from cluster.errors import Permanent, Throttled
from serve_app.answers.answerer import Answerer, AnswerTarget
from serve_app.answers.recording import LEFT, Exchange, MessageIds, record
from serve_app.chat.answer_stats import AnswerOutcome
from serve_app.service import Service


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationOfAnswer:
    """Says where the question and the answer are stored."""

    #: Id of the conversation, as the client names it; None: the answer begins a new conversation.
    conversation: str | None = None
    #: Id of the customer who asks, as the client names it; None: unknown.
    customer: str | None = None
    #: False if the request asks to store nothing.
    store: bool = True


class AgentAnswer:
    """Runs one answer. Call ``events`` only once.

    Args:
        service: the service of the replica.
        answerer: the answerer of the replica.
        target: what answers.
        request: the conversation with the question.
        id: id of the answer, such as ``chatcmpl-...``.
        of: the conversation in which the answer is stored.
    """

    def __init__(
        self,
        service: Service,
        answerer: Answerer,
        target: AnswerTarget,
        request: AnswerRequest,
        *,
        id: str,
        of: ConversationOfAnswer,
    ) -> None:
        self._service, self._answerer, self._target, self._request = service, answerer, target, request
        #: Id of the conversation, as the client names it; None if the answer is not stored.
        self.conversation: str | None = None
        #: Id of the message with the answer; None if the answer is not stored.
        self.message_id: str | None = None
        self._exchange = Exchange(
            id=id,
            organisation=target.context.organisation,
            conversation=of.conversation or id,
            customer=of.customer,
            question=request.history[-1].content if request.history else "",
            asked_at=datetime.now(UTC),
        )
        self._agent = target.agent
        if self._agent is not None and self._agent.definition.record_conversations and of.store:
            self.conversation = self._exchange.conversation
            self.message_id = MessageIds.of(self._exchange.organisation, id).answer

    @property
    def calls(self) -> list[ChatUsage]:
        """The usage of each call of a chat model so far."""
        return [] if self._target.chat is None else self._target.chat.calls

    async def events(self) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the events of the answer.

        The answer is recorded before its last event. An answer that breaks off is recorded with the text that
        was written, unless the request itself was refused.

        Raises:
            ClusterError: the errors of ``cluster.answers.answer``, of budgets and of rates.
            Throttled: the replica writes too many answers.
        """
        outcome: AnswerOutcome = "left"  # unless the answer ends, or raises an error
        self._exchange.error = LEFT
        try:
            with self._service.answer_stats.one_more():
                async with aclosing(self._answerer.answer(self._target, self._request)) as events:
                    async for event in events:
                        self._note(event)
                        if isinstance(event, Done):
                            outcome, self._exchange.error = _outcome(event, self._exchange), None
                            await self._record()
                        yield event
        except (Permanent, Throttled):
            outcome = "failed"
            self.message_id = None  # the request was refused, so there is no answer to store
            raise
        except Exception as exc:
            outcome, self._exchange.error = "failed", type(exc).__name__
            raise
        finally:
            self._service.answer_stats.answered[outcome] += 1
            if self._exchange.error is not None:
                await self._record()

    def _note(self, event: AnswerEvent) -> None:
        """Add to the exchange what is recorded of this event later."""
        exchange = self._exchange
        if isinstance(event, Sources):
            exchange.sources = event.sources
            exchange.found = bool(event.sources) if self._target.stores else None
        elif isinstance(event, Text):
            exchange.first_token_at = exchange.first_token_at or datetime.now(UTC)
            exchange.parts.append(event.text)
        else:
            exchange.answered_at = datetime.now(UTC)

    async def _record(self) -> None:
        if self.message_id is None or self._agent is None:
            return
        self._exchange.calls = self.calls
        if not await record(self._service, self._agent, self._exchange):
            self._service.answer_stats.unrecorded += 1


def _outcome(done: Done, exchange: Exchange) -> AnswerOutcome:
    if exchange.found is False:
        return "nothing_found"
    return "generated" if done.generated else "quoted"
