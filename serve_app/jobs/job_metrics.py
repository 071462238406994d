"""Publish figures of all jobs as Ray metrics. ``serve_app.embedding.metrics`` calls this module.

Every replica reads the figures of the whole cluster from the database. So a query of the metrics must take
the maximum of the replicas' values, not their sum.

    metrics = JobMetrics(partial(service.read_now, job_figures))
    metrics.publish()
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ray.serve.metrics import Gauge

from cluster.jobs.figures import JobFigures

#: Minimum seconds between two readings of the figures.
PERIOD_S = 15.0

Labels = TypeVar("Labels", bound=tuple[str, ...])


class JobMetrics:
    """Publishes the figures of all jobs.

    Args:
        read: reads the figures; returns None if the database does not answer.
    """

    def __init__(self, read: Callable[[], JobFigures | None]) -> None:
        self._read = read
        self._read_at = float("-inf")
        self._figures: JobFigures | None = None
        self._unfinished = _Series(
            "embedding_jobs", "Jobs that wait or run", ("kind", "priority_class", "state")
        )
        self._oldest = _Series(
            "embedding_job_oldest_wait_seconds",
            "Seconds that the oldest job of a priority class has waited for a worker",
            ("priority_class",),
        )
        self._ended = _Series(
            "embedding_jobs_ended_lately", "Jobs that ended in the last 15 minutes", ("kind", "state")
        )
        self._attempts = _Series(
            "embedding_job_attempts_lately",
            "Attempts at jobs that ended in the last 15 minutes; lost: a lease expired",
            ("kind", "outcome"),
        )
        self._dead = _Series(
            "embedding_dead_letters", "Dead letters: failed jobs that were not retried", ("kind",)
        )
        self._stages = _Series(
            "embedding_job_stage_seconds",
            "Mean seconds of the stages of jobs that ended in the last 15 minutes",
            ("kind", "stage"),
        )

    def publish(self) -> None:
        """Pass the figures to Ray. If the last figures are ``PERIOD_S`` old or older, first read new figures.

        Each call passes the figures, because Ray forgets a value that is not set again.
        """
        if time.monotonic() - self._read_at >= PERIOD_S and (read := self._read()) is not None:
            self._figures, self._read_at = read, time.monotonic()
        figures = self._figures
        if figures is None:
            return
        self._unfinished.set(figures.unfinished)
        self._oldest.set({(name,): seconds for name, seconds in figures.oldest_wait_s.items()})
        self._ended.set(figures.ended)
        self._attempts.set(figures.attempts)
        self._dead.set({(kind,): count for kind, count in figures.dead_letters.items()})
        self._stages.set(figures.stage_seconds)


class _Series:
    """A gauge with labels. If a combination of labels no longer has a value, its value becomes 0."""

    def __init__(self, name: str, description: str, labels: tuple[str, ...]) -> None:
        names: Any = labels  # Ray's annotation permits a single label
        self._gauge: Any = Gauge(name, description, names)
        self._labels = labels
        self._known: set[tuple[str, ...]] = set()

    def set(self, values: Mapping[Labels, float]) -> None:
        """Set the given values, and set every other known combination of labels to 0."""
        for gone in self._known - set(values):
            self._gauge.set(0.0, dict(zip(self._labels, gone, strict=True)))
        for combination, value in values.items():
            self._gauge.set(float(value), dict(zip(self._labels, combination, strict=True)))
        self._known |= set(values)
