"""The part of a search that blocks: rank the chunks in the database, and make the chunks of the result.

``retrieve`` calls ``search`` in a thread. ``words_first`` begins a search before the vectors of its questions
are known.

    terms = SearchTerms(found=stores, questions=questions, options=options)
    search(pool, indexes, AskedSearch(terms=terms, embedded=vectors)).hits
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_ranking import Hit, Question, StoreSearch
from cluster.documents.chunks.chunk_search import search_stores, search_stores_by_words_first
from cluster.documents.indexing import ChunkIndex
from cluster.documents.vector_stores.store_versions import VersionedStore
from cluster.retrieval.contract import QueryVectors, Ranker, RetrievalOptions, Retrieved, RetrievedChunk
from cluster.retrieval.found_chunks import Answer, beginning_of, chunks_of
from cluster.vector_index.filters import parse_filter

#: Number of chunks that the cross-encoder scores for each question. Scoring one chunk takes as long as the
#: whole search.
RERANKED_CHUNKS = 50
#: An external index shows deletions and new attributes some seconds after it confirmed these changes. So
#: results of such an index are cached only if the store has not changed for this many seconds.
EXTERNAL_UNCHANGED_S = 60.0

#: The question of a search that has only a vector.
NO_QUESTION = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchTerms:
    """What a search knows before the vectors of its questions are computed."""

    found: Sequence[VersionedStore]
    questions: Sequence[str]
    options: RetrievalOptions

    @property
    def by_words(self) -> bool:
        """True if the words of the questions rank the chunks, and not only the vectors."""
        return self.options.ranker is not Ranker.VECTORS and list(self.questions) != [NO_QUESTION]

    @property
    def reranks(self) -> bool:
        """True if a cross-encoder ranks the hits."""
        return self.options.ranker is Ranker.CROSS_ENCODER

    def lasting(self, indexes: ChunkIndexes) -> bool:
        """Return True if the result stays correct until a store changes."""
        return all(
            indexes.of(one.store).external is None or one.unchanged_s >= EXTERNAL_UNCHANGED_S
            for one in self.found
        )

    def searches(
        self, indexes: ChunkIndexes, embedded: Mapping[str, QueryVectors] | None
    ) -> list[StoreSearch]:
        """Return the search of each store. If ``embedded`` is None, the questions have no vectors."""
        return [self._of_store(indexes.of(one.store), one, embedded) for one in self.found]

    def _of_store(
        self, index: ChunkIndex, found: VersionedStore, embedded: Mapping[str, QueryVectors] | None
    ) -> StoreSearch:
        store, options = found.store, self.options
        vectors: Iterable[NDArray[np.float32] | None] = (
            [None] * len(self.questions) if embedded is None else embedded[store.fingerprint.id].vectors
        )
        return StoreSearch(
            index=index.vectors,
            organisation=store.organisation,
            store=store.id,
            collection=index.collection(store.collection),
            questions=[
                Question(text=beginning_of(question) if self.by_words else None, vector=vector)
                for question, vector in zip(self.questions, vectors, strict=True)
            ],
            k=max(RERANKED_CHUNKS, options.max_chunks) if self.reranks else options.max_chunks,
            filter=None if options.filters is None else parse_filter(options.filters),
            mode=options.mode,
            space=store.fingerprint.id,
            text_configurations=found.text_configurations,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedSearch:
    """A search whose questions have vectors."""

    terms: SearchTerms
    #: The vectors of the questions, by the id of the fingerprint of a store's model.
    embedded: Mapping[str, QueryVectors]

    def result(self, chunks: Sequence[RetrievedChunk], *, lasting: bool, precomputed: bool) -> Retrieved:
        """Make the result of the search with these chunks."""
        return Retrieved(
            chunks=chunks,
            truncated_questions=max(one.truncated for one in self.embedded.values()),
            versions={one.store.id: one.version for one in self.terms.found},
            lasting=lasting,
            precomputed=precomputed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundHits:
    """What a search has found."""

    #: The hits of each question.
    hits: Sequence[Sequence[Hit]]
    #: The chunks of the result; None if a cross-encoder ranks the hits first.
    chunks: list[RetrievedChunk] | None
    #: True if the hits stay correct until a store changes.
    lasting: bool


def search(pool: ConnectionPool, indexes: ChunkIndexes, asked: AskedSearch) -> FoundHits:
    """Search the stores. The same thread makes the chunks of the result, because waking another thread would
    delay the result.
    """
    return _found(indexes, asked, search_stores(pool, asked.terms.searches(indexes, asked.embedded)))


def search_by_words_first(
    pool: ConnectionPool,
    indexes: ChunkIndexes,
    terms: SearchTerms,
    await_vectors: Callable[[], AskedSearch | None],
) -> FoundHits | None:
    """Search the stores like ``search``, but rank by words before the vectors of the questions are known.

    Args:
        await_vectors: waits for the vectors; returns None if they do not come in time.

    Returns:
        None if the vectors did not come in time, or if a store has an external index.
    """
    searches = terms.searches(indexes, None)
    if not all(one.transactional for one in searches):
        return None
    asked: AskedSearch | None = None

    def with_vectors() -> list[StoreSearch] | None:
        nonlocal asked
        asked = await_vectors()
        return None if asked is None else terms.searches(indexes, asked.embedded)

    hits = search_stores_by_words_first(pool, searches, with_vectors)
    return None if asked is None or hits is None else _found(indexes, asked, hits)


def _found(indexes: ChunkIndexes, asked: AskedSearch, hits: list[list[Hit]]) -> FoundHits:
    return FoundHits(
        hits=hits,
        chunks=None if asked.terms.reranks else best_chunks(asked, hits),
        lasting=asked.terms.lasting(indexes),
    )


def best_chunks(asked: AskedSearch, found: Sequence[Sequence[Hit]]) -> list[RetrievedChunk]:
    """Return the best chunks of the hits of all questions."""
    options = asked.terms.options
    merged = _merge(asked.terms.questions, found)[: options.max_chunks]
    return chunks_of([answer for answer in merged if answer[0].score >= options.score_threshold])


def _merge(questions: Sequence[str], found: Sequence[Sequence[Hit]]) -> list[Answer]:
    """Merge all hits, best first. A chunk that answers several questions occurs once, with its best score."""
    best: dict[tuple[str, str], Answer] = {}
    for question, hits in zip(questions, found, strict=True):
        for hit in hits:
            key = hit.id, hit.store
            if key not in best or hit.score > best[key][0].score:
                best[key] = hit, question
    return sorted(best.values(), key=lambda answer: (-answer[0].score, answer[0].id, answer[0].store))
