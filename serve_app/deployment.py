"""The embedding deployment. HTTP and models share one replica, because a call between replicas takes
milliseconds.
"""

import asyncio
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve

from cluster.deploy.loopback import keep_to_loopback
from cluster.logs import configure
from cluster.settings import Settings
from serve_app.api import build_api
from serve_app.draining import stopping
from serve_app.embedding.batching import Lane
from serve_app.embedding.heartbeat import Heartbeat
from serve_app.embedding.metrics import Metrics, ObservedModel
from serve_app.open_address import require_key
from serve_app.service import Service

#: Seconds that Serve waits for a health check. The check fails earlier, with its own reason (``heartbeat``).
#: After three failures in a row, Serve replaces the replica.
HEALTH_TIMEOUT_S = 30


class Embedder:
    """One replica. It reads its settings from the environment of ``ray start`` on its node."""

    def __init__(self) -> None:
        settings = Settings()
        configure(settings)
        keep_to_loopback()
        require_key(settings)
        threads = settings.engine_threads or settings.cpus_per_replica
        self._service = Service(settings.model_copy(update={"engine_threads": threads}))
        models = self._service.models
        self._heartbeats = [Heartbeat(model.engine) for model in models.values()]
        watched = {
            name: ObservedModel(model.batcher.stats, model.engine.concurrency)
            for name, model in models.items()
        }
        self._metrics = Metrics(watched, self._service.known_shortages)
        self._metrics.start()

    def __serve_build_asgi_app__(self, *_: Any, **__: Any) -> FastAPI:
        return build_api(self._service, stopping=stopping)

    async def embed_ids(
        self, ids: list[NDArray[np.int32]], *, fingerprint: str, organisation: str, lane: Lane = "bulk"
    ) -> NDArray[np.float32]:
        """Return the vectors of tokenised inputs, (n, dim) float32, to callers inside the cluster.

        Args:
            ids: token ids of each input, without special tokens, from the tokeniser of the intended model.
            fingerprint: id of the fingerprint of the intended model.
            organisation: the organisation whose share of the model is used for the inputs.
            lane: ``interactive`` if a person waits for the answer.

        Raises:
            Conflict: this replica does not serve the intended model; another model would misread the token
                ids.
            Throttled: too many tokens wait already.
        """
        return await self._service.models.of_fingerprint(fingerprint).batcher.embed(
            ids, lane=lane, organisation=organisation
        )

    async def check_health(self) -> None:
        """Raise an error if a model no longer computes. After three failures, Serve replaces the replica."""
        await asyncio.gather(*(heartbeat.check() for heartbeat in self._heartbeats))

    def __del__(self) -> None:
        if hasattr(self, "_metrics"):
            self._metrics.stop()
        if hasattr(self, "_service"):
            self._service.close()


EmbedderIngress: Any = serve.ingress()(Embedder)
