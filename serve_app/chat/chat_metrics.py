"""Publish the measurements of requests to chat servers as Ray metrics.

The thread of ``serve_app.embedding.metrics`` calls ``publish`` every few seconds.

    ChatMetrics(service.chat_stats, service.chat.names).publish()
"""

from collections.abc import Sequence
from typing import Any

from ray.serve.metrics import Counter, Histogram

from serve_app.chat.chat_stats import ChatStats, taken

#: Upper bounds of the buckets, in seconds until the first token.
FIRST_TOKEN_S = [0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0]
#: Upper bounds of the buckets, in tokens a second.
TOKENS_PER_S = [1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1_000.0]


class ChatMetrics:
    """Publishes the measurements of one replica.

    Args:
        stats: collects the measurements.
        models: names of the chat models.
    """

    def __init__(self, stats: ChatStats, models: Sequence[str]) -> None:
        self._stats = stats
        self._models = models
        self._first_token: Any = Histogram(
            "embedding_chat_first_token_seconds",
            "Seconds from a request to a chat server to the first token of its answer",
            FIRST_TOKEN_S,
            ("model",),
        )
        self._speed: Any = Histogram(
            "embedding_chat_tokens_per_second",
            "Tokens a second of an answer of a chat server, after its first token",
            TOKENS_PER_S,
            ("model",),
        )
        self._tokens: Any = Counter("embedding_chat_tokens", "Tokens of whole answers", ("model",))
        self._failures: Any = Counter(
            "embedding_chat_failures", "Failed requests to chat servers, by reason", _tags("model", "reason")
        )

    def publish(self) -> None:
        """Pass the measurements since the last call to Ray."""
        # A series must exist before its first increment. So 0 is recorded, which ``inc`` does not accept.
        for model in self._models:
            self._tokens._record(0, tags={"model": model})
            self._failures._record(0, tags={"model": model, "reason": "ProviderUnavailable"})
        for model, seconds in taken(self._stats.first_tokens):
            self._first_token.observe(seconds, {"model": model})
        for model, tokens, speed in taken(self._stats.answers):
            self._tokens._record(tokens, tags={"model": model})
            if speed:
                self._speed.observe(speed, {"model": model})
        for model, reason in taken(self._stats.failures):
            self._failures._record(1, tags={"model": model, "reason": reason})


def _tags(*names: str) -> Any:
    """Return the names unchanged. Ray accepts several names, but its annotation allows only one name."""
    return names
