"""Measure the seconds until the first token of an answer: from the chat server itself, and from an agent.

measured = FirstTokens(agent_url, chat_url, "handbook").measure(questions)
measured.overhead_ms(95)
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import numpy as np
from numpy.typing import NDArray

#: A chunk with a text, as both parties write it.
FIRST_TEXT = re.compile(r'"content": ?"[^"]')
#: Length of the prompt that is sent to the chat server itself: about that of a prompt with eight sources.
PROMPT_CHARACTERS = 8_000


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredFirstTokens:
    """Seconds until the first token, for each question."""

    direct: NDArray[np.float64]
    agent: NDArray[np.float64]

    def overhead_ms(self, percentile: float) -> float:
        """Return a percentile of the agent's time over the median of the chat server's own, in ms."""
        return float(np.percentile(self.agent - np.median(self.direct), percentile)) * 1_000


class FirstTokens:
    """Asks the agent and the chat server in turns, one question at a time, over connections that stay open.

    Args:
        agent_url: base URL of the endpoint, with ``/v1``.
        chat_url: base URL of the chat server, with ``/v1``.
        agent: the external id of the agent.
        key: the API key of the endpoint.
    """

    def __init__(self, agent_url: str, chat_url: str, agent: str, key: str) -> None:
        self._client = httpx.Client(timeout=60)
        self._agent_url, self._chat_url = agent_url, chat_url
        self._agent, self._key = agent, key

    def measure(self, questions: Sequence[str]) -> MeasuredFirstTokens:
        """Ask each question of both, in alternating order."""
        seconds: dict[str, list[float]] = {"direct": [], "agent": []}
        for number, question in enumerate(questions):
            for party in ("direct", "agent") if number % 2 else ("agent", "direct"):
                seconds[party].append(self._ask(party, question))
        return MeasuredFirstTokens(direct=np.array(seconds["direct"]), agent=np.array(seconds["agent"]))

    def _ask(self, party: str, question: str) -> float:
        if party == "agent":
            url, model, content = self._agent_url, f"agent:{self._agent}", question
        else:
            url, model, content = self._chat_url, "m", f"{question} {'x' * PROMPT_CHARACTERS}"
        body = {
            "model": model,
            "messages": [{"role": "user", "content": content}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        headers = {"authorization": f"Bearer {self._key}"}
        first = None
        began = time.perf_counter()
        with self._client.stream("POST", f"{url}/chat/completions", json=body, headers=headers) as answer:
            for line in answer.iter_lines():
                if first is None and FIRST_TEXT.search(line):
                    first = time.perf_counter() - began
            answer.raise_for_status()
        assert first is not None, f"{party} sent no text"
        return first
