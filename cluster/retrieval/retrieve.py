"""Retrieval: finds the chunks of a vector store that answer questions best, each with its file and its page.

The search route calls ``retrieve``. Workers can call it too, because it needs no HTTP request and no Ray.

    retrieved = await retrieve(
        "acme", "handbook", ["Who may stop the pump?"], RetrievalOptions(max_chunks=5),
        in_database=service.in_database, embed=embed,
    )
    retrieved.chunks[0].page       # 12
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg_pool import ConnectionPool

from cluster.database import single_statements, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_search import Hit, Question
from cluster.documents.given_vectors.given_numbers import unit_vector
from cluster.documents.vector_stores.store_versions import VersionedStore, find_versioned_store
from cluster.documents.vector_stores.stores import VectorStore, touch_store
from cluster.errors import Conflict, InvalidInput
from cluster.retrieval.contract import (
    EmbedQuestions,
    QueryVectors,
    Ranker,
    RerankTexts,
    RetrievalOptions,
    Retrieved,
    RetrievedChunk,
    RunInDatabase,
)
from cluster.retrieval.result_cache import ResultCache, key_of
from cluster.retrieval.snippets import QueryWords, snippet
from cluster.text.graphemes import boundary
from cluster.vector_index.attributes import FILE, owner_attributes, system_attributes
from cluster.vector_index.filters import parse_filter

MAX_QUESTIONS = 32
#: The word rankings and the snippets read only this many characters of a question, about as many as a model
#: reads of a text, because each further word costs a look-up.
WORDS_CHARACTERS = 2_048
#: Number of chunks that the cross-encoder scores for each question. Scoring one chunk takes as long as the
#: whole search.
RERANKED_CHUNKS = 50
#: An external index shows deletions and new attributes some seconds after it confirmed these changes. So
#: results of such an index are cached only if the store has not changed for this many seconds.
EXTERNAL_UNCHANGED_S = 60.0

#: The question of a search that has only a vector.
NO_QUESTION = ""

#: A hit, and the question that the hit answers.
Answer = tuple[Hit, str]


async def retrieve(
    organisation: str,
    store: str,
    questions: Sequence[str],
    options: RetrievalOptions,
    *,
    in_database: RunInDatabase,
    embed: EmbedQuestions,
    rerank: RerankTexts | None = None,
    vector: Sequence[float] | None = None,
    cache: ResultCache | None = None,
) -> Retrieved:
    """Return the chunks of the store that answer the questions best.

    All questions see one state of the store. If a document is being replaced, the search finds its old
    version or its new version, never a mixture. The search counts as activity of the store.

    Args:
        organisation: id of the organisation; only its stores are searched.
        store: id or name of the vector store.
        questions: 1 to 32 texts, none of them blank. If ``vector`` is given: at most one text, which is not
            embedded; it is used for the search by words, the cross-encoder and the snippets.
        options: select the chunks to return.
        in_database: runs the work that calls the database.
        embed: computes the vectors of the questions.
        rerank: the cross-encoder; required if ``options.ranker`` is ``Ranker.CROSS_ENCODER``.
        vector: the vector to search with; None: ``embed`` computes a vector for each question.
        cache: results of earlier searches; None: every search is run.

    Raises:
        InvalidInput: the questions, the filters or the ranker are not valid.
        NotFound: the organisation has no such store.
        Conflict: the store holds vectors of another model than ``embed`` uses.
        Unavailable: the database does not answer.
    """
    questions = _valid(questions, options, vector)
    if options.ranker is Ranker.CROSS_ENCODER and rerank is None:
        raise InvalidInput("no cross-encoder is configured; set CLUSTER_RERANKER_PATH", param="ranker")
    found = await in_database(lambda pool, _: _find(pool, organisation, store))
    embedded = await embed(found.store, questions) if vector is None else _given(found.store, vector)
    _require_same_model(found.store, embedded)
    key = key_of(questions, embedded, options)
    chunks = None if cache is None else cache.get(found, key)
    if chunks is None:
        ask = _Asked(found=found, questions=questions, embedded=embedded, options=options)
        chunks, lasting = await _run(ask, in_database, rerank)
        if cache is not None and lasting:
            cache.put(found, key, chunks)
    return Retrieved(chunks=chunks, truncated_questions=embedded.truncated)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """Holds the arguments of a search whose result is not in the cache."""

    found: VersionedStore
    questions: Sequence[str]
    embedded: QueryVectors
    options: RetrievalOptions


async def _run(
    asked: _Asked, in_database: RunInDatabase, rerank: RerankTexts | None
) -> tuple[list[RetrievedChunk], bool]:
    """Search the store, rerank the hits if the options ask for it, and keep the best hits. Return the chunks,
    and True if the result stays correct until the store changes.
    """
    options = asked.options
    found, lasting = await in_database(lambda _, indexes: _search(indexes, asked))
    if options.ranker is Ranker.CROSS_ENCODER and rerank is not None:
        found = await asyncio.gather(
            *(_rerank(rerank, *answers) for answers in zip(asked.questions, found, strict=True))
        )
    best = [
        answer
        for answer in _merge(asked.questions, found)[: options.max_chunks]
        if answer[0].score >= options.score_threshold
    ]
    # In a thread, because the snippets of long chunks take milliseconds.
    return await asyncio.to_thread(_chunks, best), lasting


def _valid(
    questions: Sequence[str], options: RetrievalOptions, vector: Sequence[float] | None
) -> Sequence[str]:
    """Check the questions and the filters before the questions are embedded. Return the questions.

    If the search has a vector and no question, return one empty question.
    """
    if vector is not None and len(questions) > 1:
        raise InvalidInput(
            f"query has {len(questions)} texts; beside a vector it may be one text", param="query"
        )
    if vector is not None and not questions:
        if options.ranker is Ranker.CROSS_ENCODER:
            raise InvalidInput("the cross-encoder needs a query; send one, or another ranker", param="query")
        questions = [NO_QUESTION]
    elif not 1 <= len(questions) <= MAX_QUESTIONS or not all(question.strip() for question in questions):
        raise InvalidInput(
            f"query must be a text or a list of 1 to {MAX_QUESTIONS} texts, none of them empty", param="query"
        )
    if options.filters is not None:
        parse_filter(options.filters)
    return questions


def _given(store: VectorStore, vector: Sequence[float]) -> QueryVectors:
    """Check that the request's vector is as long as the store's vectors, and return it scaled to length 1."""
    vectors = unit_vector(vector, store.fingerprint.dim)[None]
    return QueryVectors(vectors=vectors, fingerprint=store.fingerprint.id)


def _find(pool: ConnectionPool, organisation: str, id_or_name: str) -> VersionedStore:
    """Find the store with its version, and record that it is in use."""
    with translated(), single_statements(pool) as connection:
        found = find_versioned_store(connection, organisation, id_or_name)
        touch_store(connection, found.store)
    return found


def _require_same_model(store: VectorStore, embedded: QueryVectors) -> None:
    if store.fingerprint.id != embedded.fingerprint:
        raise Conflict(
            f"vector store {store.name or store.id!r} holds vectors of {store.fingerprint.id}, but the "
            f"query was embedded with {embedded.fingerprint}; ask a server that serves the store's model"
        )


def _search(indexes: ChunkIndexes, asked: _Asked) -> tuple[list[list[Hit]], bool]:
    """Search the store. Return the hits of each question, and True if the hits stay correct until the store
    changes.
    """
    store, options = asked.found.store, asked.options
    index = indexes.of(store)
    lasting = index.external is None or asked.found.unchanged_s >= EXTERNAL_UNCHANGED_S
    by_vector_alone = options.ranker is Ranker.VECTORS or list(asked.questions) == [NO_QUESTION]
    reranks = options.ranker is Ranker.CROSS_ENCODER
    hits = index.search_all(
        store.organisation,
        store.id,
        [
            Question(text=None if by_vector_alone else _beginning(question), vector=vector)
            for question, vector in zip(asked.questions, asked.embedded.vectors, strict=True)
        ],
        collection=store.collection,
        k=max(RERANKED_CHUNKS, options.max_chunks) if reranks else options.max_chunks,
        filter=options.filters,
        mode=options.mode,
    )
    return hits, lasting


async def _rerank(rerank: RerankTexts, question: str, hits: list[Hit]) -> list[Hit]:
    if not hits:
        return []
    scores = await rerank(question, [hit.text for hit in hits])
    return [replace(hit, score=float(score)) for hit, score in zip(hits, scores, strict=True)]


def _merge(questions: Sequence[str], found: Sequence[Sequence[Hit]]) -> list[Answer]:
    """Merge all hits, best first. A chunk that answers several questions occurs once, with its best score."""
    best: dict[str, Answer] = {}
    for question, hits in zip(questions, found, strict=True):
        for hit in hits:
            if hit.id not in best or hit.score > best[hit.id][0].score:
                best[hit.id] = hit, question
    return sorted(best.values(), key=lambda answer: (-answer[0].score, answer[0].id))


def _chunks(answers: Sequence[Answer]) -> list[RetrievedChunk]:
    words = {question: QueryWords(_beginning(question)) for question in {question for _, question in answers}}
    return [_chunk(hit, question, words[question]) for hit, question in answers]


def _chunk(hit: Hit, question: str, words: QueryWords) -> RetrievedChunk:
    own = system_attributes(hit.attributes)
    return RetrievedChunk(
        id=hit.id,
        file=own.get(FILE, hit.document),
        filename=own.get("filename", ""),
        text=hit.text,
        score=min(1.0, max(0.0, hit.score)),
        question=question,
        page=own.get("page"),
        start=own.get("start"),
        end=own.get("end"),
        snippet=snippet(hit.text, words),
        keywords=own.get("keywords", []),
        attributes={
            name: value
            for name, value in owner_attributes(hit.attributes).items()
            if isinstance(value, str | int | float | bool)
        },
    )


def _beginning(question: str) -> str:
    return question[: boundary(question, WORDS_CHARACTERS)]
