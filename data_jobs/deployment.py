"""Defines the workers: a Serve deployment without a route, whose replicas take queued jobs and run the jobs.

Serve imports ``build`` (see ``cluster/deploy/serve.yaml``). A replica only coordinates the work. Separate
processes parse the documents, and the embedding deployment computes the vectors.
"""

import asyncio
import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from socket import gethostname
from typing import Any
from uuid import uuid4

import numpy as np
import structlog
from numpy.typing import NDArray
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingContext
from ray.serve.handle import DeploymentHandle

from cluster.alerts.watch import ProcessWatch
from cluster.blobs import open_blob_store
from cluster.budgets.reservations import BatchHolder
from cluster.database import for_all_organisations, translated
from cluster.deploy.gpu_nodes import away_from_gpus
from cluster.deploy.loopback import keep_to_loopback
from cluster.deploy.model_deployments import (
    APPLICATION,
    ENDPOINT,
    ModelCall,
    answer_of,
    call_replica,
    deployment_of,
)
from cluster.deploy.serve_config import require_release_only
from cluster.deploy.unanswered_calls import UNANSWERED
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.engines import Registry, Scored, describe
from cluster.engines.priority import lower_priority
from cluster.errors import ClusterError
from cluster.jobs import jobs
from cluster.jobs.schedules.system_schedules import create_system_schedules
from cluster.logs import configure
from cluster.settings import Settings
from cluster.tracing import flush_spans, start_tracing, trace_argument
from cluster.vector_index.collections import collection_name
from data_jobs.kinds.registry import open_kinds
from data_jobs.kinds.resources import Resources
from data_jobs.stages import process_resources
from data_jobs.worker.chunk_embedder import Ids
from data_jobs.worker.consumer import Consumer
from data_jobs.worker.parser_pool import Parsers
from data_jobs.worker.worker_metrics import WorkerMetrics

log = structlog.get_logger(__name__)

#: Serve's name of the deployment.
DEPLOYMENT = "worker"
#: Number of CPUs that Ray reserves for a replica. The parsers of the replica can use more CPUs.
CPUS = 0.5
HEALTH_PERIOD_S, HEALTH_TIMEOUT_S = 10, 30
#: Seconds that a stopping replica waits for its jobs to end. Jobs that do not end in time go back to the
#: queue.
STOP_S = 20.0
#: ``WAITING_PER_WORKER`` is the number of waiting jobs for which one replica is started. If the oldest queued
#: job has waited longer than ``OLDEST_S`` seconds, one more replica is started.
WAITING_PER_WORKER, OLDEST_S = 8.0, 30.0


class ServedEmbedder:
    """Calls the deployment of the model through a handle. The replicas of that deployment batch the chunks of
    all jobs together.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._handles: dict[str, DeploymentHandle[Any]] = {}

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        """Return the vectors of n inputs: (n, dim) float32.

        Raises:
            Conflict: the model of the replicas has another fingerprint.
            Unavailable: a replica died, or there is no replica.
            Throttled: the replica's queue is full.
            CancelledError: the caller or the replica cancelled the call.
        """
        call = ModelCall(fingerprint=fingerprint, organisation=organisation, urgent=urgent)
        handle = self._handle(deployment_of(self._settings, fingerprint.rpartition("@")[0]))
        return await call_replica(handle, ids, call, faults=UNANSWERED)

    def _handle(self, deployment: str) -> DeploymentHandle[Any]:
        if deployment not in self._handles:
            self._handles[deployment] = serve.get_deployment_handle(deployment, app_name=APPLICATION)
        return self._handles[deployment]


class ServedAnswerer:
    """Calls the deployment of the endpoint through a handle, so that the requests of batches get the same
    answers as over HTTP.
    """

    def __init__(self) -> None:
        self._handle = serve.get_deployment_handle(ENDPOINT, app_name=APPLICATION)

    async def __call__(
        self,
        lines: list[bytes],
        *,
        organisation: str,
        fingerprints: Mapping[str, str],
        holder: BatchHolder | None = None,
    ) -> list[RequestAnswer | ClusterError]:
        """Return the answer to each request, in the order of the requests.

        Raises:
            Unavailable: a replica died, or there is no replica.
            CancelledError: the caller or the replica cancelled the call.
        """
        response = self._handle.answer_requests.remote(
            lines,
            organisation=organisation,
            fingerprints=dict(fingerprints),
            holder=holder,
            **trace_argument(),
        )
        answers: list[RequestAnswer | ClusterError]
        answers = await answer_of(response, faults=UNANSWERED)
        return answers


class ServedScorer:
    """Calls the cross-encoder of the endpoint's replicas through a handle."""

    def __init__(self) -> None:
        self._handle = serve.get_deployment_handle(ENDPOINT, app_name=APPLICATION)

    async def __call__(self, question: str, texts: Sequence[str], /) -> Scored:
        """Return the scores of the texts, and the number of tokens.

        Raises:
            Conflict: the replica has no cross-encoder.
            Unavailable: a replica died, or there is no replica.
            Throttled: the replica's queue is full.
            CancelledError: the caller or the replica cancelled the call.
        """
        response = self._handle.score_texts.remote(question, list(texts), **trace_argument())
        scored: Scored = await answer_of(response, faults=UNANSWERED)
        return scored


class Worker:
    """Runs a consumer in one replica, on a separate thread with a separate event loop."""

    def __init__(self) -> None:
        self._settings = Settings()
        configure(self._settings, process="worker")
        start_tracing(self._settings, process="worker")
        keep_to_loopback()
        self._consumer: Consumer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)
        self._thread.start()
        self._begun.wait()
        self._watch = ProcessWatch(self._settings, deployment=DEPLOYMENT)
        self._watch.start()
        self._metrics = WorkerMetrics()
        self._metrics.start()

    async def check_health(self) -> None:
        """Raise an error if the consumer has ended; Serve then replaces the replica."""
        with self._watch.health_check():
            if not self._thread.is_alive():
                raise RuntimeError("the consumer has ended") from self._failure

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the input of the autoscaling: number of waiting jobs, age of the oldest waiting job in
        seconds, and number of replicas that the running jobs need.
        """
        return await asyncio.to_thread(self._waiting)

    def __del__(self) -> None:
        if hasattr(self, "_watch"):
            self._watch.stop()
        if hasattr(self, "_metrics"):
            self._metrics.stop()
        if self._loop is not None and self._consumer is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._consumer.stop)
            self._thread.join(STOP_S)
        flush_spans()

    def _waiting(self) -> dict[str, float]:
        with (
            for_all_organisations(),
            translated(),
            process_resources.pool(self._settings).connection() as connection,
        ):
            backlog = jobs.read_backlog(connection)
        return {
            "waiting": float(backlog.jobs),
            "oldest_s": backlog.oldest_s,
            "busy": backlog.running / _slots_of_a_class(self._settings),
        }

    def _run(self) -> None:
        # Lower the priority of this thread and of everything that the thread starts, because endpoint
        # requests are more urgent.
        lower_priority(threading.get_native_id())
        try:
            asyncio.run(self._consume_until_replaced())
        except BaseException as exc:  # kept, because only the health check can report an error of this thread
            log.exception("consumer_ended")
            self._failure = exc
        finally:
            self._begun.set()

    async def _consume_until_replaced(self) -> None:
        await self._consume()
        # The process ends here, because ``asyncio.run`` would first wait for threads that may hang.
        if self._consumer is not None and self._consumer.recycling.reason:
            end_process()

    async def _consume(self) -> None:
        settings = self._settings
        self._loop = asyncio.get_running_loop()
        indexes = ChunkIndexes(settings, await asyncio.to_thread(process_resources.pool, settings))
        fingerprint = describe(Registry(settings).default)
        indexes.default.ensure(collection_name(fingerprint), dim=fingerprint.dim)
        await asyncio.to_thread(self._create_system_schedules)
        self._consumer = Consumer(settings, kinds={}, name=f"{gethostname()}-{os.getpid()}-{uuid4().hex[:6]}")
        parsers = Parsers(settings, self._consumer.threads, max(1, os.cpu_count() or 1))
        self._consumer.kinds |= open_kinds(
            Resources(
                blobs=open_blob_store(settings),
                indexes=indexes,
                parsers=parsers,
                embed=ServedEmbedder(settings),
                answer=ServedAnswerer(),
                score=None if settings.reranker_path is None else ServedScorer(),
            )
        )
        self._begun.set()
        try:
            await self._consumer.run()
        finally:
            parsers.close()

    def _create_system_schedules(self) -> None:
        with (
            for_all_organisations(),
            translated(),
            process_resources.pool(self._settings).connection() as connection,
        ):
            create_system_schedules(connection)


def end_process() -> None:
    """End this process, so that Serve starts another replica. A thread has no other way to end the actor."""
    logging.shutdown()
    os._exit(0)


def by_queue(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Return the new number of replicas, and the unchanged state of the policy.

    The number is enough for the waiting jobs. If the oldest job has waited longer than ``OLDEST_S``, the
    number is at least one more than the current number. The replicas that the running jobs need are kept,
    because other replicas would have to start the jobs of a stopped replica from the beginning. The limits
    on the number of replicas come before all these rules.
    """
    metrics = context.aggregated_metrics or {}
    waiting = max(metrics.get("waiting", {}).values(), default=0.0)
    oldest_s = max(metrics.get("oldest_s", {}).values(), default=0.0)
    busy = max(metrics.get("busy", {}).values(), default=0.0)
    wanted = max(
        -(-int(waiting) // int(WAITING_PER_WORKER)), min(math.ceil(busy), context.current_num_replicas)
    )
    if oldest_s > OLDEST_S:
        wanted = max(wanted, context.current_num_replicas + 1)
    least, most = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
    return min(most, max(least, wanted)), context.policy_state


def build(arguments: dict[str, str]) -> Application:
    """Build the application with the settings of this environment.

    Args:
        arguments: only ``release`` is allowed, the same as for the endpoint's application.

    Raises:
        ValueError: there are other arguments.
    """
    require_release_only(arguments)
    deployment: Any = serve.deployment(**options(Settings()))(Worker)
    application: Application = deployment.bind()
    return application


def options(settings: Settings) -> dict[str, Any]:
    """Return the options of the deployment."""
    return {
        "name": DEPLOYMENT,
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_wait_loop_s": 1,
        "graceful_shutdown_timeout_s": STOP_S + 10,
        "ray_actor_options": {"num_cpus": CPUS, **away_from_gpus()},
        **_scale(settings),
    }


def _slots_of_a_class(settings: Settings) -> int:
    """Return how many jobs of one priority class a worker can run at the same time if no other jobs run. The
    number is that of the class with the fewest reserved slots.
    """
    own = (
        settings.worker_slots_high,
        settings.worker_slots_medium,
        settings.worker_slots_low,
        settings.worker_slots_scheduled,
    )
    return min(own) + settings.worker_slots_shared


def _scale(settings: Settings) -> dict[str, Any]:
    if settings.min_workers == settings.max_workers:
        return {"num_replicas": settings.max_workers}
    return {
        "autoscaling_config": {
            "min_replicas": settings.min_workers,
            "max_replicas": settings.max_workers,
            "upscale_delay_s": settings.upscale_delay_s,
            "downscale_delay_s": settings.downscale_delay_s,
            "policy": {"policy_function": "data_jobs.deployment:by_queue"},
        }
    }
