"""Types of a retrieval: its options, its result, and the callables that it needs.

The caller hands over three callables, so that a replica can use its batcher and a worker its model's handle:
``EmbedQuestions`` turns questions into vectors, ``RerankTexts`` scores texts with a cross-encoder, and
``RunInDatabase`` runs blocking database work where it does not block the event loop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.errors import InvalidInput
from cluster.vector_index import Mode

T = TypeVar("T")

#: The name of ``Ranker.VECTORS`` in requests.
NO_RANKER = "none"
#: The names of ``Ranker.FUSED`` in requests: ours, and OpenAI's for its own ranker.
FUSED_RANKERS = ("auto", "default-2024-11-15")


class Ranker(StrEnum):
    """How the chunks of a store are ordered."""

    #: By the cosine of the question's vector and the chunk's.
    VECTORS = "vectors"
    #: By three rankings fused into one: vectors, words and phrase. A score of 1 means first in each.
    FUSED = "fused"
    #: As ``FUSED``; then a cross-encoder scores the best chunks again, each together with the question.
    CROSS_ENCODER = "cross_encoder"

    @classmethod
    def named(cls, name: str, *, cross_encoder: str | None, param: str) -> "Ranker":
        """The ranker that a request names.

        Args:
            name: ``none``, ``auto``, ``default-2024-11-15``, or the cross-encoder's name.
            cross_encoder: name of the configured cross-encoder; None: there is none.
            param: the request's field, for the error.

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
    """Which chunks are wanted, and how they are ordered."""

    #: Most chunks, all questions together; 1 to 1,000.
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
    """The vectors of n questions."""

    #: (n, dim) float32, unit length, in the order of the questions.
    vectors: NDArray[np.float32]
    #: Id of the fingerprint of the model that computed them.
    fingerprint: str
    #: Questions that were longer than the model reads, and were cut.
    truncated: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievedChunk:
    """A chunk that answers one of the questions."""

    #: Id of the chunk.
    id: str
    #: Id of the attached file; of a document that a bulk ingest brought in, the document's id.
    file: str
    #: Empty where the document has none.
    filename: str
    #: The chunk's text.
    text: str
    #: 0 to 1, higher is better. Comparable only between chunks of one retrieval.
    score: float
    #: The question that this chunk answers best.
    question: str
    #: Page of the document, from 1; None where it has no pages.
    page: int | None
    #: Characters of that page at which the chunk starts and ends; None where they are not known.
    start: int | None
    end: int | None
    #: The part of the text to read first, see ``snippets``.
    snippet: str
    #: Keywords of the document that occur in the chunk.
    keywords: Sequence[str]
    #: The attributes that the file's owner gave it; of an ingested document, all attributes.
    attributes: Mapping[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieved:
    """The result of one retrieval."""

    #: Best first; each chunk once.
    chunks: Sequence[RetrievedChunk]
    #: Questions that were longer than the model reads, and were cut.
    truncated_questions: int


class EmbedQuestions(Protocol):
    """Computes the vectors of questions, with the model's prompt for questions before each."""

    async def __call__(self, questions: Sequence[str], /) -> QueryVectors: ...


class RerankTexts(Protocol):
    """Scores how well each text answers the question, by a cross-encoder: (n,) float32, 0 to 1."""

    async def __call__(self, question: str, texts: Sequence[str], /) -> NDArray[np.float32]: ...


class RunInDatabase(Protocol):
    """Runs blocking work in a thread, with the pool and the vector index. It may run the work twice."""

    async def __call__(self, work: Callable[[ConnectionPool, ChunkIndexes], T], /) -> T: ...
