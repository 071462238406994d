"""Find chunks: rankings by meaning, by words and by phrase, fused, with the text and the attributes of every hit.

Called through ``indexing.ChunkIndex``. The words come from our Postgres, the vectors from the store's vector index. All
questions of one call see one state of the store: a document that is being replaced is found old or new, never both. An
external index may know vectors of chunks that are not current, or know attributes that have changed since: such ids are
dropped before the rankings are fused.

    search(pool, index, "default", "vs_1", [Question(text="pump", vector=vector)], collection=collection, k=10)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import snapshot, translated
from cluster.documents import chunks
from cluster.documents.chunk_rows import ChunkRecord, is_text
from cluster.errors import InvalidInput
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import Mode, ScoredId, TransactionalIndex, VectorIndex
from cluster.vector_index.filters import Filter, parse_filter
from cluster.vector_index.fusion import fuse
from cluster.vector_index.vectors import query_vector

MAX_K = 1_000
#: Each ranking that is fused is at least this deep.
FUSION_DEPTH = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question of a search: a vector, a text, or both."""

    text: str | None = None
    #: (dim,) float32.
    vector: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A chunk that was found."""

    id: str
    #: Id of its document.
    document: str
    text: str
    attributes: Mapping[str, Any]
    #: Similarity, higher is better: cosine in [-1, 1], dot product, or minus the distance. Where rankings were fused: the
    #: sum of its RRF shares divided by the largest possible sum, in (0, 1].
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Search:
    """What all questions of one call have in common."""

    index: VectorIndex
    organisation: str
    store: str
    collection: Collection
    k: int
    filter: Filter | None
    mode: Mode

    def by_vector(self, connection: Connection[Any], vector: NDArray[np.float32], k: int) -> list[ScoredId]:
        return cast(TransactionalIndex, self.index).search_within(
            connection,
            self.organisation,
            self.store,
            collection=self.collection,
            vector=vector,
            k=k,
            filter=self.filter,
            mode=self.mode,
        )

    def by_text(self, connection: Connection[Any], text: str, k: int) -> list[list[ScoredId]]:
        return chunks.rank_by_text(
            connection,
            self.organisation,
            self.store,
            text,
            collection=self.collection.name,
            k=k,
            filter=self.filter,
        )

    def depth(self, question: Question) -> int:
        """Length of the question's rankings."""
        return self.k if question.text is None else max(FUSION_DEPTH, self.k)


def search(
    pool: ConnectionPool,
    index: VectorIndex,
    organisation: str,
    store: str,
    questions: Sequence[Question],
    *,
    collection: Collection,
    k: int = 10,
    filter: Mapping[str, Any] | None = None,
    mode: Mode = "ann",
) -> list[list[Hit]]:
    """For each question the k best chunks: by vector, by text (its words and its phrase), or by both, fused (RRF, k=60).

    Args:
        filter: OpenAI's comparison and compound filters; see ``filters.parse_filter``.
        mode: exact compares every vector of the store; ann may use an approximate index.

    Raises:
        InvalidInput: unknown filter operator, wrong dimension, k not in 1..1000, neither vector nor text.
    """
    if not 1 <= k <= MAX_K:
        raise InvalidInput(f"k is {k}; it must be in 1..{MAX_K}", param="max_num_results")
    questions = [_checked(question, collection) for question in questions]
    how = _Search(
        index=index,
        organisation=organisation,
        store=store,
        collection=collection,
        k=k,
        filter=None if filter is None else parse_filter(filter),
        mode=mode,
    )
    with translated(), snapshot(pool) as connection:
        best = [_best(how, connection, question) for question in questions]
        return _hits(how, connection, best)


def _checked(question: Question, collection: Collection) -> Question:
    if question.vector is None and question.text is None:
        raise InvalidInput("a search needs a vector, a text, or both", param="query")
    if question.text is not None and not is_text(question.text):
        raise InvalidInput("the query's text holds a NUL character or half a surrogate pair", param="query")
    if question.vector is None:
        return question
    return replace(question, vector=query_vector(question.vector, collection))


def _best(how: _Search, connection: Connection[Any], question: Question) -> list[ScoredId]:
    depth = how.depth(question)
    rankings: list[list[ScoredId]] = []
    if question.vector is not None:
        rankings.append(how.by_vector(connection, question.vector, depth))
    if question.text is not None:
        rankings += how.by_text(connection, question.text, depth)
    return rankings[0][: how.k] if len(rankings) == 1 else fuse(rankings, k=how.k)


def _hits(how: _Search, connection: Connection[Any], best: Sequence[Sequence[ScoredId]]) -> list[list[Hit]]:
    ids = {one.id for ranking in best for one in ranking}
    if not ids:
        return [[] for _ in best]
    found = chunks.fetch(connection, how.organisation, how.store, sorted(ids), collection=how.collection.name)
    return [[_hit(found[one.id], one.score) for one in ranking] for ranking in best]


def _hit(record: ChunkRecord, score: float) -> Hit:
    return Hit(
        id=record.id, document=record.document, text=record.text, attributes=record.attributes, score=score
    )
