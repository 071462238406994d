"""Admit the tokens of each call of a chat model, and record them as usage.

``answerer`` wraps the chat model of each request in a ``MeteredChat``. So all calls are admitted and counted
in this one place, also the calls that rewrite questions.

    chat = MeteredChat(model, service.admission, service.usage, context)
    async with aclosing(chat.stream(request)) as deltas: ...
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from cluster.chat import ChatDelta, ChatInterrupted, ChatModel, ChatRequest, ChatUsage
from cluster.errors import ClusterError
from cluster.organisations.caller import current_caller
from cluster.usage.events import CHAT_INPUT, CHAT_OUTPUT
from serve_app.embedding.admission import Admission
from serve_app.embedding.served_model import RequestContext
from serve_app.usage.usage_recorder import UsageRecorder


class MeteredChat:
    """Implements ``ChatModel`` for one request.

    Args:
        model: the chat model.
        admission: admits the tokens of each call.
        usage: records the tokens.
        context: the context of the request, with its organisation and its agent.
    """

    def __init__(
        self, model: ChatModel, admission: Admission, usage: UsageRecorder, context: RequestContext
    ) -> None:
        self._model, self._admission, self._usage, self._context = model, admission, usage, context
        self.name = model.name
        self.context_tokens = model.context_tokens
        self.max_output_tokens = model.max_output_tokens
        self.count_tokens = model.count_tokens
        self.most_tokens = model.most_tokens
        self.count_text = model.count_text
        self.usage_of = model.usage_of
        #: The usage of each call so far.
        self.calls: list[ChatUsage] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Yield the answer; see ``ChatModel``. If the client disconnects, the tokens up to this
        moment are recorded as usage.

        Raises:
            BudgetExceeded: a budget does not cover the prompt and the longest possible answer.
            Throttled: a rate of the caller has no room for these tokens.
            ClusterError: the errors of ``ChatModel.stream``.
        """
        counts = self._admission.concerns(current_caller())
        most = min(request.max_tokens or self.max_output_tokens, self.max_output_tokens)
        async with self._admission.admit(
            self._context.organisation,
            kind=CHAT_INPUT,
            model=self.name,
            tokens=self.count_tokens(request.messages) if counts else 0,
            output_tokens=most,
            source=self._context.source,
            agent=self._context.agent,
        ) as admitted:
            before = len(self.calls)
            async with aclosing(self._recorded(request)) as deltas:
                async for delta in deltas:
                    yield delta
            admitted.done(tokens=sum(call.prompt_tokens for call in self.calls[before:]))

    async def _recorded(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        sent: list[str] = []
        usage: ChatUsage | None = None
        failed = False
        try:
            async with aclosing(self._model.stream(request)) as deltas:
                async for delta in deltas:
                    sent.append(delta.text)
                    usage = delta.usage or usage
                    yield delta
        except ChatInterrupted as exc:
            usage, failed = exc.usage, True
            raise
        except ClusterError:
            failed = True
            raise
        finally:
            if usage is None and not failed:  # the client has disconnected
                usage = self.usage_of(request.messages, "".join(sent))
            if usage is not None:
                self._record(usage)

    def _record(self, usage: ChatUsage) -> None:
        self.calls.append(usage)
        for kind, tokens in ((CHAT_INPUT, usage.prompt_tokens), (CHAT_OUTPUT, usage.completion_tokens)):
            self._usage.add(
                self._context.organisation,
                self._context.source,
                usage.model,
                tokens=tokens,
                kind=kind,
                agent=self._context.agent,
            )
