"""Publish the counters of batchers and of the cache of search results as Ray metrics. Every node exports its
metrics to Prometheus.

A thread publishes the counters every few seconds; requests and batches only change plain numbers (``stats``).
The replica starts this thread. An application outside Ray has no such thread.
``cluster/deploy/grafana`` has dashboards that show the metrics.

    models = {model.name: ObservedModel(model.batcher.stats, model.engine.concurrency)}
    metrics = Metrics(models, service.known_shortages, service.search_cache.stats)
    metrics.start()
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol

import structlog
from ray.serve.metrics import Counter, Gauge

from cluster.errors import Resource
from cluster.rate_limits import ProviderLoad
from cluster.retrieval.result_cache import ResultCacheStats
from serve_app.embedding.batching import Stats
from serve_app.embedding.batching.stats import COUNTERS

log = structlog.get_logger(__name__)

PERIOD_S = 5.0
#: Names and descriptions of the gauges that every replica reads from the database.
CLUSTER_GAUGES = {
    "providers_unavailable": "Remote providers that no process calls for now",
    "provider_waiting_calls": "Calls to remote providers that wait for their rate limits",
    "schedule_lag_seconds": "Seconds by which the most overdue schedule is late",
    "rollup_differences": "Windows whose roll-ups differ from their facts",
    "rollup_lag_seconds": "Seconds for which the oldest passed hour has waited for its roll-up",
}
#: Returns the present value of a gauge; None if the database does not answer.
Reading = Callable[[], float | None]


@dataclass(slots=True)
class ObservedModel:
    """A model whose counters are published."""

    stats: Stats
    #: Number of batches that the engine can compute at the same time. The busy share is 1 if the engine
    #: always computes this many batches. 0 means that the engine runs in other replicas, which publish the
    #: load.
    concurrency: int
    #: The counters at the last publication.
    last: Stats = field(default_factory=Stats)
    #: Time of the last publication, on the clock ``time.monotonic``.
    at: float = field(default_factory=time.monotonic)


class MetricsPart(Protocol):
    """Metrics of one part of a replica, such as its budgets."""

    def publish(self) -> None:
        """Pass the gauges and the increments of the counters since the last call to Ray."""


class Metrics:
    """Publishes the counters of every model of one replica, the current shortages, and the load of remote
    providers.

    Args:
        models: the models by name.
        shortages: returns the current shortages. It is called at each publication.
        searches: counters of the replica's cache of search results; None if the replica answers no searches.
        provider_load: returns the load of remote providers; None if it is not known.
        readings: for the names of other ``CLUSTER_GAUGES``, the function that reads the value.
        parts: metrics of further parts of the replica.
    """

    def __init__(
        self,
        models: Mapping[str, ObservedModel],
        shortages: Callable[[], Collection[Resource]],
        searches: ResultCacheStats | None = None,
        provider_load: Callable[[], ProviderLoad | None] = lambda: None,
        readings: Mapping[str, Reading] = MappingProxyType({}),
        parts: Sequence[MetricsPart] = (),
    ) -> None:
        self._parts = parts
        self._models, self._shortages = models, shortages
        self._provider_load, self._readings = provider_load, readings
        self._searches, self._last_searches = searches, ResultCacheStats()
        self._search_hits: Any = Counter("embedding_search_cache_hits", "Searches answered by the cache")
        self._search_misses: Any = Counter(
            "embedding_search_cache_misses", "Searches whose result the cache did not have"
        )
        self._search_bytes: Any = Gauge("embedding_search_cache_bytes", "Memory of cached results, estimated")
        self._cluster: dict[str, Any] = {
            name: Gauge(f"embedding_{name}", text) for name, text in CLUSTER_GAUGES.items()
        }
        self._short: Any = Gauge(
            "embedding_short",
            "1 while a resource, such as a disk, is used up and work waits for it",
            ("resource",),
        )
        self._counters: dict[str, Any] = {
            name: Counter(f"embedding_{name}", text, ("model",)) for name, text in COUNTERS.items()
        }
        self._organisations: Any = Counter(
            "embedding_organisation_tokens", "Tokens accepted", _tags("model", "organisation")
        )
        self._queue: Any = Gauge("embedding_queue_tokens", "Waiting tokens, by lane", _tags("model", "lane"))
        self._padding: Any = Gauge(
            "embedding_padding_ratio",
            "Recent computed tokens for each real token; 1 if batches are packed",
            ("model",),
        )
        self._busy: Any = Gauge(
            "embedding_engine_busy_share",
            "Recent share of time in which the engine computed, 0 to 1",
            ("model",),
        )
        self._stop = threading.Event()

    def start(self) -> None:
        """Start the thread that publishes. The thread ends with the process or after ``stop``."""
        threading.Thread(target=self._run, name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    def publish(self) -> None:
        """Pass the gauges and the increments of the counters since the last publication to Ray."""
        short = self._shortages()
        for resource in Resource:
            self._short.set(float(resource in short), {"resource": resource.value})
        if self._searches is not None:
            self._publish_searches(self._searches)
        if (load := self._provider_load()) is not None:
            self._cluster["providers_unavailable"].set(load.unavailable)
            self._cluster["provider_waiting_calls"].set(load.waiting_calls)
        for name, read in self._readings.items():
            if (value := read()) is not None:
                self._cluster[name].set(value)
        for part in self._parts:
            part.publish()
        for name, model in self._models.items():
            self._publish(name, model)

    def _publish_searches(self, searches: ResultCacheStats) -> None:
        now, last = replace(searches), self._last_searches
        self._last_searches = now
        _count(self._search_hits, now.hits - last.hits)
        _count(self._search_misses, now.misses - last.misses)
        self._search_bytes.set(now.bytes)

    def _publish(self, name: str, model: ObservedModel) -> None:
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
        if not model.concurrency:
            return
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
            except Exception:  # not raised, because the thread must go on with the next publication
                log.exception("metrics_not_published")


def _tags(*names: str) -> Any:
    """Return the names unchanged. Ray accepts several names, but its annotation allows only one name."""
    return names


def _count(counter: Any, amount: int, **tags: str) -> None:
    # ``_record`` is used because ``inc`` refuses 0, and a series must exist before its first increment.
    # Otherwise ``rate`` in Prometheus misses the first increment.
    counter._record(amount, tags=tags)
