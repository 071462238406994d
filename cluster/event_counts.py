"""Counts events of this process that happen deep inside libraries, for metrics.

The code that sees an event adds it to a count. ``cluster.alerts.event_metrics`` lists all counts, and passes
their increases to Ray.

    THROTTLED_CALLS.add("openai")
"""

import threading
from collections import Counter
from collections.abc import Iterable


class EventCount:
    """The number of events of one type in this process, by one label. It only grows, and is safe to use from
    several threads.

    Args:
        name: name of the metric without its prefix and ``_total``.
        description: what is counted.
        label: name of the label. The number of its values must be small.
        values: values of the label that are known before the first event. They begin with 0, because a query
            of Prometheus for a rate misses the first event of a series that did not exist before.
    """

    def __init__(self, name: str, description: str, label: str, values: Iterable[str] = ()) -> None:
        self.name, self.description, self.label = name, description, label
        self._counts = Counter({str(value): 0 for value in values})
        self._lock = threading.Lock()

    def add(self, value: str) -> None:
        """Count one event.

        Args:
            value: value of the label.
        """
        with self._lock:
            self._counts[str(value)] += 1

    def read(self) -> Counter[str]:
        """Return the number of events by the value of the label."""
        with self._lock:
            return self._counts.copy()


THROTTLED_CALLS = EventCount(
    "provider_throttled_calls", "Calls that a remote provider refused with status 429", "provider"
)
