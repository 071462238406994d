"""Rank the chunks of stores by meaning, by words and by phrase, fuse the rankings, and read the best chunks.

``chunk_search`` calls this module with a connection whose transaction sees one state of all stores.

    how = StoreSearch(index=index, organisation="default", store="vs_1", ...)
    ranked = RankedStore(how, [how.within(connection, question) for question in how.questions])
    best_hits(connection, [ranked])
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection

from cluster.documents.chunks import chunk_store
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import Mode, ScoredId, TransactionalIndex, VectorIndex
from cluster.vector_index.filters import Filter
from cluster.vector_index.fusion import fuse, merge
from cluster.vector_index.text_configurations import DEFAULT

#: Minimum number of ids requested from each ranking that is fused.
FUSION_DEPTH = 50


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
    #: Id of the chunk's store.
    store: str
    #: Similarity of the vectors of the question and the chunk; None if the question has no vector. If the
    #: chunk is not among the nearest, this is the smallest similarity of the nearest, an upper bound.
    similarity: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSearch:
    """Holds the arguments of the search of one store."""

    index: VectorIndex
    organisation: str
    store: str
    collection: Collection
    #: The questions. If several stores are searched together, all stores have the same texts of questions,
    #: each text with a vector of the store's model.
    questions: Sequence[Question]
    #: Maximum number of chunks for each question; 1 to 1,000.
    k: int
    filter: Filter | None
    mode: Mode
    #: Name of the vector space. Scores by vector are compared only between stores with the same name.
    space: str = ""
    #: The text search configurations of the store's chunks; None: each search by text reads them.
    text_configurations: Sequence[str] | None = None
    #: What ``prepare`` has returned in this transaction; None: each search by vector prepares itself.
    prepared: bool | None = None

    @property
    def transactional(self) -> bool:
        """True if the vectors are in our Postgres."""
        return self.index.capabilities.transactional

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
            connection,
            *self.key,
            vector=question.vector,
            k=self.depth(question),
            prepared=self.prepared,
            **self.options,
        )

    def prepare(self, connection: Connection[Any]) -> bool:
        """Prepare the transaction for ``within``; see ``TransactionalIndex.prepare_within``."""
        return cast(TransactionalIndex, self.index).prepare_within(
            connection, collection=self.collection, k=self.depth(self.questions[0]), mode=self.mode
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
        """Return the rankings by words and by phrase; see ``chunk_store.rank_by_text``."""
        known = self.text_configurations
        return chunk_store.rank_by_text(
            connection,
            *self.key,
            text,
            collection=self.collection.name,
            k=k,
            filter=self.filter,
            configurations=(
                chunk_store.text_configurations(connection, *self.key) if known is None else known
            )
            or [DEFAULT],
        )

    def by_texts(self, connection: Connection[Any]) -> list[list[list[ScoredId]]]:
        """Return the rankings by words and by phrase of each question. All questions have texts."""
        texts = [(question, question.text) for question in self.questions if question.text is not None]
        return [self.by_text(connection, text, self.depth(question)) for question, text in texts]

    def depth(self, question: Question) -> int:
        """Return the maximum number of ids in each ranking of the question."""
        return self.k if question.text is None else max(FUSION_DEPTH, self.k)


@dataclass(frozen=True, slots=True)
class RankedStore:
    """The search of one store, and its ranking by vector for each question."""

    how: StoreSearch
    by_vector: Sequence[list[ScoredId]]
    #: False if an external index should be queried for more ids.
    enough: bool = True
    #: The rankings by words and by phrase of each question; None if they are not known yet.
    by_text: Sequence[list[list[ScoredId]]] | None = None

    def text_rankings(self, connection: Connection[Any], position: int, text: str) -> list[list[ScoredId]]:
        """Return the rankings by words and by phrase of the question at this position."""
        if self.by_text is not None:
            return self.by_text[position]
        return self.how.by_text(connection, text, self.how.depth(self.how.questions[position]))


def best_hits(connection: Connection[Any], stores: Sequence[RankedStore]) -> list[list[Hit]]:
    """Return the hits of each question."""
    best = [_best(connection, stores, position) for position in range(len(stores[0].how.questions))]
    wanted: dict[int, set[str]] = {}
    for ranked in best:
        for one in ranked.ranking:
            number, id = _place(stores, one)
            wanted.setdefault(number, set()).add(id)
    found = {
        number: chunk_store.fetch(
            connection, *stores[number].how.key, sorted(ids), collection=stores[number].how.collection.name
        )
        for number, ids in wanted.items()
    }
    return [[_hit(stores, found, one, ranked) for one in ranked.ranking] for ranked in best]


@dataclass(frozen=True, slots=True)
class _Best:
    """The best chunks for one question."""

    ranking: list[ScoredId]
    #: Similarity by vector of the nearest chunks, by id.
    similarities: Mapping[str, float]

    def similarity(self, id: str) -> float | None:
        """Return the similarity of the chunk. If it is not known, return the smallest known similarity."""
        found = self.similarities.get(id)
        return min(self.similarities.values(), default=None) if found is None else found


def _best(connection: Connection[Any], stores: Sequence[RankedStore], position: int) -> _Best:
    """Return the best chunks of all stores for the question at this position."""
    question, k = stores[0].how.questions[position], stores[0].how.k
    depth = stores[0].how.depth(question)
    spaces: dict[str, list[list[ScoredId]]] = {}
    for number, one in enumerate(stores):
        spaces.setdefault(one.how.space, []).append(_labelled(stores, number, one.by_vector[position]))
    by_vector = [merge(parts, k=depth) for parts in spaces.values()] if question.vector is not None else []
    similarities = {one.id: one.score for ranking in by_vector for one in ranking}
    if question.text is None and len(by_vector) == 1:
        return _Best(by_vector[0][:k], similarities)
    by_text: list[list[ScoredId]] = []
    if question.text is not None:
        of_stores = [one.text_rankings(connection, position, question.text) for one in stores]
        for parts in zip(*of_stores, strict=True):
            by_text.append(
                merge([_labelled(stores, number, part) for number, part in enumerate(parts)], k=depth)
            )
    # A chunk is in the ranking of one space only, because a store has vectors of one model.
    largest = min(1, len(by_vector)) + len(by_text)
    return _Best(fuse([*by_vector, *by_text], k=k, largest=largest), similarities)


def _labelled(stores: Sequence[RankedStore], number: int, ranking: list[ScoredId]) -> list[ScoredId]:
    """Append the number of the store to each id, because chunks of several stores can have the same id. The
    order of ids stays the same. Do nothing if there is one store.
    """
    if len(stores) == 1:
        return ranking
    return [ScoredId(id=f"{one.id} {number}", score=one.score) for one in ranking]


def _place(stores: Sequence[RankedStore], one: ScoredId) -> tuple[int, str]:
    """Return the number of the chunk's store, and the id of the chunk."""
    if len(stores) == 1:
        return 0, one.id
    id, _, number = one.id.rpartition(" ")
    return int(number), id


def _hit(
    stores: Sequence[RankedStore],
    found: Mapping[int, Mapping[str, ChunkRecord]],
    one: ScoredId,
    ranked: _Best,
) -> Hit:
    number, id = _place(stores, one)
    record = found[number][id]
    return Hit(
        id=record.id,
        document=record.document,
        text=record.text,
        attributes=record.attributes,
        score=one.score,
        store=stores[number].how.store,
        similarity=ranked.similarity(one.id),
    )
