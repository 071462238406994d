"""Repeat failed requests to a chat server once, then ask the fallback. After the first token, repeat nothing.

This is the only place that repeats requests to chat servers (docs/decisions/050-chat-models.md).

    model = RetriedChatModel(server, fallback, observer)
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Protocol

import structlog

from cluster.chat.contract import (
    ChatDelta,
    ChatInterrupted,
    ChatMessage,
    ChatObserver,
    ChatRequest,
    ChatUsage,
)
from cluster.errors import ClusterError, Misconfigured, ProviderUnavailable, Retryable
from cluster.retrying import Backoff

log = structlog.get_logger(__name__)

#: The wait before the retry. A person waits for the answer, so the wait is short.
BACKOFF = Backoff(first_s=0.3, longest_s=0.3, jitter=True)
#: Maximum seconds that a server may ask to wait before the retry. After a longer request to wait, there is no
#: retry, and the fallback answers immediately.
LONGEST_PAUSE_S = 2.0
#: Maximum number of requests to one server for one answer.
ATTEMPTS = 2
#: After ``FAILURES_BEFORE_REST`` answers in a row for which the server failed, the fallback is asked first
#: for ``REST_S`` seconds. Otherwise each answer would wait for a server that does not answer. After these
#: seconds, one request tries the server again.
FAILURES_BEFORE_REST, REST_S = 3, 10.0


class FirstTokenLate(ProviderUnavailable):
    """No token arrived in time. A retry would double the wait, so the same server gets no retry."""


class OneServer(Protocol):
    """A chat server. Each call of ``stream`` sends one request."""

    name: str
    context_tokens: int
    max_output_tokens: int

    def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Send the request once, and yield the answer."""

    def count_tokens(self, messages: Sequence[ChatMessage]) -> int:
        """Count the tokens of a prompt."""

    def most_tokens(self, messages: Sequence[ChatMessage]) -> float:
        """Return a number that ``count_tokens`` does not exceed, without counting."""

    def count_text(self, text: str) -> int:
        """Count the tokens of a text."""

    def usage_of(self, messages: Sequence[ChatMessage], answer: str) -> ChatUsage:
        """Count the usage of an answer."""

    async def check(self) -> None:
        """Check that the server answers, by a request for the server's models, which costs nothing."""

    async def close(self) -> None:
        """Close the connections to the server."""


class RetriedChatModel:
    """Implements ``ChatModel`` for one server and its fallback.

    Args:
        server: answers, unless it fails.
        fallback: answers if ``server`` fails before its first token; None: there is no fallback.
        observer: measures the attempts; None: nothing is measured.
    """

    def __init__(
        self, server: OneServer, fallback: OneServer | None = None, observer: ChatObserver | None = None
    ) -> None:
        self._server = server
        self._fallback = fallback
        self._observer = observer
        #: Number of answers in a row for which the server failed, and the end of its rest (time.monotonic).
        self._failed, self._rests_until = 0, 0.0
        self.name = server.name
        self.context_tokens = server.context_tokens
        self.max_output_tokens = server.max_output_tokens
        self.count_tokens = server.count_tokens
        self.most_tokens = server.most_tokens
        self.count_text = server.count_text
        self.usage_of = server.usage_of

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Yield the answer of the server or of the fallback; see ``ChatModel``."""
        failures: list[ClusterError] = []
        for server in self._in_order(request):
            if failures and not _is_replaceable(failures[-1]):
                break
            for attempt in (1, ATTEMPTS):
                async with aclosing(self._attempt(server, request, failures)) as deltas:
                    async for delta in deltas:
                        if server is self._server:
                            self._failed = 0
                        yield delta
                        if delta.finish_reason is not None:
                            return
                wait_s = _wait_s(failures[-1])
                if attempt == ATTEMPTS or wait_s is None:
                    break
                await asyncio.sleep(wait_s)
            if server is self._server and _is_replaceable(failures[-1]):
                self._failed += 1
                self._rests_until = time.monotonic() + REST_S
        raise failures[0]

    def _in_order(self, request: ChatRequest) -> Iterator[OneServer]:
        """Yield the server and the fallback, in the order in which they are asked.

        A fallback whose context has no room for the prompt and its answer is left out.
        """
        rests = self._failed >= FAILURES_BEFORE_REST and time.monotonic() < self._rests_until
        if not rests:
            self._rests_until = time.monotonic() + REST_S  # only one request tries the server after its rest
            yield self._server
        if self._fallback is not None and _has_room(self._fallback, request):
            yield self._fallback
        if rests:
            yield self._server

    async def _attempt(
        self, server: OneServer, request: ChatRequest, failures: list[ClusterError]
    ) -> AsyncGenerator[ChatDelta, None]:
        """Yield the answer of one attempt. A failure before the first token is added to ``failures``."""
        sent: list[str] = []
        began = first = time.monotonic()
        try:
            async with aclosing(server.stream(request)) as deltas:
                async for delta in deltas:
                    if delta.text and not sent:
                        first = time.monotonic()
                        if self._observer is not None:
                            self._observer.first_token(server.name, first - began)
                    sent.append(delta.text)
                    if delta.usage is not None and self._observer is not None:
                        tokens = delta.usage.completion_tokens
                        self._observer.answered(server.name, tokens, time.monotonic() - first)
                    yield delta
        except ClusterError as exc:
            if self._observer is not None:
                self._observer.failed(server.name, type(exc).__name__)
            text = "".join(sent)
            log.warning("chat_failed", model=server.name, reason=str(exc), sent=len(text))
            if text:
                raise ChatInterrupted(
                    f"the answer of the chat model {server.name} broke off: {exc}",
                    sent=text,
                    usage=server.usage_of(request.messages, text),
                ) from exc
            failures.append(exc)


def _wait_s(failure: ClusterError) -> float | None:
    """Return the seconds to wait before the retry on the same server; None: there is no retry."""
    if not isinstance(failure, Retryable) or isinstance(failure, FirstTokenLate):
        return None
    wait_s = BACKOFF.wait_s(1, failure)
    return wait_s if wait_s <= LONGEST_PAUSE_S else None


def _has_room(server: OneServer, request: ChatRequest) -> bool:
    """True if the prompt and the longest possible answer fit into the server's context."""
    answer = min(request.max_tokens or server.max_output_tokens, server.max_output_tokens)
    return server.count_tokens(request.messages) + answer <= server.context_tokens


def _is_replaceable(failure: ClusterError) -> bool:
    """True if another server may succeed after this failure."""
    return isinstance(failure, Retryable | Misconfigured)
