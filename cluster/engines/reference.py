"""Compute vectors with sentence-transformers, for models that our own forward pass cannot run.

sentence-transformers is slower than our forward pass, and importing it takes six seconds. Tests compare the
vectors of our forward pass with the vectors of sentence-transformers. Only this file and ``cross_encoder``
import sentence-transformers.
"""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from cluster.engines.contract import Embeddings, Fingerprint
from cluster.engines.local import check_ids, pick_device
from cluster.engines.tokens.tokeniser import LocalTokeniser, without_surrogates
from cluster.engines.weights import ModelFolder
from cluster.settings import Settings

BATCH_SIZE = 32


class ReferenceEngine:
    """Implements ``Engine`` with ``SentenceTransformer.encode``, in float32.

    The engine computes only one call at a time.
    """

    concurrency = 1
    packed = False
    preempts = False
    billed = False

    def __init__(self, folder: ModelFolder, settings: Settings) -> None:
        # Code in a model's folder is never run, and pickled weights are never loaded.
        self._model = SentenceTransformer(
            str(folder.path),
            device=pick_device(settings),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        self._lock = threading.Lock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self.tokeniser = LocalTokeniser(folder)
        self.prompts, self.dimensions = folder.prompts, folder.dimensions
        self.fingerprint: Fingerprint = folder.fingerprint("float32")

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Compute the vectors of the texts. Tokens beyond the model's limit are cut off and counted."""
        lengths = self.tokeniser.count(texts)
        kept = np.minimum(lengths, self.tokeniser.max_content_tokens).astype(np.int32)
        return Embeddings(
            vectors=self._encode([without_surrogates(text) for text in texts]),
            token_counts=kept + self.tokeniser.special_tokens,
            truncated=lengths - kept,
        )

    def embed_ids(self, ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Compute the vectors, (n, dim) float32, of tokenised inputs, which are first converted to texts.

        Raises:
            InvalidInput: an input is too long, or an id is not in the vocabulary.
        """
        check_ids(ids, self.tokeniser)
        return self._encode([self.tokeniser.decode(one) for one in ids])

    def submit(
        self, batch: Sequence[NDArray[np.int32]], *, urgent: bool = False
    ) -> Future[NDArray[np.float32]]:
        """Compute the vectors of a batch, (n, dim) float32, in a worker thread. ``urgent`` has no effect."""
        del urgent
        return self._worker.submit(self.embed_ids, batch)

    def _encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.empty((0, self.fingerprint.dim), dtype=np.float32)
        with self._lock:
            vectors = self._model.encode(
                list(texts), batch_size=BATCH_SIZE, normalize_embeddings=True, show_progress_bar=False
            )
        return np.asarray(vectors, dtype=np.float32)
