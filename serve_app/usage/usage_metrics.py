"""Publish the state of the usage that waits for the database, as Ray metrics.

The thread of ``serve_app.embedding.metrics`` calls ``publish`` every few seconds.

    UsageMetrics(service.usage.stats).publish()
"""

from typing import Any

from ray.serve.metrics import Counter, Gauge

from serve_app.usage.usage_sender import UsageStats


class UsageMetrics:
    """Publishes the state of one recorder.

    Args:
        stats: the state.
    """

    def __init__(self, stats: UsageStats) -> None:
        self._stats = stats
        self._published_refused = 0
        self._unsent: Any = Gauge(
            "embedding_usage_unsent_seconds",
            "Seconds for which the usage of requests has waited for the database",
        )
        self._only_in_memory: Any = Gauge(
            "embedding_usage_only_in_memory", "1 while the usage of requests cannot be written to a file"
        )
        self._refused: Any = Counter(
            "embedding_usage_refused_events", "Usage events that the database refused"
        )

    def publish(self) -> None:
        """Pass the gauges, and the increment of the counter since the last call, to Ray."""
        self._unsent.set(self._stats.unsent_s)
        self._only_in_memory.set(float(self._stats.only_in_memory))
        refused = self._stats.refused_events
        # ``_record`` accepts 0, and ``inc`` does not. A series must exist before its first increment.
        self._refused._record(refused - self._published_refused, tags={})
        self._published_refused = refused
