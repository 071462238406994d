"""The contracts of engines: text in, vectors out, and a fingerprint that names the vector space.

``Engine`` computes vectors, ``Tokeniser`` counts and cuts, ``EngineKind`` opens both for a model of the registry. Called by
the embedding deployment, by the embed stage of the bulk pipeline, and by the chunker, which needs the tokeniser only.

    engine = open_engine(Registry(settings).default)
    engine.embed(["a text"]).vectors      # (1, dim) float32, unit length
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.records import digest
from cluster.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Everything that decides where a text lands in vector space."""

    #: Name under which the model is served.
    model: str
    #: First 12 hex digits of the weights' SHA-256.
    revision: str
    #: Length of a vector.
    dim: int
    #: Most tokens of one input, special tokens included; what lies beyond is cut and reported.
    max_tokens: int
    #: How token vectors become one: mean, cls or last.
    pooling: str
    #: True when vectors have unit length.
    normalised: bool
    #: Arithmetic the vectors were computed in, the coarsest where a lone query and a batch take different paths. Not part of the
    #: id: bf16 documents and fp32 queries share a space.
    precision: str
    #: What documents are read behind; empty for a model without prompts.
    document_prompt: str = ""

    @property
    def id(self) -> str:
        """Vectors with equal ids may be compared; all others never meet in one store."""
        space = f"{self.revision}/{self.dim}/{self.max_tokens}/{self.pooling}/{self.normalised}"
        if self.document_prompt:
            space += f"/{self.document_prompt}"
        return f"{self.model}@{digest(self.model, space, size=6)}"

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """One tokenised text, without special tokens."""

    #: (n,) int32.
    ids: NDArray[np.int32]
    #: (n, 2) int32: characters [start, end) of each token in the text as given.
    offsets: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """The vectors of n texts, in the order the texts were given."""

    #: (n, dim) float32, unit length where the fingerprint says so.
    vectors: NDArray[np.float32]
    #: (n,) int32: tokens the model read, special tokens included.
    token_counts: NDArray[np.int32]
    #: (n,) int32: tokens cut off the end because the text was longer than the model reads; 0 for most.
    truncated: NDArray[np.int32]


class Tokeniser(Protocol):
    """Text to token ids, without loading any weights. Safe to call from several threads."""

    @property
    def max_content_tokens(self) -> int:
        """Most tokens of one input, special tokens not counted."""

    @property
    def vocabulary_size(self) -> int:
        """Token ids there are: 0 up to this number, exclusive."""

    @property
    def special_tokens(self) -> int:
        """Special tokens added to each input (2 for BERT: [CLS] and [SEP])."""

    @property
    def unknown_id(self) -> int | None:
        """Id of the token that stands for what the vocabulary does not have; None where it has everything."""

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Ids and offsets of each text, complete: nothing is cut here."""

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids of each text alone, complete; faster than ``tokenise``."""

    def count(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """(n,) int32: tokens of each text, special tokens not counted and nothing cut."""


class Engine(Protocol):
    """Text or token ids to vectors. Safe to call from several threads."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Which space the vectors lie in."""

    @property
    def tokeniser(self) -> Tokeniser:
        """The tokeniser that belongs to the weights."""

    @property
    def prompts(self) -> Mapping[str, str]:
        """Texts to put before an input, by its kind (query, document, ...); empty for a model that reads all kinds alike."""

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Lengths its vectors were trained to be cut to, their full length among them."""

    @property
    def concurrency(self) -> int:
        """Batches it works on at once without one slowing the other: its CPU threads, or the batches in flight on a GPU."""

    @property
    def packed(self) -> bool:
        """False when it pads each batch to its longest input, so that a batch should hold inputs of like length."""

    @property
    def preempts(self) -> bool:
        """True when an urgent batch starts at once, whatever runs."""

    @property
    def billed(self) -> bool:
        """True when a call costs money. Health checks and warm-ups never call such an engine."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Vectors of the texts. An empty list gives (0, dim). An empty string is a legal text."""

    def embed_ids(self, ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """(n, dim) float32 for inputs already tokenised (no special tokens in them).

        Raises:
            InvalidInput: an input is longer than ``tokeniser.max_content_tokens`` or an id is not in the vocabulary.
        """

    def submit(
        self, batch: Sequence[NDArray[np.int32]], *, urgent: bool = False
    ) -> "Future[NDArray[np.float32]]":
        """The same for one batch, which is not divided: (n, dim) float32 in the order given, once a worker has computed it.

        Args:
            batch: inputs already tokenised.
            urgent: start now, ahead of all work that is not urgent, that which has begun included.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """A model of the registry: its name, and what the kind of its engine needs to describe and open it."""

    #: Name under which the model is served, and by which vector stores remember it.
    name: str
    #: Kind of its engine: a key of ``registry.KINDS``.
    kind: str
    #: Where the kind finds the model; for ``local`` its folder. None: the kind's own default.
    source: str | None
    #: Expected SHA-256 of the weights, for kinds that have weights; None: unchecked.
    sha256: str | None = None
    #: How engines compute on this machine: device, precision, threads.
    settings: Settings = field(repr=False)


class EngineKind(Protocol):
    """A way to compute vectors, such as local weights. ``registry.KINDS`` has one row for each kind.

    Importing a kind's module loads no heavy library: workers describe and tokenise, and never open an engine.
    """

    def describe(self, entry: ModelEntry) -> Fingerprint:
        """Fingerprint of the model, without opening an engine; its precision is the one that the settings ask for.

        Raises:
            Misconfigured: the entry names nothing that this kind can open.
        """

    def open_tokeniser(self, entry: ModelEntry) -> Tokeniser:
        """The model's tokeniser, without opening an engine. Bulk work uses it in a process of its own.

        Raises:
            Misconfigured: as ``describe``.
        """

    def open_engine(self, entry: ModelEntry) -> Engine:
        """The model's engine, ready to embed.

        Raises:
            Misconfigured: as ``describe``, or the engine cannot run with these settings.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """How well n documents answer a query, in their order."""

    #: (n,) float32 in [0, 1].
    scores: NDArray[np.float32]
    #: Tokens the model read, those of the query once for each document.
    tokens: int
    #: (n,) bool: query and document together were longer than the model reads, and cut.
    truncated: NDArray[np.bool_]


class Reranker(Protocol):
    """A model that reads a query and a document together."""

    @property
    def name(self) -> str:
        """Under which it is served: its folder's."""

    @property
    def waiting(self) -> int:
        """Calls that have not been answered."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of a query and a document together, special tokens included; what lies beyond is cut and reported."""

    def count(self, query: str, documents: Sequence[str]) -> "Future[list[int]]":
        """Tokens of the query together with each document, special tokens included, nothing cut."""

    def submit(self, query: str, documents: Sequence[str], *, most: int | None = None) -> "Future[Scored]":
        """How well each document answers; calls are taken one after the other.

        Args:
            query: what is asked.
            documents: what may answer it.
            most: tokens of each document that are read; None: as many as the model reads.
        """
