"""Counts events that happen deep inside the code of this process, for metrics.

The code in which an event happens adds the event to a count. ``cluster.alerts.event_metrics`` lists all
counts, and passes the increases of the counts to Ray.

    THROTTLED_CALLS.add("openai")
"""

import threading
from collections import Counter
from collections.abc import Iterable


class EventCount:
    """Counts the events of one type in this process, by the value of one label. The counts never decrease.
    Several threads may use an object at the same time.

    Args:
        name: name of the metric, without the prefix ``embedding_`` and the suffix ``_total``.
        description: says which events are counted.
        label: name of the label. The label must have only a few different values.
        values: values of the label that are known before the first event. The counts of these values begin
            with 0, because a query of Prometheus for a rate misses the first event of a new series.
    """

    def __init__(self, name: str, description: str, label: str, values: Iterable[str] = ()) -> None:
        self.name, self.description, self.label = name, description, label
        self._counts = Counter({str(value): 0 for value in values})
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Count one event with this value of the label."""
        with self._lock:
            self._counts[str(value)] += 1

    def read(self) -> Counter[str]:
        """Return the number of events by the value of the label."""
        with self._lock:
            return self._counts.copy()


THROTTLED_CALLS = EventCount(
    "provider_throttled_calls", "Calls that a remote provider refused with status 429", "provider"
)
