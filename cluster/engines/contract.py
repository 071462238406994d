"""The contracts of engines: text in, vectors out, and a fingerprint that names the vector space.

``Engine`` computes vectors, ``Tokeniser`` makes token ids, ``EngineKind`` opens both for a model of the
registry. The embedding deployment and the embed stage of the bulk pipeline use engines; the chunker uses the
tokeniser only.

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
    """Everything that decides which vector a text gets."""

    #: Name under which the model is served.
    model: str
    #: First 12 hex digits of the weights' SHA-256.
    revision: str
    #: Numbers in a vector.
    dim: int
    #: Maximum number of tokens of one input, special tokens included. Further tokens are cut off, and the cut
    #: is reported.
    max_tokens: int
    #: How the vectors of the tokens become one vector: mean, cls or last.
    pooling: str
    #: True when vectors have unit length.
    normalised: bool
    #: Arithmetic of the vectors; the coarser one if a single query and a batch take different numeric paths.
    #: It is not part of the id, because bfloat16 documents and float32 queries share a space.
    precision: str
    #: Text that the model reads before a document; empty for a model without prompts.
    document_prompt: str = ""

    @property
    def id(self) -> str:
        """Vectors with equal ids can be compared. A store holds vectors of one id only."""
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
    #: (n, 2) int32: characters [start, end) of each token in the original text.
    offsets: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """The vectors of n texts, in the order of the texts."""

    #: (n, dim) float32; unit length if the fingerprint is ``normalised``.
    vectors: NDArray[np.float32]
    #: (n,) int32: tokens that the model read, special tokens included.
    token_counts: NDArray[np.int32]
    #: (n,) int32: tokens cut off the end of texts that are longer than the model reads; 0 for all others.
    truncated: NDArray[np.int32]


class Tokeniser(Protocol):
    """Turns texts into token ids without loading weights. Safe to call from several threads."""

    @property
    def max_content_tokens(self) -> int:
        """Maximum number of tokens of one input, special tokens not counted."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids; they run from 0 to this number, exclusive."""

    @property
    def special_tokens(self) -> int:
        """Number of special tokens added to each input (2 for BERT: [CLS] and [SEP])."""

    @property
    def unknown_id(self) -> int | None:
        """Id of the token for text that the vocabulary does not cover; None if it covers every text."""

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Ids and offsets of each text; long texts are not cut."""

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids of each text, without offsets; faster than ``tokenise``. Long texts are not cut."""

    def count(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """(n,) int32: number of tokens of each whole text, special tokens not counted."""


class Engine(Protocol):
    """Turns texts or token ids into vectors. Safe to call from several threads."""

    @property
    def fingerprint(self) -> Fingerprint:
        """The space of the vectors."""

    @property
    def tokeniser(self) -> Tokeniser:
        """The tokeniser of the model."""

    @property
    def prompts(self) -> Mapping[str, str]:
        """The text to put before an input, by its kind (query, document, ...); empty without prompts."""

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Lengths to which vectors may be cut, as trained (Matryoshka), the full length included."""

    @property
    def concurrency(self) -> int:
        """Batches that it computes at once at full speed: its CPU threads, or batches in flight on a GPU."""

    @property
    def packed(self) -> bool:
        """False if it pads each batch to its longest input; batches should then hold similar lengths."""

    @property
    def preempts(self) -> bool:
        """True if an urgent batch starts at once, even while other batches run."""

    @property
    def billed(self) -> bool:
        """True if a call costs money. Health checks and warm-ups never call such an engine."""

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Vectors of the texts. An empty list gives (0, dim) vectors. An empty string is a valid text."""

    def embed_ids(self, ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """(n, dim) float32 for tokenised inputs without their special tokens.

        Raises:
            InvalidInput: an input is longer than ``tokeniser.max_content_tokens`` or an id is not in the
                vocabulary.
        """

    def submit(
        self, batch: Sequence[NDArray[np.int32]], *, urgent: bool = False
    ) -> "Future[NDArray[np.float32]]":
        """Compute one batch in a worker thread: (n, dim) float32, in the order of the inputs.

        Args:
            batch: tokenised inputs without their special tokens; they are computed together.
            urgent: compute the batch before all work that is not urgent, even work that has begun.
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
        """Fingerprint of the model, without opening an engine; its precision is the one in the settings.

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
    """How well each of n documents answers a query, in the order of the documents."""

    #: (n,) float32 in [0, 1].
    scores: NDArray[np.float32]
    #: Tokens that the model read; those of the query count once for each document.
    tokens: int
    #: (n,) bool: query and document together were too long, and were cut.
    truncated: NDArray[np.bool_]


class Reranker(Protocol):
    """A cross-encoder: a model that reads a query and a document together."""

    @property
    def name(self) -> str:
        """Name under which it is served: the name of its folder."""

    @property
    def waiting(self) -> int:
        """Number of calls without a result yet."""

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a query with a document, special tokens included; others are cut."""

    def count(self, query: str, documents: Sequence[str]) -> "Future[list[int]]":
        """Number of tokens of the query with each whole document, special tokens included."""

    def submit(self, query: str, documents: Sequence[str], *, most: int | None = None) -> "Future[Scored]":
        """Score each document. Calls are computed one after the other.

        Args:
            query: the question.
            documents: texts that may answer it.
            most: maximum number of tokens that are read of each document; None: as many as the model reads.
        """
