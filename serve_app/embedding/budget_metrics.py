"""Publish how much work the gate of budgets refused. ``metrics`` calls this.

metrics = BudgetMetrics(service.budgets)
metrics.publish()
"""

from typing import Any

from ray.serve.metrics import Counter

from serve_app.embedding.budget_gate import BudgetGate


class BudgetMetrics:
    """Publishes the count of one replica.

    Args:
        gate: the gate that refuses work.
    """

    def __init__(self, gate: BudgetGate) -> None:
        self._gate = gate
        self._published = 0
        self._refused: Any = Counter(
            "embedding_budget_refusals", "Work refused because a budget does not cover it"
        )

    def publish(self) -> None:
        """Pass the increment of the counter since the last call to Ray."""
        refused = self._gate.refused
        # ``_record`` accepts 0, and ``inc`` does not. A series must exist before its first increment.
        self._refused._record(refused - self._published, tags={})
        self._published = refused
