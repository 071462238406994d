"""Passes the event counts of a process to Ray. Replicas and workers call ``publish`` every few seconds.

events = EventPublisher(ray.serve.metrics.Counter)
events.publish()
"""

from collections import Counter
from typing import Any, Protocol

from cluster.crawls.outcomes import CRAWLED_PAGES
from cluster.event_counts import THROTTLED_CALLS
from cluster.outbound.errors import REFUSED_REQUESTS

#: Every event count.
EVENTS = (THROTTLED_CALLS, REFUSED_REQUESTS, CRAWLED_PAGES)


class MakeCounter(Protocol):
    """The constructor of a counter of Ray."""

    def __call__(self, name: str, description: str, tag_keys: Any) -> Any:
        """Make a counter."""


class EventPublisher:
    """Passes the increases of all event counts to Ray.

    Args:
        make_counter: Ray's class of counters, which this package does not import.
    """

    def __init__(self, make_counter: MakeCounter) -> None:
        self._counters = [
            (event, make_counter(f"embedding_{event.name}", event.description, (event.label,)))
            for event in EVENTS
        ]
        self._published = {event.name: Counter[str]() for event in EVENTS}

    def publish(self) -> None:
        """Pass the increases since the last call to Ray."""
        for event, counter in self._counters:
            published = self._published[event.name]
            for value, count in event.read().items():
                # ``_record`` accepts 0, and ``inc`` does not. A series must exist before its first increment.
                counter._record(count - published[value], tags={event.label: value})
                published[value] = count
