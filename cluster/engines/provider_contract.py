"""Define the contract of engines that call a provider outside the cluster.

All inputs of one call belong to one organisation.

    if isinstance(engine, ProviderEngine):
        vectors = engine.embed_ids(ids, organisation="acme", patience_s=60)
"""

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cluster.engines.contract import Engine


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestLimits:
    """The maximum size of one request to a remote engine."""

    #: Maximum number of inputs.
    inputs: int
    #: Maximum number of tokens. An input with more tokens is sent alone.
    tokens: int
    #: Callers may divide inputs into smaller requests, to send several requests at the same time. A request
    #: should not become smaller than this number of tokens.
    least_tokens: int


@runtime_checkable
class ProviderEngine(Engine, Protocol):
    """An engine that calls another service.

    All inputs of a request belong to one organisation, which pays for the request.
    ``concurrency`` is the maximum number of requests in flight for one organisation.
    """

    @property
    def limits(self) -> RequestLimits:
        """Maximum size of one request."""

    def embed_ids(
        self, ids: Sequence[NDArray[np.int32]], *, organisation: str | None = None, patience_s: float = 0.0
    ) -> NDArray[np.float32]:
        """Compute as ``Engine.embed_ids`` does, in as many requests as needed, several at the same time.

        Args:
            ids: tokenised inputs.
            organisation: the organisation that pays; None: the organisation of the settings.
            patience_s: maximum seconds that each request waits for the rate limit, or for a service that does
                not answer.

        Raises:
            Throttled: the rate limit has no room within ``patience_s``. ``retry_after_s`` says when the rate
                limit will have room.
            ProviderUnavailable: the service does not answer, after all retries.
            Misconfigured: the service refuses the key, the model or the account.
            InvalidInput: an input is too long, or an id is not in the vocabulary.
        """

    def submit(
        self, batch: Sequence[NDArray[np.int32]], *, urgent: bool = False, organisation: str | None = None
    ) -> "Future[NDArray[np.float32]]":
        """Compute as ``embed_ids`` does, in the background. Cancelling the future stops the requests."""

    def close(self) -> None:
        """Cancel the requests in flight, and close the connections."""
