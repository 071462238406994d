"""Send each request once to a chat server that has OpenAI's protocol. The package openai is the client.

``cluster.chat.models`` makes the objects for the servers, and ``cluster.chat.attempts`` repeats failed
requests. This is the only file for chat that imports openai. The file also supports servers that differ from
OpenAI's server (docs/decisions/050-chat-models.md).

    server = ChatServer("small", setting, key, counter)
    async with aclosing(server.stream(request)) as deltas: ...
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import openai
from openai import DEFAULT_CONNECTION_LIMITS, AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient, Timeout

from cluster.chat.attempts import FirstTokenLate
from cluster.chat.contract import ChatDelta, ChatFinishReason, ChatMessage, ChatRequest, ChatUsage
from cluster.chat.prompt_tokens import PromptTokens
from cluster.engines.openai.errors import translated
from cluster.errors import ClusterError, InvalidInput, Misconfigured, ProviderUnavailable
from cluster.secrets import Secret
from cluster.settings.chat import ChatModelSetting
from cluster.tracing import CLIENT, AttributeValue, Span, detached_span
from cluster.tracing.conventions import answered, chat
from cluster.tracing.trace_context import TRACEPARENT

#: URL of OpenAI's own API.
OPENAI_URL = "https://api.openai.com/v1"
#: The key that is sent to a server that needs no key, because the client requires a key.
NO_KEY = "none"
#: Time limit for opening a connection, in seconds.
CONNECT_TIMEOUT_S = 5.0
#: Seconds after which an idle connection is closed. A new connection with TLS delays the first token by three
#: round trips, and people often read for more than the client's default of 5 s before the next question. The
#: client does not use a connection that the server has closed. Some load balancers drop connections silently
#: after 240 s.
IDLE_CONNECTION_S = 120.0
#: Time limit of a request that only checks the server, in seconds.
CHECK_TIMEOUT_S = 5.0
#: Maximum seconds between two tokens of an answer.
STALLED_S = 60.0
#: Maximum seconds to wait for the usage after the last token.
USAGE_TIMEOUT_S = 5.0
#: Our finish reason for each finish reason of a server. Mistral names a full context ``model_length``. Every
#: other reason, such as ``eos`` or ``tool_calls``, counts as ``stop``.
FINISH_REASONS: Mapping[str, ChatFinishReason] = MappingProxyType(
    {"length": "length", "model_length": "length", "content_filter": "content_filter"}
)
#: Finish reasons of an answer that vLLM did not finish.
BROKEN_OFF = frozenset({"abort", "error"})


class ChatServer:
    """Sends requests to one chat model at one server. All calls must use the same event loop.

    Args:
        name: name of the model in ``CLUSTER_CHAT_MODELS``.
        setting: the server, and the name that the model has at the server.
        key: the key of the server; empty: there is no key.
        counter: counts tokens in the same way as the model.
    """

    #: The setting that names the server, and the task of the server. Error messages contain both
    #: (``ProviderAccess``).
    setting, task = "CLUSTER_CHAT_MODELS", "chat"

    def __init__(self, name: str, setting: ChatModelSetting, key: Secret, counter: PromptTokens) -> None:
        self.name = name
        self.context_tokens = setting.context_tokens
        self.max_output_tokens = setting.max_output_tokens
        self.provider = urlsplit(setting.base_url or "").hostname or "OpenAI"
        self.whose_key = f"the key in {setting.key_env}" if setting.key_env else "the cluster (no key_env)"
        self.secrets = [key.reveal()] if key else []
        self.count_tokens = counter.messages
        self.most_tokens = counter.at_most
        self.count_text = counter.text
        self._options = setting
        most = DEFAULT_CONNECTION_LIMITS
        limits = type(most)(
            max_connections=most.max_connections,
            max_keepalive_connections=most.max_keepalive_connections,
            keepalive_expiry=IDLE_CONNECTION_S,
        )
        # The client's own retries are off, because ``attempts`` repeats failed requests.
        self._client = AsyncOpenAI(
            api_key=key.reveal() or NO_KEY,
            base_url=setting.base_url or OPENAI_URL,
            max_retries=0,
            timeout=Timeout(None, connect=CONNECT_TIMEOUT_S),
            http_client=DefaultAsyncHttpxClient(limits=limits),
        )
        # The client reads these two values from the environment. The values may belong to
        # another key, so the requests must not contain these values.
        self._client.organization = self._client.project = None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """Send the request, and yield the answer; the last part has ``finish_reason`` and ``usage``.

        Raises:
            ClusterError: the errors of ``ChatModel.stream`` except ``ChatInterrupted``, even after the first
                token.
        """
        call = detached_span(f"chat {self.name}", CLIENT)
        try:
            async with aclosing(self._answer(request, call)) as deltas:
                async for delta in deltas:
                    yield delta
        except ClusterError as exc:
            call.fail(type(exc).__name__)
            raise
        finally:
            call.end()

    async def _answer(self, request: ChatRequest, call: Span) -> AsyncGenerator[ChatDelta, None]:
        self._require_key()
        if call.recorded:
            call.set(self._attributes(request))
        loop = asyncio.get_running_loop()
        waits_until = loop.time() + self._options.first_token_timeout_s
        finish: str | None = None
        usage: object = None
        parts: list[str] = []
        stream = await self._opened(request, waits_until, call)
        try:
            while True:
                chunk = await self._next(stream, waits_until, parts, finish)
                if chunk is None:
                    break
                usage = chunk.get("usage") or usage
                text, ended = _content(chunk)
                finish = ended or finish
                if text:
                    parts.append(text)
                    yield ChatDelta(text=text)
                if finish is not None:
                    waits_until = loop.time() + USAGE_TIMEOUT_S
                elif text or parts:
                    waits_until = loop.time() + STALLED_S
        finally:
            await stream.close()
        if finish is None or finish in BROKEN_OFF:
            raise ProviderUnavailable(f"{self.provider} ended its answer before the last token")
        used = self._reported(usage) or self.usage_of(request.messages, "".join(parts))
        reason = FINISH_REASONS.get(finish, "stop")
        call.set(answered(reason, prompt_tokens=used.prompt_tokens, answer_tokens=used.completion_tokens))
        yield ChatDelta(finish_reason=reason, usage=used)

    async def check(self) -> None:
        """Check that the server answers a request for its models. Status 404 also counts as an answer,
        because a server may have no route for its models.

        Raises:
            ClusterError: the errors that ``ChatModel.stream`` raises before the first token.
        """
        self._require_key()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._client.models.list()
        except openai.NotFoundError:
            return
        except (TimeoutError, openai.OpenAIError) as exc:
            raise self._error(exc) from None

    async def close(self) -> None:
        """Close the connections to the server."""
        await self._client.close()

    def usage_of(self, messages: Sequence[ChatMessage], answer: str) -> ChatUsage:
        """Count the usage of an answer for which the server reported no usage."""
        return self._usage(self.count_tokens(messages), self.count_text(answer), counted_here=True)

    def _require_key(self) -> None:
        if (variable := self._options.key_env) and not self.secrets:
            raise Misconfigured(
                f"the environment variable {variable} is not set, and the chat model {self.name} "
                "takes its key from it; set the variable on every node"
            )

    async def _opened(self, request: ChatRequest, waits_until: float, call: Span) -> AsyncStream[object]:
        # The header is sent only if the trace is recorded, because a server may not expect the header.
        headers = {TRACEPARENT: call.position.traceparent} if call.position is not None else {}
        try:
            async with asyncio.timeout_at(waits_until):
                # ``object`` means that chunks are plain dictionaries. The typed method of the client needs
                # 2 ms more until the first token, and 0.3 ms more for each chunk.
                return await self._client.post(
                    "/chat/completions",
                    body=self._body(request),
                    options={"headers": headers},
                    cast_to=object,
                    stream=True,
                    stream_cls=AsyncStream[object],
                )
        except TimeoutError:
            raise self._late() from None
        except openai.OpenAIError as exc:
            raise self._error(exc) from None  # the client's error is hidden because it contains the API key

    async def _next(
        self,
        stream: AsyncStream[object],
        waits_until: float,
        parts: Sequence[str],
        finish: str | None,
    ) -> Mapping[str, Any] | None:
        """Return the next chunk; None after the last chunk.

        The finish reason shows that the server has sent the whole answer. If an error follows, for example
        because the connection stays open, the method returns None and raises no error.
        """
        try:
            async with asyncio.timeout_at(waits_until):
                chunk = await anext(stream, None)
                return {} if chunk is not None and not isinstance(chunk, dict) else chunk
        except TimeoutError:
            if finish is None:
                reason = f"{self.provider} has sent no token for {STALLED_S:.0f} s"
                raise (ProviderUnavailable(reason) if parts else self._late()) from None
        except json.JSONDecodeError:
            if finish is None:
                raise ProviderUnavailable(f"{self.provider} sent a chunk that is not JSON") from None
        except openai.OpenAIError as exc:
            if finish is None:
                raise self._error(exc) from None
        return None

    def _late(self) -> FirstTokenLate:
        seconds = self._options.first_token_timeout_s
        return FirstTokenLate(
            f"{self.provider} sent no token within {seconds:g} s; if the model needs longer, raise "
            f"first_token_timeout_s of {self.name} in CLUSTER_CHAT_MODELS"
        )

    def _error(self, exc: Exception) -> ClusterError:
        error = translated(exc, self)
        return InvalidInput(str(error), param="messages") if isinstance(error, InvalidInput) else error

    def _attributes(self, request: ChatRequest) -> Mapping[str, AttributeValue]:
        most = self.max_output_tokens
        return chat(
            self._options.model,
            address=self.provider,
            max_tokens=min(request.max_tokens or most, most),
            temperature=request.temperature,
        )

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        most = self.max_output_tokens
        # OpenAI's newer models refuse ``max_tokens``, and Ollama ignores ``max_completion_tokens``.
        limit = "max_completion_tokens" if self._options.base_url is None else "max_tokens"
        body = {
            "model": self._options.model,
            "messages": [{"role": one.role, "content": one.content} for one in request.messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            limit: min(request.max_tokens or most, most),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": list(request.stop) or None,
            "seed": request.seed,
            "frequency_penalty": request.frequency_penalty,
            "presence_penalty": request.presence_penalty,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _reported(self, usage: object) -> ChatUsage | None:
        """Return the usage that the server reports; None if the report has no valid numbers."""
        if not isinstance(usage, dict):
            return None
        prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not isinstance(prompt, int) or not isinstance(answer, int) or min(prompt, answer) < 0:
            return None
        return self._usage(prompt, answer, counted_here=False)

    def _usage(self, prompt: int, answer: int, *, counted_here: bool) -> ChatUsage:
        given = self._options.price_per_million_input_tokens, self._options.price_per_million_output_tokens
        prices = [Decimal(str(price)) / 1_000_000 for price in given if price is not None]
        return ChatUsage(
            model=self.name,
            prompt_tokens=prompt,
            completion_tokens=answer,
            counted_here=counted_here,
            cost=prompt * prices[0] + answer * prices[1] if len(prices) == len(given) else None,
        )


def _content(chunk: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the text of a chunk, or an empty text, and the finish reason of the chunk, or None.

    The client does not check the chunk, so each part of the chunk may be missing or have another type. The
    thoughts of a model (``reasoning``, ``reasoning_content``) are left out.
    """
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return "", None
    delta, finish = choice.get("delta"), choice.get("finish_reason")
    content = (delta.get("content") or delta.get("refusal")) if isinstance(delta, dict) else None
    if isinstance(content, list):  # Mistral's reasoning models send a list of typed parts
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else "", finish if isinstance(finish, str) and finish else None
