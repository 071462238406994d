"""Score documents with a cross-encoder, which reads a query and a document together.

A cross-encoder is slower than comparing vectors, and its scores are better. This cross-encoder runs on
sentence-transformers, which supports all cross-encoders. Reranking and search use this module.

    reranker = CrossEncoderReranker(path, settings)
    scored = reranker.submit("a question", ["one answer", "another"]).result()
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import CrossEncoder

from cluster.engines.contract import Scored
from cluster.engines.local import pick_device
from cluster.errors import Misconfigured
from cluster.settings import Settings
from cluster.text.well_formed import well_formed

BATCH_SIZE = 32
#: Maximum number of characters of a text for each token that the model can read. The rest of the text is cut
#: off before tokenising.
CHARACTERS_PER_TOKEN = 64


def open_cross_encoder(path: Path, settings: Settings) -> Any:
    """Open the model in the folder on the device of the engines. No code from the folder is run, and no
    pickled weights are loaded.
    """
    return CrossEncoder(
        str(path),
        device=pick_device(settings),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"use_safetensors": True},
    )


class CrossEncoderReranker:
    """Implements ``Reranker`` with a model that has one output for a pair of texts.

    The class never runs code from the model's folder, and never loads pickled weights.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.name = path.name
        self.waiting = 0
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="reranker")
        self._model = open_cross_encoder(path, settings)
        if self._model.num_labels != 1:
            raise Misconfigured(
                f"{path} has {self._model.num_labels} outputs for a pair of texts; a reranker has one"
            )

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a query with a document, special tokens included."""
        return int(self._model.max_seq_length or self._model.tokenizer.model_max_length)

    def count(self, query: str, documents: Sequence[str]) -> Future[list[int]]:
        """Count the tokens of the query with each document, special tokens included.

        Very long texts are cut before they are counted; see ``CHARACTERS_PER_TOKEN``.
        """
        return self._worker.submit(self._counted, well_formed(query), [well_formed(one) for one in documents])

    def submit(self, query: str, documents: Sequence[str], *, most: int | None = None) -> Future[Scored]:
        """Score each document with the sigmoid of the model's output.

        If ``most`` is not None, the model reads at most ``most`` tokens of each document.
        """
        self.waiting += 1
        return self._worker.submit(
            self._score, well_formed(query), [well_formed(one) for one in documents], most
        )

    def _score(self, query: str, documents: Sequence[str], most: int | None) -> Scored:
        try:
            return self._scored(query, documents, most)
        finally:
            self.waiting -= 1

    def _scored(self, query: str, documents: Sequence[str], most: int | None) -> Scored:
        query, within = self._within(query), [self._within(one) for one in documents]
        read = within if most is None else self._cut(within, most)
        pairs = [(query, document) for document in read]
        lengths = np.array(self._counted(query, read))
        scores = self._model.predict(
            pairs, batch_size=BATCH_SIZE, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
        )
        shorter = np.array([len(one) < len(whole) for one, whole in zip(read, documents, strict=True)])
        return Scored(
            scores=np.asarray(scores, dtype=np.float32),
            tokens=int(np.minimum(lengths, self.max_tokens).sum()),
            truncated=(lengths > self.max_tokens) | shorter,
        )

    def _counted(self, query: str, documents: Sequence[str]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(documents), BATCH_SIZE):
            some = [self._within(one) for one in documents[start : start + BATCH_SIZE]]
            tokens = self._model.tokenizer(
                [self._within(query)] * len(some), some, truncation=False, verbose=False
            )
            counts += map(len, tokens["input_ids"])
        return counts

    def _within(self, text: str) -> str:
        return text[: self.max_tokens * CHARACTERS_PER_TOKEN]

    def _cut(self, documents: Sequence[str], most: int) -> list[str]:
        """Return the text of each document, cut after ``most`` tokens."""
        tokens = self._model.tokenizer(
            list(documents),
            add_special_tokens=False,
            truncation=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        return [
            document if len(offsets) <= most else document[: offsets[most - 1][1]]
            for document, offsets in zip(documents, tokens["offset_mapping"], strict=True)
        ]
