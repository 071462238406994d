"""Types of a retrieval: the options, the result, and the callables that the caller passes.

``EmbedQuestions`` turns questions into vectors, ``RerankTexts`` scores texts with a cross-encoder, and
``RunInDatabase`` runs blocking database work without blocking the event loop. These types are callables,
because for example a replica embeds with its batcher, and a worker embeds with a handle to the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.vector_stores.store_versions import StoreVersion, VersionedStore
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import InvalidInput
from cluster.page_structure import NO_PLACE, ChunkPlace
from cluster.vector_index import Mode

T = TypeVar("T")

#: The name of ``Ranker.VECTORS`` in requests.
NO_RANKER = "none"
#: The names of ``Ranker.FUSED`` in requests: this project's name, and OpenAI's name for its own ranker.
FUSED_RANKERS = ("auto", "default-2024-11-15")


class Ranker(StrEnum):
    """Method by which the chunks of a store are ordered."""

    #: The chunks are ordered by the cosine similarity of the question's vector and the chunk's vector.
    VECTORS = "vectors"
    #: Three rankings are fused into one: by vectors, by words and by the phrase of the question. A chunk with
    #: the score 1 is the first in all three rankings.
    FUSED = "fused"
    #: The chunks are ranked as with ``FUSED``. Then a cross-encoder scores the best chunks again, each
    #: together with the question.
    CROSS_ENCODER = "cross_encoder"

    @classmethod
    def named(cls, name: str, *, cross_encoder: str | None, param: str) -> "Ranker":
        """Return the ranker that a request names.

        Args:
            name: ``none``, ``auto``, ``default-2024-11-15``, or the cross-encoder's name.
            cross_encoder: name of the configured cross-encoder; None if there is no cross-encoder.
            param: name of the request's field, for the error message.

        Raises:
            InvalidInput: no ranker has this name.
        """
        if name == NO_RANKER:
            return cls.VECTORS
        if name in FUSED_RANKERS:
            return cls.FUSED
        if name == cross_encoder:
            return cls.CROSS_ENCODER
        names = [NO_RANKER, *FUSED_RANKERS, *([] if cross_encoder is None else [cross_encoder])]
        raise InvalidInput(f"{param} is {name!r}; it may be {', '.join(names)}", param=param)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalOptions:
    """Options that select and order the chunks of a retrieval."""

    #: Maximum number of chunks for all questions together; 1 to 1,000.
    max_chunks: int = 10
    #: Chunks with a lower score are left out; 0 to 1.
    score_threshold: float = 0.0
    #: OpenAI's comparison and compound filters on attributes (``vector_index.filters``); None: every chunk.
    filters: Mapping[str, Any] | None = None
    #: ``exact`` compares every vector of the store; ``ann`` may use the approximate index.
    mode: Mode = "ann"
    ranker: Ranker = Ranker.FUSED


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryVectors:
    """The vectors of n questions, and the model that computed the vectors."""

    #: (n, dim) float32, unit length, in the order of the questions.
    vectors: NDArray[np.float32]
    #: Id of the fingerprint of the model that computed the vectors.
    fingerprint: str
    #: Number of questions that were cut because the model cannot read such long texts.
    truncated: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievedChunk:
    """A chunk that answers one of the questions."""

    #: Id of the chunk.
    id: str
    #: Id of the vector store that contains the chunk.
    store: str
    #: Id of the attached file; for a document of a bulk ingest, the id of the document.
    file: str
    #: Name of the file; empty if the document has none.
    filename: str
    #: The chunk's text, with its context.
    text: str
    #: Score from 0 to 1; higher is better. Compare scores only within one retrieval.
    score: float
    #: The question that this chunk answers best.
    question: str
    #: Page of the document, from 1; None if the document has no pages.
    page: int | None
    #: Character of the page at which the chunk starts; None if unknown.
    start: int | None
    #: Character of the page at which the chunk ends; None if unknown.
    end: int | None
    #: The part of the text with most of the question's words, see ``snippets``.
    snippet: str
    #: The beginning of ``text`` that is not between ``start`` and ``end``, such as the header of a table.
    context: str = ""
    #: Headings, name of the page, cells and rows of the chunk.
    place: ChunkPlace = NO_PLACE
    #: Keywords of the document that occur in the chunk.
    keywords: Sequence[str]
    #: The attributes that the owner gave to the file; for an ingested document, all attributes.
    attributes: Mapping[str, str | int | float | bool]
    #: Cosine similarity of the question and the chunk, with any ranker. If the chunk was found only by its
    #: words, this is an upper bound. None if nothing was searched by vector.
    similarity: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieved:
    """The result of one retrieval."""

    #: The best chunk first. Each chunk occurs once.
    chunks: Sequence[RetrievedChunk]
    #: Number of questions that were cut because a model cannot read such long texts.
    truncated_questions: int
    #: For each searched store, by id: the version of the store before the search. While all stores keep these
    #: versions, an equal search has the same result, except in an external index.
    versions: Mapping[str, StoreVersion]
    #: True if the result stays correct while the stores keep these versions.
    lasting: bool = True
    #: True if the search was run before the question was asked (``PreparedSearch``).
    precomputed: bool = False


class EmbedQuestions(Protocol):
    """Computes the vectors of questions with the store's model. The model's prompt for questions is put
    before each question.
    """

    async def __call__(self, store: VectorStore, questions: Sequence[str], /) -> QueryVectors: ...


class RerankTexts(Protocol):
    """Scores with a cross-encoder how well each text answers the question: (n,) float32, 0 to 1."""

    async def __call__(self, question: str, texts: Sequence[str], /) -> NDArray[np.float32]: ...


class PreparedSearch(Protocol):
    """Finds the result of a search that was run before its question was asked (``cluster.precomputed``)."""

    async def __call__(
        self,
        found: Sequence[VersionedStore],
        question: str,
        embedded: Mapping[str, QueryVectors],
        options: RetrievalOptions,
        /,
    ) -> Sequence[RetrievedChunk] | None:
        """Return the chunks, best first; None if the search must be run.

        Args:
            found: the stores, with the versions that the result must have.
            question: the question.
            embedded: the vectors of the question, by the id of the fingerprint of a store's model.
            options: the options that the result must have.
        """


class RunInDatabase(Protocol):
    """Runs blocking work in a thread, and passes the pool and the indexes to it. The work may run twice."""

    async def __call__(self, work: Callable[[ConnectionPool, ChunkIndexes], T], /) -> T: ...
