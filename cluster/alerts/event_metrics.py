"""Passes the event counts of a process to Ray's metrics. Replicas and workers call ``publish`` every few
seconds.

events = EventPublisher(ray.serve.metrics.Counter)
events.publish()
"""

from collections import Counter
from typing import Any, Protocol

from cluster.crawls.outcomes import CRAWLED_PAGES
from cluster.event_counts import THROTTLED_CALLS
from cluster.outbound.errors import REFUSED_REQUESTS

#: All event counts of the project.
EVENTS = (THROTTLED_CALLS, REFUSED_REQUESTS, CRAWLED_PAGES)


class MakeCounter(Protocol):
    """Describes the constructor of Ray's counters."""

    def __call__(self, name: str, description: str, tag_keys: Any) -> Any:
        """Make a counter."""


class EventPublisher:
    """Passes the increases of all event counts to Ray.

    Args:
        make_counter: the class of Ray's counters. The caller passes the class, because this package does not
            import Ray.
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
                # The private ``_record`` is used because a series must exist before its first increment, and
                # ``inc`` does not accept 0.
                counter._record(count - published[value], tags={event.label: value})
                published[value] = count
