"""The batcher's counters as metrics of Ray, which every node gives to Prometheus.

A thread publishes them every few seconds; requests and batches only add to plain numbers (``stats``). Made by the replica;
an application outside Ray has no such thread and pays nothing. ``cluster/deploy/grafana/embedding.json`` shows them.

    metrics = Metrics(service.batcher.stats, threads=engine.concurrency)
    metrics.start()
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

import structlog
from ray.serve.metrics import Counter, Gauge

from serve_app.stats import Stats

log = structlog.get_logger(__name__)

PERIOD_S = 5.0

#: Field of ``Stats``, which is the metric's name behind ``embedding_`` too, and what it counts.
COUNTERS = {
    "batches": "Batches the model was given",
    "batch_tokens": "Tokens in the batches, special tokens included",
    "batch_inputs": "Inputs in the batches",
    "truncated_inputs": "Inputs that were cut because they were longer than the model reads",
    "cache_hits": "Inputs answered from the cache",
    "cache_misses": "Inputs looked up in the cache and not found",
    "joined_in_flight": "Inputs that shared the computation of an equal input already in flight",
    "dropped_inputs": "Inputs never computed because nobody waited for them any more",
    "refused_requests": "Requests refused because too much waits or the deadline cannot be met",
}


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """What the counters said at one moment."""

    at: float
    counts: dict[str, int]
    organisations: dict[str, int]
    computed_tokens: int
    real_tokens: int
    busy_s: float

    @classmethod
    def of(cls, stats: Stats) -> "_Snapshot":
        return cls(
            at=time.monotonic(),
            counts={field: getattr(stats, field) for field in COUNTERS},
            organisations=dict(stats.organisation_tokens),
            computed_tokens=stats.computed_tokens,
            real_tokens=stats.real_tokens,
            busy_s=stats.busy_s,
        )


class Metrics:
    """Publishes one batcher's counters."""

    def __init__(self, stats: Stats, *, threads: int) -> None:
        """``threads``: calls the engine works on at once, all of them busy being a share of 1."""
        self._stats = stats
        self._threads = threads
        self._last = _Snapshot.of(Stats())
        self._counters: dict[str, Any] = {field: Counter(f"embedding_{field}", text) for field, text in COUNTERS.items()}
        self._organisations: Any = Counter("embedding_organisation_tokens", "Tokens accepted, by organisation", ("organisation",))
        self._queue: Any = Gauge("embedding_queue_tokens", "Tokens that wait, by lane", ("lane",))
        self._padding: Any = Gauge("embedding_padding_ratio", "Tokens computed for each real one since the last report; 1 where packed")
        self._busy: Any = Gauge("embedding_engine_busy_share", "Part of the engine's time it computed since the last report, 0 to 1")
        self._stop = threading.Event()

    def start(self) -> None:
        """Publish from now on, in a thread that ends with the process or with ``stop``."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def publish(self) -> None:
        """Hand what was counted since the last time to Ray."""
        now, last = _Snapshot.of(self._stats), self._last
        for field, counter in self._counters.items():
            _count(counter, now.counts[field] - last.counts[field])
        for organisation, tokens in now.organisations.items():
            _count(self._organisations, tokens - last.organisations.get(organisation, 0), {"organisation": organisation})
        for lane, tokens in tuple(self._stats.waiting_tokens.items()):
            self._queue.set(tokens, tags={"lane": lane})
        real = now.real_tokens - last.real_tokens
        self._padding.set((now.computed_tokens - last.computed_tokens) / real if real else 1.0)
        self._busy.set(min(1.0, (now.busy_s - last.busy_s) / ((now.at - last.at) * self._threads)))
        self._last = now

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self.publish()
            except Exception:  # the thread's edge: a report that failed must not end all later ones
                log.exception("metrics_not_published")


def _count(counter: Any, amount: int, tags: dict[str, str] | None = None) -> None:
    # Not ``inc``, which refuses 0: a series that only appears with its first increment hides that one from ``rate``.
    counter._record(amount, tags=tags)
