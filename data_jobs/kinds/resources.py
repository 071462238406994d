"""Define the resources that the code of jobs uses. A worker opens the resources once, and passes the
resources to every kind of job (``registry.open_kinds``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from cluster.blobs import BlobStore
from cluster.budgets.reservations import BatchHolder
from cluster.documents.batches.batch_answers import RequestAnswer
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.errors import ClusterError
from data_jobs.worker.chunk_embedder import ChunkEmbedder, TextScorer
from data_jobs.worker.parser_pool import Parsers


class RequestAnswerer(Protocol):
    """Answers embedding requests in the same way as ``POST /v1/embeddings``. The models may run in other
    processes.
    """

    async def __call__(
        self,
        lines: list[bytes],
        *,
        organisation: str,
        fingerprints: Mapping[str, str],
        holder: BatchHolder | None = None,
    ) -> list[RequestAnswer | ClusterError]:
        """Return the answer to each request, in the order of the requests.

        If an item is a ``Retryable`` error, the request of this item must be sent again. After a
        ``BudgetExceeded`` error, the request can be sent again when the budget allows it. Any other error
        means that no request can be answered until an operator changes something.

        Args:
            lines: lines of the input file of a batch, each with a request in its ``body``.
            organisation: id of the calling organisation. The capacity of the model is shared fairly between
                organisations.
            fingerprints: for each model, by name, the id of the fingerprint that the model must have.
            holder: says how to reserve for the requests; None if no budget of the organisation refuses work.

        Raises:
            Retryable: no model can answer now.
        """


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The resources that a worker opens for all of its jobs."""

    blobs: BlobStore
    indexes: ChunkIndexes
    parsers: Parsers
    embed: ChunkEmbedder
    answer: RequestAnswerer
    #: Calls the cross-encoder; None if the settings name no cross-encoder.
    score: TextScorer | None = None
