"""Define how jobs call an embedding model and the cross-encoder. The models may run in other processes.

``data_jobs.deployment`` calls the models through Serve handles.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Scored

#: Token ids of each input, without special tokens.
Ids = list[NDArray[np.int32]]


class ChunkEmbedder(Protocol):
    """Computes vectors for token ids. The model may run in another process."""

    async def __call__(
        self, ids: Ids, *, fingerprint: str, organisation: str, urgent: bool
    ) -> NDArray[np.float32]:
        """Return the vectors of n inputs: (n, dim) float32.

        Args:
            ids: token ids of each input, without special tokens.
            fingerprint: id of the fingerprint that the model must have.
            organisation: id of the calling organisation. The capacity of the model is shared fairly between
                organisations.
            urgent: True if a person waits for the answer.

        Raises:
            Conflict: the model has another fingerprint.
            Retryable: the model cannot answer now.
        """


class TextScorer(Protocol):
    """Scores with the cross-encoder how well each text answers the question."""

    async def __call__(self, question: str, texts: Sequence[str], /) -> Scored:
        """Return the scores, and the number of tokens that the cross-encoder read.

        Raises:
            Conflict: there is no cross-encoder.
            Retryable: the cross-encoder cannot answer now.
        """
