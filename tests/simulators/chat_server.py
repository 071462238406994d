"""A server with OpenAI's chat completions, over TCP, with faults on demand.

It was written after OpenAI's published description and the types of the package openai, which also check each
request. It was never compared with the live service.

    with chat_server() as chat:
        chat.faults.append(ChatFault.RESET)                  # of the next request
        OpenAI(base_url=chat.url, api_key="sk-any").chat.completions.create(model="m", messages=...)
        chat.calls[0].left_at                                # when the client disconnected
"""

import json
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from threading import Lock
from typing import Any

from openai.types.chat import CompletionCreateParams
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from pydantic import TypeAdapter, ValidationError

from tests.simulators.http_server import SimulatorHandler, SimulatorServer, running

#: Seconds between two looks at whether the client is still there.
LOOK_S = 0.005
#: Seconds of the pauses of slow answers.
SLOW_S = 30.0


class ChatFault(StrEnum):
    """What goes wrong with a request."""

    #: 429 without a word about when to come back, with one second, and with a long time.
    BUSY = "busy"
    BUSY_WITH_RETRY_AFTER = "busy-with-retry-after"
    BUSY_FOR_LONG = "busy-for-long"
    #: 500 and 503.
    BROKEN = "broken"
    UNAVAILABLE = "unavailable"
    #: 401, with the key in the message; 404; 400 because the prompt is too long.
    WRONG_KEY = "wrong-key"
    NO_SUCH_MODEL = "no-such-model"
    TOO_LONG = "too-long"
    #: The connection is reset before the answer, and in the middle of the answer.
    RESET = "reset"
    RESET_IN_THE_MIDDLE = "reset-in-the-middle"
    #: The answer ends before its last token, without a finish reason.
    ENDS_EARLY = "ends-early"
    #: The first token, and each token after the first, takes ``SLOW_S``.
    SLOW_FIRST_TOKEN = "slow-first-token"
    SLOW_TOKENS = "slow-tokens"
    #: The first chunk, and the chunk in the middle, is not JSON.
    MALFORMED_FIRST = "malformed-first"
    MALFORMED = "malformed"
    #: An event with an error in the middle, as vLLM and Ray Serve LLM send it.
    ERROR_EVENT = "error-event"
    #: vLLM ends an answer that it did not finish with this finish reason.
    ABORTED = "aborted"
    #: No usage at the end.
    NO_USAGE = "no-usage"
    #: The connection stays open after the last token.
    STAYS_OPEN = "stays-open"


class ChatDialect(StrEnum):
    """What servers send beyond OpenAI's description, or in its place."""

    OPENAI = "openai"
    #: Thoughts in ``reasoning_content``, further fields in each chunk, usage in every chunk, comments.
    VLLM = "vllm"
    #: Thoughts in ``reasoning``, the role in every chunk, the finish reason in a chunk with a text.
    OLLAMA = "ollama"


#: Status, code, message and headers of refused requests. ``{key}`` is the key of the request.
REFUSALS: dict[ChatFault, tuple[int, str | None, str, dict[str, str]]] = {
    ChatFault.BUSY: (429, "rate_limit_exceeded", "Rate limit reached.", {}),
    ChatFault.BUSY_WITH_RETRY_AFTER: (
        429,
        "rate_limit_exceeded",
        "Rate limit reached.",
        {"retry-after": "1"},
    ),
    ChatFault.BUSY_FOR_LONG: (429, "rate_limit_exceeded", "Rate limit reached.", {"retry-after": "60"}),
    ChatFault.BROKEN: (500, None, "The server had an error.", {}),
    ChatFault.UNAVAILABLE: (503, None, "The engine is overloaded.", {}),
    ChatFault.WRONG_KEY: (401, "invalid_api_key", "Incorrect API key provided: {key}.", {}),
    ChatFault.NO_SUCH_MODEL: (404, "model_not_found", "The model does not exist.", {}),
    ChatFault.TOO_LONG: (400, "context_length_exceeded", "This model's maximum context length is 10.", {}),
}


@dataclass
class ChatCall:
    """One request that the server has received."""

    body: dict[str, Any]
    key: str
    #: When the request arrived, from ``time.monotonic``.
    at: float
    #: Header with the position in a trace; None if there is none.
    traceparent: str | None = None
    #: Number of tokens that were sent.
    sent: int = 0
    #: When the client disconnected before the end of the answer; None if it did not.
    left_at: float | None = None


def repeat_question(messages: list[dict[str, Any]]) -> str:
    """The default answer: the beginning of the last message of the user."""
    asked = [message["content"] for message in messages if message["role"] == "user"]
    return f"You asked: {asked[-1][-200:]}" if asked else "You asked nothing."


class ChatServerSimulator(SimulatorServer):
    """The server and its state. Tests change the state between requests."""

    def __init__(self, dialect: ChatDialect = ChatDialect.OPENAI, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.dialect = dialect
        self.reply: Callable[[list[dict[str, Any]]], str] = repeat_question
        #: Faults of the next requests; None: a request without a fault.
        self.faults: deque[ChatFault | None] = deque()
        #: The fault of all requests for which ``faults`` has none.
        self.always: ChatFault | None = None
        #: Seconds until the first token, and between tokens.
        self.first_token_s = 0.0
        self.token_s = 0.0
        self.calls: list[ChatCall] = []
        #: Number of connections that clients have opened.
        self.connections = 0
        #: True to close each connection after its answer, without a header that says so.
        self.closes_connections = False
        #: What a request broke of OpenAI's description.
        self.complaints: list[str] = []
        self.lock = Lock()

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def next_fault(self) -> ChatFault | None:
        """The fault of the next request."""
        with self.lock:
            return self.faults.popleft() if self.faults else self.always


def chat_server(dialect: ChatDialect = ChatDialect.OPENAI) -> AbstractContextManager[ChatServerSimulator]:
    """Run a server on a free port inside the block."""
    return running(ChatServerSimulator(dialect))


@dataclass
class _Answer:
    """The chunks of one answer."""

    call: ChatCall
    dialect: ChatDialect
    tokens: list[str]
    prompt_tokens: int
    id: str = "chatcmpl-1"
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.call.sent,
            "total_tokens": self.prompt_tokens + self.call.sent,
        }

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        if self.dialect == ChatDialect.VLLM:
            choice |= {"stop_reason": None, "token_ids": None}
        if self.dialect == ChatDialect.OLLAMA:
            choice["delta"] = {"role": "assistant", "content": "", **delta}
        return self._event([choice], self.usage if self.dialect == ChatDialect.VLLM else None)

    def last(self) -> dict[str, Any]:
        return self._event([], self.usage)

    def thought(self) -> dict[str, Any]:
        name = "reasoning" if self.dialect == ChatDialect.OLLAMA else "reasoning_content"
        return self.chunk({name: "The user wants to know something."})

    def whole(self) -> dict[str, Any]:
        self.call.sent = len(self.tokens)
        message = {"role": "assistant", "content": "".join(self.tokens), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return {**self._event([choice], self.usage), "object": "chat.completion"}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.call.body["model"],
            "system_fingerprint": "fp_simulated",
            "choices": choices,
            "usage": usage,
        }


class _Left(Exception):
    """The client has disconnected."""


class _Handler(SimulatorHandler):
    server: ChatServerSimulator

    def setup(self) -> None:
        """Count the connection."""
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        """Answer ``/v1/models``."""
        fault = self.server.next_fault()
        if fault in REFUSALS:
            self._refuse(fault, (self.headers["authorization"] or "").removeprefix("Bearer "))
            return
        self.send_json(200, json.dumps({"object": "list", "data": []}).encode(), {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = (self.headers["authorization"] or "").removeprefix("Bearer ")
        call = ChatCall(body, key, at=time.monotonic(), traceparent=self.headers["traceparent"])
        fault = self.server.next_fault()
        self.server.complaints += _complaints(body)
        self.server.calls.append(call)
        if fault == ChatFault.RESET:
            self.reset()
        elif fault in REFUSALS:
            self._refuse(fault, key)
        else:
            try:
                self._answer(call, fault)
            except (_Left, OSError):
                call.left_at = time.monotonic()
                self.close_connection = True

    def _refuse(self, fault: ChatFault, key: str) -> None:
        status, code, message, headers = REFUSALS[fault]
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message.format(key=key), "type": kind, "param": None, "code": code}
        self.send_json(status, json.dumps({"error": error}).encode(), headers)

    def _answer(self, call: ChatCall, fault: ChatFault | None) -> None:
        messages = call.body["messages"]
        tokens = _tokens(self.server.reply(messages))
        most = call.body.get("max_completion_tokens") or call.body.get("max_tokens")
        kept = tokens[:most]
        answer = _Answer(
            call, self.server.dialect, kept, sum(4 + len(_tokens(one["content"])) for one in messages) + 3
        )
        self._wait(self.server.first_token_s + (SLOW_S if fault == ChatFault.SLOW_FIRST_TOKEN else 0.0))
        if not call.body.get("stream"):
            self.send_json(200, json.dumps(answer.whole()).encode(), {})
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in self._events(answer, fault, "length" if len(kept) < len(tokens) else "stop"):
            self._send(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = self.server.closes_connections

    def _events(
        self, answer: _Answer, fault: ChatFault | None, finish: str
    ) -> Iterator[dict[str, Any] | str]:
        """The events of the answer. The fault ends the iteration, or is one of the events."""
        if fault == ChatFault.MALFORMED_FIRST:
            yield '{"id": "chatcmpl-1", "choices": [{"delta'
        yield answer.chunk({"role": "assistant", "content": ""})
        if self.server.dialect != ChatDialect.OPENAI:
            yield answer.thought()
        middle = len(answer.tokens) // 2
        for number, token in enumerate(answer.tokens):
            if number == middle and (yield from self._in_the_middle(fault)):
                return
            if number:
                self._wait(SLOW_S if fault == ChatFault.SLOW_TOKENS else self.server.token_s)
            answer.call.sent += 1
            whole_last = self.server.dialect == ChatDialect.OLLAMA and number == len(answer.tokens) - 1
            yield answer.chunk({"content": token}, finish if whole_last else None)
        if fault == ChatFault.ABORTED:
            finish = "abort"
        if self.server.dialect != ChatDialect.OLLAMA or fault == ChatFault.ABORTED:
            yield answer.chunk({}, finish)
        wants_usage = (answer.call.body.get("stream_options") or {}).get("include_usage")
        if wants_usage and fault != ChatFault.NO_USAGE:
            yield answer.last()
        if fault == ChatFault.STAYS_OPEN:
            self._wait(SLOW_S)
        yield "[DONE]"

    def _in_the_middle(self, fault: ChatFault | None) -> Iterator[str]:
        """Show a fault of the middle of an answer. Return True if the answer ends with it."""
        match fault:
            case ChatFault.RESET_IN_THE_MIDDLE:
                self.reset()
                raise OSError("reset")
            case ChatFault.MALFORMED:
                yield '{"id": "chatcmpl-1", "choices": [{"delta'
            case ChatFault.ERROR_EVENT:
                error = {"message": "The engine died.", "type": "InternalServerError", "code": 500}
                yield json.dumps({"error": error})
        return fault in (ChatFault.ENDS_EARLY, ChatFault.ERROR_EVENT)

    def _send(self, event: str) -> None:
        self._wait(0.0)
        data = event.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _wait(self, seconds: float) -> None:
        """Wait, and raise ``_Left`` as soon as the client has disconnected."""
        until = time.monotonic() + seconds
        while True:
            readable, _, _ = select.select([self.connection], [], [], min(LOOK_S, seconds))
            if readable and not self.connection.recv(1, socket.MSG_PEEK):
                raise _Left
            if time.monotonic() >= until:
                return


@cache
def _checker() -> TypeAdapter[Any]:
    return TypeAdapter(CompletionCreateParams)


def _complaints(body: dict[str, Any]) -> list[str]:
    """What the types of the package openai forbid in this request."""
    try:
        list(_checker().validate_python(body)["messages"])  # pydantic checks an iterable when it is read
    except ValidationError as exc:
        return [str(exc)]
    known = CompletionCreateParamsStreaming.__annotations__
    return [f"unknown parameter {name}" for name in body if name not in known]


def _tokens(text: str) -> list[str]:
    """The words of the text, each with the white space after it."""
    return re.findall(r"\s*\S+\s*", text)
