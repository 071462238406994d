"""A second kind of engine, which proves that the registry assumes neither local weights nor a folder.

A token is a word, its id is a hash, and a text's vector is the sum of its tokens' pseudo-random vectors.
Texts that share words are near each other, so a search finds them.

    with hashing_settings(Settings()) as settings:
        open_engine(Registry(settings).default).embed(["a text"])

Tests of ``data_jobs/kinds`` use this engine if their promise does not depend on the vectors. An embedding of
the packaged model takes a thousand times as long.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.engines import Embeddings, Engine, Fingerprint, ModelEntry, ModelProperties, Tokeniser, Tokens
from cluster.engines.registry import KINDS
from cluster.errors import InvalidInput, Misconfigured
from cluster.settings import Settings
from cluster.settings.models import PLACEMENT, ModelSetting
from cluster.settings.values import Table

KIND = "hashing"
#: The name of a model of this kind, and its value in CLUSTER_MODELS.
NAME, SOURCE = "hashed", f"{KIND}:64"
WORD = re.compile(r"\S+")

Ids = NDArray[np.int32]


class HashingTokeniser:
    """``Tokeniser``: every word is one token."""

    max_content_tokens = 254
    vocabulary_size = 30_522
    special_tokens = 2
    unknown_id = None

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Ids and offsets of the words."""
        return [
            Tokens(
                ids=np.array([self._id(word.group()) for word in WORD.finditer(text)], np.int32),
                offsets=np.array([word.span() for word in WORD.finditer(text)], np.int32).reshape(-1, 2),
            )
            for text in texts
        ]

    def ids(self, texts: Sequence[str]) -> list[Ids]:
        """Ids of the words."""
        return [tokens.ids for tokens in self.tokenise(texts)]

    def count(self, texts: Sequence[str]) -> Ids:
        """Number of words."""
        return np.array([len(ids) for ids in self.ids(texts)], np.int32)

    def _id(self, word: str) -> int:
        folded = word.strip(".,?!").lower().encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(folded, digest_size=4).digest()) % self.vocabulary_size


class HashingEngine:
    """``Engine`` without weights."""

    prompts: Mapping[str, str] = {}
    concurrency = 1
    packed = True
    preempts = False
    billed = False

    def __init__(self, fingerprint: Fingerprint) -> None:
        self.fingerprint = fingerprint
        self.tokeniser: Tokeniser = HashingTokeniser()
        self.dimensions = (fingerprint.dim,)
        draw = np.random.default_rng(0)
        self._table = draw.standard_normal((self.tokeniser.vocabulary_size, fingerprint.dim)).astype("f4")
        self._worker = ThreadPoolExecutor(1, "hashing")

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Vectors of the texts."""
        ids, most = self.tokeniser.ids(texts), self.tokeniser.max_content_tokens
        kept = [one[:most] for one in ids]
        return Embeddings(
            vectors=self.embed_ids(kept),
            token_counts=np.array([len(one) + self.tokeniser.special_tokens for one in kept], np.int32),
            truncated=np.array([max(0, len(one) - most) for one in ids], np.int32),
        )

    def embed_ids(self, ids: Sequence[Ids]) -> NDArray[np.float32]:
        """Sum of the tokens' vectors, scaled to unit length; the first axis without tokens."""
        vectors = np.zeros((len(ids), self.fingerprint.dim), np.float32)
        for position, one in enumerate(ids):
            if len(one) > self.tokeniser.max_content_tokens:
                raise InvalidInput(f"input {position} is too long")
            if len(one) and not 0 <= one.min() <= one.max() < self.tokeniser.vocabulary_size:
                raise InvalidInput(f"input {position} has an unknown id")
            total = (
                self._table[one].sum(axis=0, dtype=np.float64) if len(one) else np.eye(1, vectors.shape[1])[0]
            )
            vectors[position] = total / np.linalg.norm(total)
        return vectors

    def submit(self, batch: Sequence[Ids], *, urgent: bool = False) -> "Future[NDArray[np.float32]]":
        """The same from a worker thread."""
        del urgent
        return self._worker.submit(self.embed_ids, batch)


class HashingKind:
    """``EngineKind``; the source of a model is the length of its vectors."""

    options = PLACEMENT

    def describe(self, entry: ModelEntry) -> Fingerprint:
        """The fingerprint; the source is the length of the vectors."""
        if entry.source is None or not entry.source.isdecimal():
            raise Misconfigured(f"{entry.name}: hashing needs the length of a vector, such as {SOURCE}")
        return Fingerprint(
            model=entry.name,
            revision="hashing-1",
            dim=int(entry.source),
            max_tokens=HashingTokeniser.max_content_tokens + HashingTokeniser.special_tokens,
            pooling="sum",
            normalised=True,
            precision="float32",
        )

    def properties(self, entry: ModelEntry) -> ModelProperties:
        """Return no prompts, and one length."""
        return ModelProperties(prompts={}, dimensions=(self.describe(entry).dim,))

    def open_tokeniser(self, entry: ModelEntry) -> Tokeniser:
        """The tokeniser of all models of this kind."""
        del entry
        return HashingTokeniser()

    def open_engine(self, entry: ModelEntry) -> Engine:
        """An engine with vectors of that length."""
        return HashingEngine(self.describe(entry))


@contextmanager
def hashing_kind() -> Iterator[None]:
    """Add the kind to the registry for the duration of the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, KIND, HashingKind())
        yield


@contextmanager
def hashing_settings(settings: Settings) -> Iterator[Settings]:
    """Return the settings with a model of this kind as their only model. The kind exists inside the block."""
    with hashing_kind():
        yield settings.model_copy(
            update={"model": NAME, "models": Table({NAME: ModelSetting(source=SOURCE)})}
        )
