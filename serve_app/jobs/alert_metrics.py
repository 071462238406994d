"""Publish which alerts fire and whether this replica reaches the database, as Ray metrics.

The thread of ``serve_app.embedding.metrics`` calls ``publish`` every few seconds.

    AlertMetrics(partial(service.read_now, firing_counts), lambda: watch.database_away_s).publish()
"""

from collections.abc import Callable, Mapping
from typing import Any

from ray.serve.metrics import Gauge

from cluster.alerts.rules import RULES


class AlertMetrics:
    """Publishes the firing alerts, and for how long this replica has not reached the database.

    Args:
        read: returns the number of firing alerts by the name of the rule; None if the database does not
            answer.
        database_away_s: returns the seconds for which this replica has not reached the database.
    """

    def __init__(
        self, read: Callable[[], Mapping[str, int] | None], database_away_s: Callable[[], float]
    ) -> None:
        self._read, self._database_away_s = read, database_away_s
        self._counts: Mapping[str, int] | None = None
        self._away: Any = Gauge(
            "embedding_database_away_seconds", "Seconds for which a replica has not reached the database"
        )
        labels: Any = ("alert", "severity")  # Ray's annotation permits a single label
        self._firing: Any = Gauge("embedding_alerts_firing", "Firing alerts of the built-in alerter", labels)

    def publish(self) -> None:
        """Pass the values to Ray. If the database does not answer, pass the last known alerts.

        Each call passes all values, because Ray forgets a value that is not set again.
        """
        self._away.set(self._database_away_s())
        if (counts := self._read()) is not None:
            self._counts = counts
        if self._counts is None:
            return
        for name, rule in RULES.items():
            self._firing.set(float(self._counts.get(name, 0)), {"alert": name, "severity": rule.severity})
