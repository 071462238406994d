"""Publish the counts of answers as Ray metrics.

The thread of ``serve_app.embedding.metrics`` calls ``publish`` every few seconds.

    AnswerMetrics(service.answer_stats, service.contexts.stats).publish()
"""

from dataclasses import replace
from typing import Any

from ray.serve.metrics import Counter, Gauge

from cluster.precomputed.lookup import ContextStats
from serve_app.chat.answer_stats import OUTCOMES, AnswerStats


class AnswerMetrics:
    """Publishes the counts of one replica.

    Args:
        stats: the counts.
        contexts: the counts of precomputed contexts.
    """

    def __init__(self, stats: AnswerStats, contexts: ContextStats) -> None:
        self._stats, self._contexts = stats, contexts
        self._published, self._published_contexts = AnswerStats(), ContextStats()
        self._lookups: Any = Counter(
            "embedding_context_lookups", "Questions to agents with precomputed contexts", ("result",)
        )
        self._saved: Any = Counter(
            "embedding_context_saved_seconds", "Seconds of searching that precomputed contexts saved"
        )
        self._answers: Any = Counter(
            "embedding_answers", "Answers of agents and chat models, by how they ended", ("outcome",)
        )
        self._running: Any = Gauge("embedding_answers_running", "Answers that are being written")
        self._unrecorded: Any = Counter(
            "embedding_answers_unrecorded", "Answers whose messages could not be stored"
        )

    def publish(self) -> None:
        """Pass the increments since the last call to Ray."""
        self._running.set(self._stats.running)
        # A series must exist before its first increment. So 0 is recorded, which ``inc`` does not accept.
        for outcome in OUTCOMES:
            now = self._stats.answered[outcome]
            self._answers._record(now - self._published.answered[outcome], tags={"outcome": outcome})
            self._published.answered[outcome] = now
        contexts, before = replace(self._contexts), self._published_contexts
        self._lookups._record(contexts.hits - before.hits, tags={"result": "hit"})
        self._lookups._record(contexts.misses - before.misses, tags={"result": "miss"})
        self._saved._record(contexts.saved_s - before.saved_s, tags={})
        self._published_contexts = contexts
        unrecorded = self._stats.unrecorded
        self._unrecorded._record(unrecorded - self._published.unrecorded, tags={})
        self._published.unrecorded = unrecorded
