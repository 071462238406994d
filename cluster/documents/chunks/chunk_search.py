"""Find chunks: rank them by meaning, by words and by phrase, fuse the rankings, and read the hits.

Called through ``indexing.ChunkIndex``. Our Postgres ranks by words and phrase, and the store's vector index
ranks by meaning. All questions of one call see one state of the store. While a document is being replaced, a
call finds the old or the new version, never both. An external index may have vectors of chunks that are not
current, or old attributes. So ids of chunks that are not current, or whose current attributes do not pass the
filter, are dropped before the fusion.

    questions = [Question(text="pump", vector=vector)]
    search(pool, index, "default", "vs_1", questions, collection=collection, k=10)

``search_stores`` searches several stores as if the chunks of all stores were in one store.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import snapshot, translated
from cluster.documents.chunks.chunk_ranking import Hit, Question, RankedStore, StoreSearch, best_hits
from cluster.documents.chunks.chunk_rows import is_text
from cluster.errors import InvalidInput
from cluster.vector_index.collections import Collection
from cluster.vector_index.contract import Mode, ScoredId, VectorIndex
from cluster.vector_index.filters import parse_filter
from cluster.vector_index.vectors import query_vector

MAX_K = 1_000
#: Maximum number of queries to an external index for each question. Each further query asks for twice as many
#: ids as the query before.
EXTERNAL_SEARCHES = 3


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
    how = StoreSearch(
        index=index,
        organisation=organisation,
        store=store,
        collection=collection,
        questions=questions,
        k=k,
        filter=None if filter is None else parse_filter(filter),
        mode=mode,
    )
    return search_stores(pool, [how])


def search_stores(pool: ConnectionPool, searches: Sequence[StoreSearch]) -> list[list[Hit]]:
    """Return the k best chunks of all stores together for each question.

    The words and the phrase of a question rank the chunks of all stores in one ranking each. Vectors rank the
    chunks of all stores with the same ``space`` in one ranking. Then these rankings are fused. So stores with
    the same ``space`` give the same chunks and scores as one store with all their chunks.

    Args:
        searches: at least one. All have the same texts of questions, and the same k.

    Raises:
        InvalidInput: a vector has another dimension, k is not in 1..1000, a question has neither vector nor
            text, or a text has a NUL character.
    """
    searches = [_checked(how) for how in searches]
    if all(how.transactional for how in searches):
        with translated(), snapshot(pool) as connection:
            return best_hits(connection, [_within(connection, how) for how in searches])
    return _external_hits(pool, searches)


def search_stores_by_words_first(
    pool: ConnectionPool,
    searches: Sequence[StoreSearch],
    await_vectors: Callable[[], Sequence[StoreSearch] | None],
) -> list[list[Hit]] | None:
    """Do the same as ``search_stores``, but rank by the texts of the questions before the vectors are known.

    Args:
        searches: as in ``search_stores``. The questions have no vectors, and all vectors are in our Postgres.
        await_vectors: returns the same searches with the vectors; None: give up, and return None.

    Raises:
        InvalidInput: as ``search_stores``.
    """
    searches = [_checked(how) for how in searches]
    with translated(), snapshot(pool) as connection:
        by_text = [how.by_texts(connection) for how in searches]
        prepared = [how.prepare(connection) for how in searches]
        whole = await_vectors()
        if whole is None:
            return None
        checked = [replace(_checked(how), prepared=ready) for how, ready in zip(whole, prepared, strict=True)]
        ranked = [_within(connection, how, texts) for how, texts in zip(checked, by_text, strict=True)]
        return best_hits(connection, ranked)


def _within(
    connection: Connection[Any], how: StoreSearch, by_text: Sequence[list[list[ScoredId]]] | None = None
) -> RankedStore:
    return RankedStore(how, [how.within(connection, question) for question in how.questions], by_text=by_text)


def _external_hits(pool: ConnectionPool, searches: Sequence[StoreSearch]) -> list[list[Hit]]:
    """Return the hits if a store has an external index. The index is queried before the snapshot is taken,
    so that no connection is held during the query.

    If ids were dropped and too few are left, query the indexes again for more ids. The new query also finds
    chunks that became current in the meantime.
    """
    for number in range(EXTERNAL_SEARCHES):
        deeper = 2**number
        rankings = [None if how.transactional else _external(how, deeper) for how in searches]
        with translated(), snapshot(pool) as connection:
            found = [
                _within(connection, how) if ranked is None else _passing(connection, how, ranked)
                for how, ranked in zip(searches, rankings, strict=True)
            ]
            if all(ranked.enough for ranked in found) or number + 1 == EXTERNAL_SEARCHES:
                return best_hits(connection, found)
    raise AssertionError("the last search returns")


def _external(how: StoreSearch, deeper: int) -> list[list[ScoredId]]:
    return [how.external(question, min(MAX_K, deeper * how.depth(question))) for question in how.questions]


def _passing(
    connection: Connection[Any], how: StoreSearch, rankings: Sequence[list[ScoredId]]
) -> RankedStore:
    """Drop the ids of chunks that are not current or do not pass the filter."""
    current = [how.passing(connection, ranking) for ranking in rankings]
    enough = all(
        len(kept) == len(ranking) or len(kept) >= how.depth(question)
        for question, ranking, kept in zip(how.questions, rankings, current, strict=True)
    )
    best = [kept[: how.depth(question)] for question, kept in zip(how.questions, current, strict=True)]
    return RankedStore(how, best, enough)


def _checked(how: StoreSearch) -> StoreSearch:
    if not 1 <= how.k <= MAX_K:
        raise InvalidInput(f"k is {how.k}; it must be in 1..{MAX_K}", param="max_num_results")
    return replace(how, questions=[_checked_question(one, how.collection) for one in how.questions])


def _checked_question(question: Question, collection: Collection) -> Question:
    if question.vector is None and question.text is None:
        raise InvalidInput("a search needs a vector, a text, or both", param="query")
    if question.text is not None and not is_text(question.text):
        raise InvalidInput("the query's text holds a NUL character or half a surrogate pair", param="query")
    if question.vector is None:
        return question
    return replace(question, vector=query_vector(question.vector, collection))
