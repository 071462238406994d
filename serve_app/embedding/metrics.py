"""The batchers' counters as metrics of Ray, which every node gives to Prometheus.

A thread publishes them every few seconds; requests and batches only add to plain numbers (``stats``). Made by the replica;
an application outside Ray has no such thread and pays nothing. ``cluster/deploy/grafana/embedding.json`` shows them.

    metrics = Metrics({model.name: Watched(model.batcher.stats, model.engine.concurrency)}, service.known_shortages)
    metrics.start()
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from ray.serve.metrics import Counter, Gauge

from cluster.errors import Resource
from serve_app.embedding.batching import Stats

log = structlog.get_logger(__name__)

PERIOD_S = 5.0

#: Field of ``Stats``, which is the metric's name behind ``embedding_`` too, and what it counts.
COUNTERS = {
    "batches": "Batches the model was given",
    "batch_tokens": "Tokens in the batches, special tokens included",
    "batch_inputs": "Inputs in the batches",
    "truncated_inputs": "Inputs that were cut because they were longer than the model reads",
    "averaged_inputs": "Inputs embedded in parts and averaged for the same reason",
    "cache_hits": "Inputs answered from the cache",
    "cache_misses": "Inputs looked up in the cache and not found",
    "joined_in_flight": "Inputs that shared the computation of an equal input already in flight",
    "dropped_inputs": "Inputs never computed because nobody waited for them any more",
    "refused_requests": "Requests refused because too much waits or the deadline cannot be met",
}


@dataclass(slots=True)
class Watched:
    """One model's batcher."""

    stats: Stats
    #: Batches the engine works on at once: all of them busy is a share of 1.
    concurrency: int
    #: What was published last, and when.
    last: Stats = field(default_factory=Stats)
    at: float = field(default_factory=time.monotonic)


class Metrics:
    """Publishes the counters of every model of one replica, and what the cluster is short of.

    Args:
        models: by name.
        shortages: asked each time.
    """

    def __init__(self, models: Mapping[str, Watched], shortages: Callable[[], Collection[Resource]]) -> None:
        self._models = models
        self._shortages = shortages
        self._short: Any = Gauge(
            "embedding_short",
            "1 while the resource is used up, such as a disk, and work waits for it",
            ("resource",),
        )
        self._counters: dict[str, Any] = {
            name: Counter(f"embedding_{name}", text, ("model",)) for name, text in COUNTERS.items()
        }
        self._organisations: Any = Counter(
            "embedding_organisation_tokens", "Tokens accepted", _tags("model", "organisation")
        )
        self._queue: Any = Gauge(
            "embedding_queue_tokens", "Tokens that wait, by lane", _tags("model", "lane")
        )
        self._padding: Any = Gauge(
            "embedding_padding_ratio", "Tokens computed for each real one lately; 1 where packed", ("model",)
        )
        self._busy: Any = Gauge(
            "embedding_engine_busy_share", "Part of its time the engine computed lately, 0 to 1", ("model",)
        )
        self._stop = threading.Event()

    def start(self) -> None:
        """Publish from now on, in a thread that ends with the process or with ``stop``."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()

    def publish(self) -> None:
        """Hand what was counted since the last time to Ray, and what is short now."""
        short = self._shortages()
        for resource in Resource:
            self._short.set(float(resource in short), {"resource": resource.value})
        for name, model in self._models.items():
            self._publish(name, model)

    def _publish(self, name: str, model: Watched) -> None:
        now = replace(model.stats, organisation_tokens=model.stats.organisation_tokens.copy())
        last, model.last = model.last, now
        seconds, model.at = time.monotonic() - model.at, time.monotonic()
        for field_name, counter in self._counters.items():
            _count(counter, getattr(now, field_name) - getattr(last, field_name), model=name)
        for organisation, tokens in now.organisation_tokens.items():
            _count(
                self._organisations,
                tokens - last.organisation_tokens[organisation],
                model=name,
                organisation=organisation,
            )
        for lane, tokens in now.waiting_tokens.items():
            self._queue.set(tokens, {"model": name, "lane": lane})
        real = now.real_tokens - last.real_tokens
        self._padding.set(
            (now.computed_tokens - last.computed_tokens) / real if real else 1.0, {"model": name}
        )
        self._busy.set(min(1.0, (now.busy_s - last.busy_s) / (seconds * model.concurrency)), {"model": name})

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self.publish()
            except Exception:  # the thread's edge: a report that failed must not end all later ones
                log.exception("metrics_not_published")


def _tags(*names: str) -> Any:
    """The names as Ray takes them; its annotation knows tuples of one only."""
    return names


def _count(counter: Any, amount: int, **tags: str) -> None:
    # Not ``inc``, which refuses 0: a series that only appears with its first increment hides that one from ``rate``.
    counter._record(amount, tags=tags)
