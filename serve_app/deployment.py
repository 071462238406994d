"""Define the embedding deployments. HTTP and most models share one replica, because a call between replicas
takes milliseconds. A model with replicas of its own (``ModelReplica``) is called through the Serve handle of
its deployment.
"""

import asyncio
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve
from ray.serve.handle import DeploymentHandle
from ray.serve.metrics import Counter

from cluster.alerts.alert_store import firing_counts
from cluster.alerts.event_metrics import EventPublisher
from cluster.alerts.watch import ProcessWatch
from cluster.analytics.reconciliation import difference_count
from cluster.analytics.rollups import rollup_lag
from cluster.budgets.reservations import BatchHolder
from cluster.database import open_pool
from cluster.deploy.loopback import keep_to_loopback
from cluster.deploy.model_deployments import ENDPOINT, call_replica, own_deployment
from cluster.deploy.unanswered_calls import UNANSWERED
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.engines import Registry, Scored, open_engine
from cluster.errors import ClusterError, Conflict
from cluster.jobs.figures import job_figures
from cluster.jobs.schedules.schedules import schedule_lag
from cluster.keys.known_keys import KnownKeys
from cluster.logs import configure
from cluster.settings import Settings
from cluster.tracing import SERVER, Span, TraceContext, continued_trace, flush_spans, start_tracing
from serve_app.api import build_api
from serve_app.chat.answer_metrics import AnswerMetrics
from serve_app.chat.chat_metrics import ChatMetrics
from serve_app.draining import stopping
from serve_app.embedding.batching import Lane
from serve_app.embedding.budget_metrics import BudgetMetrics
from serve_app.embedding.heartbeat import Heartbeat
from serve_app.embedding.metrics import Metrics, ObservedModel
from serve_app.embedding.ranking import cross_encoder_scores
from serve_app.embedding.rate_metrics import RateMetrics
from serve_app.embedding.served_model import open_batcher
from serve_app.fleet.ray_fleet import ray_fleet
from serve_app.jobs.alert_metrics import AlertMetrics
from serve_app.jobs.job_metrics import JobMetrics
from serve_app.open_address import only_this_machine
from serve_app.routes.batch_requests import answer_requests
from serve_app.service import Service
from serve_app.usage.usage_metrics import UsageMetrics

#: Seconds that Serve waits for a health check. A check of a model that hangs fails earlier, with an error
#: that names the reason (``heartbeat``). After three failures in a row, Serve replaces the replica.
HEALTH_TIMEOUT_S = 30
#: Name of an autoscaling metric: the number of requests that wait for a model in another deployment.
ELSEWHERE = "elsewhere"


class Embedder:
    """One replica of the endpoint. It reads its settings from the environment of ``ray start`` on its node.

    Args:
        handles: the handle of each model with a deployment of its own, by the name of the model.
    """

    def __init__(self, handles: Mapping[str, DeploymentHandle[Any]] | None = None) -> None:
        settings = _settings("endpoint")
        keyless = only_this_machine(settings)
        remote = {
            name: partial(call_replica, handle, faults=UNANSWERED) for name, handle in (handles or {}).items()
        }
        self._service = Service(settings, remote, keyless=keyless)
        self._service.keys.start()
        models = self._service.models
        self._heartbeats = [Heartbeat(engine) for engine in models.engines.values()]
        watched = {
            name: ObservedModel(
                model.batcher.stats, models.engines[name].concurrency if name in models.engines else 0
            )
            for name, model in models.items()
        }
        self._watch = ProcessWatch(settings, deployment=ENDPOINT, state=self._state)
        self._metrics = Metrics(
            watched,
            self._service.known_shortages,
            self._service.search_cache.stats,
            self._service.known_provider_load,
            {
                "schedule_lag_seconds": partial(self._service.read_now, schedule_lag),
                "rollup_differences": partial(self._service.read_now, difference_count),
                "rollup_lag_seconds": partial(self._service.read_now, rollup_lag),
            },
            [
                UsageMetrics(self._service.usage.stats),
                RateMetrics(self._service.rates),
                BudgetMetrics(self._service.budgets),
                ChatMetrics(self._service.chat_stats, self._service.chat.names),
                AnswerMetrics(self._service.answer_stats, self._service.contexts.stats),
                JobMetrics(partial(self._service.read_now, job_figures)),
                EventPublisher(Counter),
                AlertMetrics(
                    partial(self._service.read_now, firing_counts), lambda: self._watch.database_away_s
                ),
            ],
        )
        self._metrics.start()
        self._watch.start()

    def __serve_build_asgi_app__(self, *_: Any, **__: Any) -> FastAPI:
        return build_api(self._service, stopping=stopping, read_fleet=ray_fleet)

    async def embed_ids(
        self,
        ids: list[NDArray[np.int32]],
        *,
        fingerprint: str,
        organisation: str,
        lane: Lane = "bulk",
        deadline_s: float = math.inf,
        traceparent: str | None = None,
    ) -> NDArray[np.float32]:
        """Return the vectors of tokenised inputs, (n, dim) float32, to callers inside the cluster.

        Args:
            ids: token ids of each input, without special tokens, from the tokeniser of the intended model.
            fingerprint: id of the fingerprint of the intended model.
            organisation: the organisation that sends the inputs. Each organisation has a share of the model.
            lane: ``interactive`` if a person waits for the answer.
            deadline_s: seconds from now after which the answer is useless.
            traceparent: the caller's position in a trace; None begins a new trace.

        Raises:
            Conflict: this replica does not serve the intended model; another model would misread the token
                ids.
            Throttled: too many tokens wait already, or the deadline cannot be met.
        """
        with _called("embed_ids", traceparent):
            return await self._service.models.of_fingerprint(fingerprint).batcher.embed(
                ids, lane=lane, organisation=organisation, deadline_s=deadline_s
            )

    async def answer_requests(
        self,
        lines: list[bytes],
        *,
        organisation: str,
        fingerprints: Mapping[str, str],
        holder: BatchHolder | None = None,
        traceparent: str | None = None,
    ) -> list[RequestAnswer | ClusterError]:
        """Answer embedding requests of a batch, for workers. See ``serve_app.routes.batch_requests``."""
        with _called("answer_requests", traceparent):
            return await answer_requests(
                self._service, lines, organisation=organisation, fingerprints=fingerprints, holder=holder
            )

    async def score_texts(self, question: str, texts: list[str], *, traceparent: str | None = None) -> Scored:
        """Score with the cross-encoder how well each text answers the question, for callers inside the
        cluster.

        Raises:
            Conflict: this replica has no cross-encoder.
            Throttled: too many requests wait for the cross-encoder already.
        """
        with _called("score_texts", traceparent):
            return await cross_encoder_scores(self._service.models, question, texts)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the metric ``ELSEWHERE`` for Serve's autoscaling: the number of requests that wait for
        models in other deployments.
        """
        return {ELSEWHERE: float(self._service.models.remote_requests)}

    async def check_health(self) -> None:
        """Raise an error if a model no longer computes. After three failures, Serve replaces the replica."""
        with self._watch.health_check():
            await asyncio.gather(*(heartbeat.check() for heartbeat in self._heartbeats))

    def _state(self) -> dict[str, Any]:
        """Return what this replica reports about itself (``ProcessReport``)."""
        requests, failed = self._service.requests.sums()
        return {
            "requests": requests,
            "failed_requests": failed,
            "short": tuple(self._service.recent_shortages()),
            "usage_unsent_s": self._service.usage.stats.unsent_s,
            "usage_only_in_memory": self._service.usage.stats.only_in_memory,
        }

    def __del__(self) -> None:
        if hasattr(self, "_watch"):
            self._watch.stop()
        if hasattr(self, "_metrics"):
            self._metrics.stop()
        if hasattr(self, "_service"):
            self._service.close()
        flush_spans()


class ModelReplica:
    """One replica of a model with a deployment of its own. It computes vectors for the endpoint and for
    workers.

    Args:
        name: name of the model in ``CLUSTER_MODELS``.
    """

    def __init__(self, name: str) -> None:
        settings = _settings("model")
        self._engine = open_engine(Registry(settings).named(name))
        # The endpoint has already checked the caller, so this replica uses only the weights of the
        # organisations.
        self._keys = KnownKeys(settings, open_database=lambda: open_pool(settings).close(), keyless=False)
        self._keys.start()
        self._batcher = open_batcher(self._engine, settings, self._keys.weights)
        self._heartbeat = Heartbeat(self._engine)
        watched = {name: ObservedModel(self._batcher.stats, self._engine.concurrency)}
        # This replica publishes no shortages (``frozenset``), because the endpoint's replicas publish them.
        self._metrics = Metrics(watched, frozenset)
        self._metrics.start()
        self._watch = ProcessWatch(settings, deployment=own_deployment(name))
        self._watch.start()

    async def embed_ids(
        self,
        ids: list[NDArray[np.int32]],
        *,
        fingerprint: str,
        organisation: str,
        lane: Lane = "bulk",
        deadline_s: float = math.inf,
        traceparent: str | None = None,
    ) -> NDArray[np.float32]:
        """Return the vectors of tokenised inputs, as ``Embedder.embed_ids`` does.

        Raises:
            Conflict: the model of this replica has another fingerprint.
            Throttled: too many tokens wait already, or the deadline cannot be met.
        """
        own = self._engine.fingerprint.id
        if fingerprint != own:
            raise Conflict(
                f"vectors of {fingerprint} are requested, but this replica computes those of {own}; nothing "
                "was computed. Configure the same weights on every node (CLUSTER_MODELS)"
            )
        with _called("embed_ids", traceparent):
            return await self._batcher.embed(ids, lane=lane, organisation=organisation, deadline_s=deadline_s)

    async def check_health(self) -> None:
        """Raise an error if the model no longer computes."""
        with self._watch.health_check():
            await self._heartbeat.check()

    def __del__(self) -> None:
        if hasattr(self, "_watch"):
            self._watch.stop()
        if hasattr(self, "_metrics"):
            self._metrics.stop()
        if hasattr(self, "_keys"):
            self._keys.close()
        flush_spans()


def _called(method: str, traceparent: str | None) -> Span:
    """Begin the span of a call from another process. The span continues the trace of the caller."""
    return continued_trace(method, SERVER, TraceContext.parse(traceparent))


def _settings(process: str) -> Settings:
    """Read the settings, and prepare the log, the traces and the gRPC port of a replica. Return the settings,
    with ``engine_threads`` set.
    """
    settings = Settings()
    configure(settings, process=process)
    start_tracing(settings, process=process)
    keep_to_loopback()
    threads = settings.engine_threads or settings.cpus_per_replica
    return settings.model_copy(update={"engine_threads": threads})


EmbedderIngress: Any = serve.ingress()(Embedder)
