"""Asks agents the golden questions at the endpoint, as any client does, and finds the right sources.

asker = AgentAsker("http://127.0.0.1:8000/v1", key=None, organisation="acme")
result = asker.ask(question)
result.rank                                    # 1
"""

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from cluster.answers.answer_events import answer_events
from cluster.errors import InvalidInput, Unavailable
from cluster.evaluation.golden import GoldenQuestion
from cluster.evaluation.measures import QuestionResult
from cluster.retrying import requested_wait_s

TIMEOUT_S = 120.0
#: Maximum number of requests for a question if the endpoint is busy, and the longest wait in seconds before
#: the next request.
ATTEMPTS, LONGEST_WAIT_S = 5, 30.0
BUSY = frozenset({http.client.TOO_MANY_REQUESTS, http.client.SERVICE_UNAVAILABLE})


class AgentAsker:
    """Sends questions to ``/v1/chat/completions``. Nothing of the conversations is stored.

    Args:
        base_url: URL of the endpoint, up to and including ``/v1``.
        key: an API key with the scope ``read``; None: the endpoint needs no key.
        organisation: the organisation whose agents are asked, if the key is the operator's; None: the
            organisation of the key.

    Raises:
        InvalidInput: the URL is not http or https.
    """

    def __init__(self, base_url: str, *, key: SecretStr | None, organisation: str | None) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise InvalidInput(f"{base_url!r} is not a URL with http or https", param="url")
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        if organisation is not None:
            self._headers["OpenAI-Organization"] = organisation

    def ask_all(self, questions: Sequence[GoldenQuestion], *, at_once: int) -> Iterator[QuestionResult]:
        """Ask the questions, and yield their results in the same order."""
        with ThreadPoolExecutor(at_once) as threads:
            yield from threads.map(self.ask, questions)

    def ask(self, question: GoldenQuestion) -> QuestionResult:
        """Ask one question. A question that gets no answer has its error in the result."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._ask(question)
            except _Busy as exc:
                if attempt == ATTEMPTS:
                    return QuestionResult(question=question, error=str(exc))
                time.sleep(exc.retry_after_s or min(2.0**attempt, LONGEST_WAIT_S))
            except (OSError, http.client.HTTPException, ValueError, Unavailable) as exc:
                return QuestionResult(question=question, error=str(exc) or type(exc).__name__)
        raise AssertionError("the last attempt returns")

    def _ask(self, question: GoldenQuestion) -> QuestionResult:
        body = {
            "model": f"agent:{question.agent}",
            "messages": [{"role": "user", "content": question.question}],
            "stream": True,
            "store": False,
        }
        connection = self._connect(self._host, self._port, timeout=TIMEOUT_S)
        try:
            began = time.monotonic()
            connection.request("POST", f"{self._path}/chat/completions", json.dumps(body), self._headers)
            answer = connection.getresponse()
            if answer.status in BUSY:
                raise _Busy(_message(answer.read()), answer.headers.get("Retry-After"))
            if answer.status != http.client.OK:
                raise Unavailable(f"status {answer.status}: {_message(answer.read())}")
            return _result(question, answer, began)
        finally:
            connection.close()


class _Busy(Exception):
    def __init__(self, message: str, retry_after: str | None) -> None:
        super().__init__(message)
        self.retry_after_s = requested_wait_s(retry_after, most_s=LONGEST_WAIT_S)


def _result(question: GoldenQuestion, lines: http.client.HTTPResponse, began: float) -> QuestionResult:
    """Read the events of a streamed answer. Return the result with the rank of the first right source.

    Raises:
        Unavailable: the answer broke off.
    """
    sources: list[dict[str, Any]] = []
    first_text_s: float | None = None
    for event in answer_events(lines):
        sources = event.get("sources") or sources
        if first_text_s is None and any(choice["delta"].get("content") for choice in event["choices"]):
            first_text_s = time.monotonic() - began
    seconds = time.monotonic() - began
    result = QuestionResult(
        question=question,
        found=bool(sources),
        sources=[source["filename"] for source in sources],
        first_text_s=seconds if first_text_s is None else first_text_s,
        seconds=seconds,
    )
    right = (number for number, source in enumerate(sources, start=1) if is_right(question, source))
    return replace(result, rank=next(right, None))


def is_right(question: GoldenQuestion, source: dict[str, Any]) -> bool:
    """Return True if the source is the expected file, or contains the expected sentence."""
    if question.file is not None:
        return question.file in (source["file_id"], source["filename"])
    return question.sentence is not None and _plain(question.sentence) in _plain(source["text"])


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")
