"""Publish how often the rates of organisations and keys refuse work, as Ray metrics.

The thread of ``metrics`` calls ``publish`` every few seconds.

    RateMetrics(service.rates).publish()
"""

from collections import Counter as Counts
from typing import Any

from ray.serve.metrics import Counter, Gauge

from serve_app.embedding.rate_gate import REQUESTS, TOKENS, RateGate


class RateMetrics:
    """Publishes the counts of one replica.

    Args:
        gate: the gate that refuses work.
    """

    def __init__(self, gate: RateGate) -> None:
        self._gate = gate
        self._published: Counts[str] = Counts()
        self._refused: Any = Counter(
            "embedding_rate_refusals", "Work refused because a rate has no room, by unit", ("unit",)
        )
        self._alone: Any = Gauge(
            "embedding_rates_kept_alone", "1 while a replica keeps the rates without Postgres"
        )

    def publish(self) -> None:
        """Pass the gauge, and the increments of the counter since the last call, to Ray."""
        self._alone.set(float(self._gate.keeps_rates_alone))
        for unit in (REQUESTS, TOKENS):
            refused = self._gate.refused[unit]
            # ``_record`` accepts 0, and ``inc`` does not. A series must exist before its first increment.
            self._refused._record(refused - self._published[unit], tags={"unit": unit})
            self._published[unit] = refused
