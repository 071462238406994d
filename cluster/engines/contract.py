"""Define the contracts of engines, which turn text into vectors, and the fingerprint of a vector space.

``Engine`` computes vectors. ``Tokeniser`` makes token ids. ``EngineKind`` opens an engine or a tokeniser for
a model of the registry. The embedding deployment and the embed stage of the bulk pipeline use engines; the
chunker uses only the tokeniser.

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
from cluster.settings.models import ModelOptions

#: The value of ``pooling`` for vectors that callers compute themselves.
GIVEN = "given"
#: The value of ``pooling`` for vectors that a provider computes.
PROVIDER = "provider"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """The properties of a model, and of the model's settings, that decide which vector a text gets."""

    #: Name under which the model is served.
    model: str
    #: First 12 hex digits of the weights' SHA-256. For a provider's model: a digest of the model's name.
    revision: str
    #: Count of the numbers in a vector.
    dim: int
    #: Maximum number of tokens of one input, special tokens included. Further tokens are cut off and counted
    #: in ``Embeddings.truncated``.
    max_tokens: int
    #: How the vectors of the tokens become one vector: mean, cls or last. ``given`` or ``provider``: callers
    #: or a provider compute the vectors. Empty: only sentence-transformers knows the pooling.
    pooling: str
    #: True if vectors have unit length.
    normalised: bool
    #: Number type of the computation. If single queries and batches have different types, this is the coarser
    #: type. Before an engine opens, it is the precision of the settings, which can be ``auto``. The precision
    #: is not part of the id, because bfloat16 documents and float32 queries can be compared.
    precision: str
    #: Text that the model reads before a document; empty for a model without prompts.
    document_prompt: str = ""

    @property
    def id(self) -> str:
        """Id of the vector space. Two vectors can be compared if their fingerprints have the same id.

        A vector store holds vectors of one id only.
        """
        space = f"{self.revision}/{self.dim}/{self.max_tokens}/{self.pooling}/{self.normalised}"
        if self.document_prompt:
            space += f"/{self.document_prompt}"
        return f"{self.model}@{digest(self.model, space, size=6)}"

    @property
    def given(self) -> bool:
        """True if callers give the vectors, so that no model of this cluster computes the vectors."""
        return self.pooling == GIVEN

    @property
    def by_provider(self) -> bool:
        """True if a provider computes the vectors."""
        return self.pooling == PROVIDER

    @classmethod
    def of_given(cls, dim: int) -> "Fingerprint":
        """Return the fingerprint of vectors that callers give. It describes vectors of unit length.

        Args:
            dim: count of the numbers in a vector.
        """
        return cls(
            model="given-vectors",
            revision=GIVEN,
            dim=dim,
            max_tokens=0,
            pooling=GIVEN,
            normalised=True,
            precision="float32",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can represent."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """One tokenised text, without special tokens."""

    #: (n,) int32: token ids.
    ids: NDArray[np.int32]
    #: (n, 2) int32: characters [start, end) of each token in the original text.
    offsets: NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Embeddings:
    """The vectors of n texts, in the order of the texts."""

    #: (n, dim) float32; unit length if the fingerprint is ``normalised``.
    vectors: NDArray[np.float32]
    #: (n,) int32: number of tokens of each text that the model read, special tokens included.
    token_counts: NDArray[np.int32]
    #: (n,) int32: number of tokens cut off the end of each text, because the text was too long for the model.
    truncated: NDArray[np.int32]


class Tokeniser(Protocol):
    """Turns texts into token ids without loading weights. Safe to call from several threads."""

    @property
    def max_content_tokens(self) -> int:
        """Maximum number of tokens of one input, special tokens not included."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids. The ids are 0 to ``vocabulary_size - 1``."""

    @property
    def special_tokens(self) -> int:
        """Number of special tokens added to each input (2 for BERT: [CLS] and [SEP])."""

    @property
    def unknown_id(self) -> int | None:
        """Id of the token for text that the vocabulary does not cover; None if there is no such token."""

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the ids and offsets of each text. Long texts are not cut."""

    def ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Return the ids of each text. This is faster than ``tokenise``. Long texts are not cut."""

    def count(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Count the tokens of each whole text, special tokens not included: (n,) int32."""


class Engine(Protocol):
    """Turns texts or token ids into vectors. Safe to call from several threads."""

    @property
    def fingerprint(self) -> Fingerprint:
        """The fingerprint of the vectors that this engine computes."""

    @property
    def tokeniser(self) -> Tokeniser:
        """The tokeniser of the model."""

    @property
    def prompts(self) -> Mapping[str, str]:
        """The text to put before each kind of input (query, document, ...). The mapping is empty if the model
        has no prompts.
        """

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Lengths to which vectors may be cut (Matryoshka training), the full length included."""

    @property
    def concurrency(self) -> int:
        """Number of batches that are computed at the same time at full speed: CPU threads, or batches in
        flight on a GPU.
        """

    @property
    def packed(self) -> bool:
        """False if the engine pads each batch to the longest input. Callers then put inputs of similar length
        into one batch.
        """

    @property
    def preempts(self) -> bool:
        """True if an urgent batch starts immediately, even while other batches run."""

    @property
    def billed(self) -> bool:
        """True if a call of the engine can cost money or reach another service.

        Health checks and warm-ups never call an engine for which this is true.
        """

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Compute the vectors of the texts. An empty list gives (0, dim). An empty string is a valid text."""

    def embed_ids(self, ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Compute the vectors, (n, dim) float32, of tokenised inputs without their special tokens.

        Raises:
            InvalidInput: an input is longer than ``tokeniser.max_content_tokens`` or an id is not in the
                vocabulary.
        """

    def submit(
        self, batch: Sequence[NDArray[np.int32]], *, urgent: bool = False
    ) -> "Future[NDArray[np.float32]]":
        """Compute one batch in the background. The result is (n, dim) float32, in the order of the inputs.

        Args:
            batch: tokenised inputs without their special tokens, to be computed together.
            urgent: compute the batch before all work that is not urgent, even before work that has begun. An
                engine does this only if ``preempts`` is true.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelEntry:
    """A model of the registry: its name, and what an ``EngineKind`` needs to describe and open the model."""

    #: Name under which the model is served. Vector stores keep this name in their fingerprint.
    name: str
    #: Kind of the model's engine: a key of ``registry.KINDS``.
    kind: str
    #: Location of the model in the form that the kind expects; a folder for ``local``. None: the default of
    #: the kind.
    source: str | None
    #: Expected SHA-256 of the weights, for kinds that load weights. None: no hash is set.
    sha256: str | None = None
    #: Options of the model in ``CLUSTER_MODELS``. The options name the environment variable that holds a
    #: provider's key, and never contain the key.
    options: ModelOptions = field(default_factory=ModelOptions)
    #: Settings of the engine on this machine: device, precision, threads.
    settings: Settings = field(repr=False)

    @property
    def memory_gib(self) -> float:
        """GiB of a node's memory that Ray reserves for one process with the model's engine; 0: none."""
        own = self.options.memory_gib
        return self.settings.memory_per_replica_gib if own is None else own


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelProperties:
    """The properties that an ``Engine`` has, too, but that are known before the engine opens."""

    #: For each kind of input, the text to put before the input. Empty if the model has no prompts.
    prompts: Mapping[str, str]
    #: Lengths to which vectors may be cut, the full length included.
    dimensions: tuple[int, ...]


class EngineKind(Protocol):
    """A way to compute vectors, such as local weights. ``registry.KINDS`` has one row for each kind.

    The module of a kind imports no heavy library, because workers only describe models and tokenise texts.
    """

    @property
    def options(self) -> frozenset[str]:
        """Names of the fields of ``ModelOptions`` that a model of this kind may set."""

    def describe(self, entry: ModelEntry) -> Fingerprint:
        """Return the model's fingerprint, with the precision of the settings, without opening an engine.

        Raises:
            Misconfigured: the entry does not name a model that this kind can open.
        """

    def properties(self, entry: ModelEntry) -> ModelProperties:
        """Return the model's prompts and dimensions, without opening an engine.

        Raises:
            Misconfigured: for the same reasons as ``describe``.
        """

    def open_tokeniser(self, entry: ModelEntry) -> Tokeniser:
        """Open the model's tokeniser, without an engine. Bulk work uses the tokeniser in a separate process.

        Raises:
            Misconfigured: for the same reasons as ``describe``.
        """

    def open_engine(self, entry: ModelEntry) -> Engine:
        """Open the model's engine, ready to embed.

        Raises:
            Misconfigured: for the same reasons as ``describe``, or the engine cannot run with these settings.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """The scores of n documents for one query, in the order of the documents."""

    #: (n,) float32 in [0, 1]. A document that answers the query better has a higher score.
    scores: NDArray[np.float32]
    #: Number of tokens that the model read. The tokens of the query count once for each document.
    tokens: int
    #: (n,) bool: True if the document was cut because it was too long. The document may be too long by itself
    #: or together with the query.
    truncated: NDArray[np.bool_]


class Reranker(Protocol):
    """A cross-encoder: a model that reads a query and a document together."""

    @property
    def name(self) -> str:
        """Name under which the model is served: the name of the model's folder."""

    @property
    def waiting(self) -> int:
        """Number of calls of ``submit`` that have no result yet."""

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of a query and a document together, special tokens included. Longer pairs
        are cut.
        """

    def count(self, query: str, documents: Sequence[str]) -> "Future[list[int]]":
        """Count the tokens of the query with each whole document, special tokens included."""

    def submit(self, query: str, documents: Sequence[str], *, most: int | None = None) -> "Future[Scored]":
        """Score how well each document answers the query. Calls are computed one after the other.

        Args:
            query: the question.
            documents: texts that may answer the question.
            most: maximum number of tokens that the model reads of each document. None: no limit except the
                model's own.
        """
