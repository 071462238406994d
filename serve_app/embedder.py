"""The embedding deployment: HTTP and model in one replica, because every hop between deployments costs milliseconds."""

import asyncio
from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from ray import serve

from cluster.logs import configure
from cluster.settings import Settings
from serve_app.api import build_api
from serve_app.loopback import keep_to_loopback
from serve_app.service import Service

#: A health check embeds a word; one that takes longer than this means a lost GPU or a stuck process.
HEALTH_TIMEOUT_S = 30


class Embedder:
    """One replica. Its settings are those of its environment: what ``ray start`` was given on that node."""

    def __init__(self) -> None:
        settings = Settings()
        configure(settings)
        keep_to_loopback()
        self._service = Service(settings)

    def __serve_build_asgi_app__(self, *_: Any, **__: Any) -> FastAPI:
        return build_api(self._service)

    async def embed_ids(self, ids: list[NDArray[np.int32]]) -> NDArray[np.float32]:
        """For callers inside the cluster: (n, dim) float32 for inputs already tokenised, in the bulk lane."""
        return (await self._service.embed_ids(ids, lane="bulk")).vectors

    async def check_health(self) -> None:
        """Raises when the model no longer computes; Serve then replaces the replica."""
        await asyncio.wait_for(asyncio.to_thread(self._service.engine.embed, ["healthy"]), HEALTH_TIMEOUT_S)

    def __del__(self) -> None:
        if hasattr(self, "_service"):
            self._service.close()


EmbedderIngress: Any = serve.ingress()(Embedder)
