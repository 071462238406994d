"""Find chunks: rank them by meaning, by words and by phrase, fuse the rankings, and read the hits.

Called through ``indexing.ChunkIndex``. Our Postgres ranks by words and phrase, and the store's vector index
ranks by meaning. All questions of one call see one state of the store. While a document is being replaced, a
call finds the old or the new version, never both. An external index may have vectors of chunks that are not
current, or old attributes. So ids of chunks that are not current, or whose current attributes do not pass the
filter, are dropped before the fusion.

    questions = [Question(text="pump", vector=vector)]
    search(pool, index, "default", "vs_1", questions, collection=collection, k=10)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import snapshot, translated
from cluster.documents.chunks import chunk_store
from cluster.documents.chunks.chunk_rows import ChunkRecord, is_text
from cluster.errors import InvalidInput
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import Mode, ScoredId, TransactionalIndex, VectorIndex
from cluster.vector_index.filters import Filter, parse_filter
from cluster.vector_index.fusion import fuse
from cluster.vector_index.vectors import query_vector

MAX_K = 1_000
#: Minimum number of ids requested from each ranking that is fused.
FUSION_DEPTH = 50
#: Maximum number of queries to an external index for each question. Each further query asks for twice as many
#: ids as the query before.
EXTERNAL_SEARCHES = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One question of a search, which has a vector, a text, or both."""

    text: str | None = None
    #: (dim,) float32.
    vector: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A chunk that was found."""

    id: str
    #: Id of the chunk's document.
    document: str
    text: str
    attributes: Mapping[str, Any]
    #: Similarity, higher is better: cosine in [-1, 1], dot product, or minus the distance. If rankings were
    #: fused (reciprocal rank fusion), the score is the sum of the chunk's shares divided by the largest
    #: possible sum, in (0, 1].
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Search:
    """Holds the arguments that all questions of one call share."""

    index: VectorIndex
    organisation: str
    store: str
    collection: Collection
    k: int
    filter: Filter | None
    mode: Mode

    @property
    def key(self) -> tuple[str, str]:
        return self.organisation, self.store

    @property
    def options(self) -> dict[str, Any]:
        return {"collection": self.collection, "filter": self.filter, "mode": self.mode}

    def within(self, connection: Connection[Any], question: Question) -> list[ScoredId]:
        """Return the ranking by vector, of the rows that the transaction of the connection sees."""
        if question.vector is None:
            return []
        return cast(TransactionalIndex, self.index).search_within(
            connection, *self.key, vector=question.vector, k=self.depth(question), **self.options
        )

    def external(self, question: Question, k: int) -> list[ScoredId]:
        """Return the ranking by vector from an external index."""
        if question.vector is None:
            return []
        return self.index.search(*self.key, vector=question.vector, k=k, **self.options)

    def passing(self, connection: Connection[Any], ranking: Sequence[ScoredId]) -> list[ScoredId]:
        """Remove chunks that are not current, or whose current attributes do not pass the filter."""
        ids = [one.id for one in ranking]
        passing = chunk_store.passing_ids(
            connection, *self.key, ids, collection=self.collection.name, filter=self.filter
        )
        return [one for one in ranking if one.id in passing]

    def by_text(self, connection: Connection[Any], text: str, k: int) -> list[list[ScoredId]]:
        return chunk_store.rank_by_text(
            connection,
            *self.key,
            text,
            collection=self.collection.name,
            k=k,
            filter=self.filter,
        )

    def depth(self, question: Question) -> int:
        """Return the maximum number of ids in each ranking of the question."""
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
    """Return the k best chunks for each question: by vector, by text (words and phrase), or by both. If there
    are several rankings, they are fused (reciprocal rank fusion, RRF, with the constant 60).

    Args:
        filter: OpenAI's comparison and compound filters; see ``filters.parse_filter``.
        mode: exact compares every vector of the store; ann may use an approximate index.

    Raises:
        InvalidInput: the filter has an unknown operator, a vector has another dimension, k is not in 1..1000,
            a question has neither vector nor text, or a text has a NUL character.
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
    if index.capabilities.transactional:
        with translated(), snapshot(pool) as connection:
            by_vector = [how.within(connection, question) for question in questions]
            return _hits(how, connection, questions, by_vector)
    return _external_hits(pool, how, questions)


def _external_hits(pool: ConnectionPool, how: _Search, questions: Sequence[Question]) -> list[list[Hit]]:
    """Return the hits of a store with an external index. The index is queried before the snapshot is taken,
    so that no connection is held during the query.

    If ids were dropped and too few are left, query the index again for more ids. The new query also finds
    chunks that became current in the meantime.
    """
    for number in range(EXTERNAL_SEARCHES):
        deeper = 2**number
        rankings = [
            how.external(question, min(MAX_K, deeper * how.depth(question))) for question in questions
        ]
        with translated(), snapshot(pool) as connection:
            current = [how.passing(connection, ranking) for ranking in rankings]
            enough = all(
                len(kept) == len(ranking) or len(kept) >= how.depth(question)
                for question, ranking, kept in zip(questions, rankings, current, strict=True)
            )
            if enough or number + 1 == EXTERNAL_SEARCHES:
                by_vector = [
                    kept[: how.depth(question)] for question, kept in zip(questions, current, strict=True)
                ]
                return _hits(how, connection, questions, by_vector)
    raise AssertionError("the last search returns")


def _checked(question: Question, collection: Collection) -> Question:
    if question.vector is None and question.text is None:
        raise InvalidInput("a search needs a vector, a text, or both", param="query")
    if question.text is not None and not is_text(question.text):
        raise InvalidInput("the query's text holds a NUL character or half a surrogate pair", param="query")
    if question.vector is None:
        return question
    return replace(question, vector=query_vector(question.vector, collection))


def _hits(
    how: _Search,
    connection: Connection[Any],
    questions: Sequence[Question],
    by_vector: Sequence[list[ScoredId]],
) -> list[list[Hit]]:
    """Return the hits of each question; ``by_vector`` has one ranking for each question."""
    best = [
        _best(how, connection, question, ranking)
        for question, ranking in zip(questions, by_vector, strict=True)
    ]
    ids = {one.id for ranking in best for one in ranking}
    found = (
        chunk_store.fetch(connection, *how.key, sorted(ids), collection=how.collection.name) if ids else {}
    )
    return [[_hit(found[one.id], one.score) for one in ranking] for ranking in best]


def _best(
    how: _Search, connection: Connection[Any], question: Question, by_vector: list[ScoredId]
) -> list[ScoredId]:
    if question.text is None:
        return by_vector[: how.k]
    by_text = how.by_text(connection, question.text, how.depth(question))
    return fuse([by_vector, *by_text] if question.vector is not None else by_text, k=how.k)


def _hit(record: ChunkRecord, score: float) -> Hit:
    return Hit(
        id=record.id, document=record.document, text=record.text, attributes=record.attributes, score=score
    )
