"""How well documents answer a query, by a cross-encoder that reads both together: slower and better than comparing vectors.

On sentence-transformers, which runs any of them. Called by the rerank route.

    reranker = CrossEncoderReranker(path, settings)
    scored = reranker.submit("a question", ["one answer", "another"]).result()
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from cluster.engines.contract import Scored
from cluster.engines.local import pick_device
from cluster.errors import Misconfigured
from cluster.settings import Settings

BATCH_SIZE = 32


class CrossEncoderReranker:
    """``Reranker`` on a model with one output. Its code is never run and its pickled weights never loaded."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.name = path.name
        self.waiting = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="reranker")
        self._model = CrossEncoder(
            str(path),
            device=pick_device(settings),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        if self._model.num_labels != 1:
            raise Misconfigured(f"{path} gives {self._model.num_labels} numbers for a pair; a reranker gives one")

    def submit(self, query: str, documents: Sequence[str]) -> Future[Scored]:
        """The sigmoid of the model's one output for each document."""
        self.waiting += 1
        return self._worker.submit(self._score, query, documents)

    def _score(self, query: str, documents: Sequence[str]) -> Scored:
        try:
            return self._scored(query, documents)
        finally:
            self.waiting -= 1

    def _scored(self, query: str, documents: Sequence[str]) -> Scored:
        pairs = [(query, document) for document in documents]
        lengths = np.array(
            [len(ids) for ids in self._model.tokenizer([query] * len(pairs), list(documents), truncation=False, verbose=False)["input_ids"]]
        )
        scores = self._model.predict(pairs, batch_size=BATCH_SIZE, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False)
        most = self._model.max_seq_length or self._model.tokenizer.model_max_length
        return Scored(
            scores=np.asarray(scores, dtype=np.float32), tokens=int(np.minimum(lengths, most).sum()), truncated=np.asarray(lengths > most)
        )
