"""Publish the events that a worker counts, as Ray metrics. The deployment of the workers starts the thread.

metrics = WorkerMetrics()
metrics.start()
metrics.stop()
"""

import threading

import structlog
from ray.serve.metrics import Counter

from cluster.alerts.event_metrics import EventPublisher

log = structlog.get_logger(__name__)

#: Seconds between two publications.
PERIOD_S = 5.0


class WorkerMetrics:
    """Publishes the event counts of one worker process."""

    def __init__(self) -> None:
        self._events = EventPublisher(Counter)
        self._stop = threading.Event()

    def start(self) -> None:
        """Start the thread that publishes the counts. The thread ends with the process or after ``stop``."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self._events.publish()
            except Exception:  # not raised, because the thread must go on with the next publication
                log.exception("metrics_not_published")
