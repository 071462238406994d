"""A model with a Serve deployment of its own, as the endpoint's replicas see it.

The endpoint tokenises a request and counts its tokens; the replicas of the model batch and compute. This
module imports no Ray: ``deployment`` passes a function that calls the model's Serve handle.

    model = ServedModel.remote(entry, call, usage)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.deploy.model_deployments import ModelCall
from cluster.engines import Fingerprint, Tokeniser
from serve_app.embedding.batching import Lane, Stats


class ModelDescription(Protocol):
    """The part of an ``Engine`` that is known without the weights."""

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the model's vectors."""

    @property
    def tokeniser(self) -> Tokeniser:
        """The tokeniser of the model."""

    @property
    def prompts(self) -> Mapping[str, str]:
        """The text to put before an input, by kind of input."""

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Lengths to which vectors may be cut, the full length included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteModel:
    """Implements ``ModelDescription`` for a model whose weights this process does not have."""

    fingerprint: Fingerprint
    tokeniser: Tokeniser
    prompts: Mapping[str, str]
    dimensions: tuple[int, ...]


class CallReplica(Protocol):
    """Calls a replica of the model's deployment; see ``model_deployments.call_replica``."""

    async def __call__(self, ids: Sequence[NDArray[np.int32]], call: ModelCall, /) -> NDArray[np.float32]: ...


class RemoteBatcher:
    """Takes the place of a ``Batcher``. Each request is one call to a replica, which batches requests."""

    def __init__(self, fingerprint: Fingerprint, call: CallReplica) -> None:
        #: Only inputs that were cut or averaged are counted here. The model's replicas count everything else.
        self.stats = Stats()
        self._fingerprint = fingerprint.id
        self._call = call
        self._dim = fingerprint.dim

    async def embed(
        self,
        ids: Sequence[NDArray[np.int32]],
        *,
        lane: Lane = "interactive",
        organisation: str = "default",
        deadline_s: float = math.inf,
    ) -> NDArray[np.float32]:
        """Return the vectors of tokenised inputs, (n, dim) float32; see ``Batcher.embed``.

        Raises:
            Conflict: the model's replicas compute other vectors, for example during a rolling update.
            Throttled: the queue of the model's replica is full, or the deadline cannot be met.
            Unavailable: no replica of the model answered.
        """
        if not ids:
            return np.empty((0, self._dim), np.float32)
        call = ModelCall(
            fingerprint=self._fingerprint,
            organisation=organisation,
            urgent=lane == "interactive",
            deadline_s=deadline_s,
        )
        return await self._call(ids, call)
