"""Finds the chunks of vector stores that answer questions best, each with its file and its page.

``serve_app.retrieval`` and ``data_jobs.retrieval`` call ``retrieve``, which needs no HTTP request and no Ray.

    retrieved = await retrieve(
        "acme", ["handbook"], ["Who may stop the pump?"], RetrievalOptions(max_chunks=5),
        in_database=service.in_database, embed=embed,
    )
    retrieved.chunks[0].page       # 12
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.database import single_statements, translated
from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.documents.chunks.chunk_ranking import Hit
from cluster.documents.given_vectors.given_numbers import unit_vector
from cluster.documents.vector_stores.store_versions import VersionedStore, find_versioned_store
from cluster.documents.vector_stores.stores import VectorStore, touch_store
from cluster.errors import Conflict, InvalidInput
from cluster.retrieval.asked_search import NO_QUESTION, AskedSearch, SearchTerms, best_chunks, search
from cluster.retrieval.contract import (
    EmbedQuestions,
    PreparedSearch,
    QueryVectors,
    Ranker,
    RerankTexts,
    RetrievalOptions,
    Retrieved,
    RetrievedChunk,
    RunInDatabase,
)
from cluster.retrieval.result_cache import ResultCache, key_of
from cluster.retrieval.words_first import WordsFirst, words_first
from cluster.vector_index.filters import parse_filter

MAX_QUESTIONS = 32
#: Maximum number of stores of one search.
MAX_STORES = 32
#: Maximum number of questions times the number of stores. Each question in each store costs the database some
#: milliseconds.
MAX_SEARCHES = 128


async def retrieve(
    organisation: str,
    stores: Sequence[str],
    questions: Sequence[str],
    options: RetrievalOptions,
    *,
    in_database: RunInDatabase,
    embed: EmbedQuestions,
    rerank: RerankTexts | None = None,
    found: Sequence[VersionedStore] | None = None,
    vector: Sequence[float] | None = None,
    cache: ResultCache | None = None,
    prepared: PreparedSearch | None = None,
) -> Retrieved:
    """Return the chunks of the stores that answer the questions best.

    All questions see one state of the stores. If a document is being replaced, the search finds its old
    version or its new version, never a mixture. The search counts as activity of the stores. Several stores
    with one model give the result that one store with all of their chunks would give. Vectors of different
    models cannot be compared, so the fusion gets a separate ranking for each model.

    Args:
        organisation: id of the organisation; only its stores are searched.
        stores: ids or names of 1 to 32 vector stores. A store that is named twice is searched once.
        questions: 1 to 32 texts, none of them blank; with ``vector`` at most one, for all other steps.
        options: select the chunks to return.
        in_database: runs the work that calls the database.
        embed: computes the vectors of the questions; called once for each model.
        rerank: the cross-encoder; required if ``options.ranker`` is ``Ranker.CROSS_ENCODER``.
        found: the stores, if ``find_stores`` has found them during this request; None: they are found here.
        vector: the vector to search with; None: ``embed`` computes a vector for each question.
        cache: results of earlier searches; None: there are none.
        prepared: finds results that were computed before their question was asked; None: there are none.

    Raises:
        InvalidInput: the questions, the stores, the filters or the ranker are not valid.
        NotFound: the organisation does not have one of the stores.
        Conflict: a store holds vectors of another model than ``embed`` uses.
        Unavailable: the database does not answer.
    """
    questions = _valid(stores, questions, options, vector, reranks=rerank is not None)
    found = found or await _found(in_database, organisation, stores)
    terms = SearchTerms(found=found, questions=questions, options=options)
    with words_first(terms, in_database, wanted=vector is None and terms.by_words) as words:
        asked = AskedSearch(terms=terms, embedded=await _vectors(embed, terms, vector))
        before = None if vector is not None else await _prepared(asked, prepared)
        if before is not None:
            return asked.result(before, lasting=True, precomputed=True)
        chunks, lasting = await _answer(asked, words, in_database, rerank, cache)
    return asked.result(chunks, lasting=lasting, precomputed=False)


async def _found(
    in_database: RunInDatabase, organisation: str, stores: Sequence[str]
) -> Sequence[VersionedStore]:
    def find(pool: ConnectionPool, _: ChunkIndexes) -> Sequence[VersionedStore]:
        with translated(), single_statements(pool) as connection:
            return find_stores(connection, organisation, stores)

    return await in_database(find)


async def _prepared(asked: AskedSearch, prepared: PreparedSearch | None) -> Sequence[RetrievedChunk] | None:
    """Return the result of a single question that was searched before it was asked; None if there is none."""
    terms = asked.terms
    if prepared is None or len(terms.questions) != 1:
        return None
    return await prepared(terms.found, terms.questions[0], asked.embedded, terms.options)


async def _answer(
    asked: AskedSearch,
    words: WordsFirst,
    in_database: RunInDatabase,
    rerank: RerankTexts | None,
    cache: ResultCache | None,
) -> tuple[Sequence[RetrievedChunk], bool]:
    """Return the chunks from the cache; if the cache lacks them, search and cache the result. Also return
    True if the result stays correct until a store changes.
    """
    if cache is None:
        return await _run(asked, words, in_database, rerank)
    terms = asked.terms
    first, *others = terms.found
    key = key_of(terms.questions, list(asked.embedded.values()), terms.options, others=others)
    chunks = cache.get(first, key)
    if chunks is not None:
        return chunks, True
    chunks, lasting = await _run(asked, words, in_database, rerank)
    if lasting:
        cache.put(first, key, chunks)
    return chunks, lasting


async def _run(
    asked: AskedSearch, words: WordsFirst, in_database: RunInDatabase, rerank: RerankTexts | None
) -> tuple[list[RetrievedChunk], bool]:
    """Search the stores, rerank the hits if the options ask for it, and keep the best hits. Return the
    chunks, and True if the result stays correct until a store changes.
    """
    found = await words.found(asked)
    if found is None:
        found = await in_database(lambda pool, indexes: search(pool, indexes, asked))
    if found.chunks is not None:
        return found.chunks, found.lasting
    assert rerank is not None  # ``_valid`` has checked it
    hits = await asyncio.gather(
        *(_rerank(rerank, *answers) for answers in zip(asked.terms.questions, found.hits, strict=True))
    )
    # In a thread, because the snippets of long chunks take milliseconds.
    return await asyncio.to_thread(best_chunks, asked, hits), found.lasting


def _valid(
    stores: Sequence[str],
    questions: Sequence[str],
    options: RetrievalOptions,
    vector: Sequence[float] | None,
    *,
    reranks: bool,
) -> Sequence[str]:
    """Check the number of stores, the questions and the filters before the questions are embedded. Return the
    questions.

    If the search has a vector and no question, return one empty question.
    """
    if not 1 <= len(stores) <= MAX_STORES:
        raise InvalidInput(
            f"{len(stores)} vector stores are named; a search takes 1 to {MAX_STORES}", param="vector_stores"
        )
    if len(stores) * len(questions) > MAX_SEARCHES:
        raise InvalidInput(
            f"{len(questions)} queries in {len(stores)} vector stores are {len(stores) * len(questions)} "
            f"searches; one request may cause {MAX_SEARCHES}. Send fewer queries, or name fewer stores",
            param="query",
        )
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
    if options.ranker is Ranker.CROSS_ENCODER and not reranks:
        raise InvalidInput("no cross-encoder is configured; set CLUSTER_RERANKER_PATH", param="ranker")
    if options.filters is not None:
        parse_filter(options.filters)
    return questions


async def _vectors(
    embed: EmbedQuestions, terms: SearchTerms, vector: Sequence[float] | None
) -> dict[str, QueryVectors]:
    stores = [one.store for one in terms.found]
    return await _embed(embed, stores, terms.questions) if vector is None else _given(stores, vector)


async def _embed(
    embed: EmbedQuestions, stores: Sequence[VectorStore], questions: Sequence[str]
) -> dict[str, QueryVectors]:
    """Embed the questions once for each model of the stores."""
    first_of_model = {store.fingerprint.id: store for store in reversed(stores)}
    if len(first_of_model) == 1:
        embedded = [await embed(stores[0], questions)]  # a task for one call would only cost time
    else:
        embedded = await asyncio.gather(*(embed(store, questions) for store in first_of_model.values()))
    for store, vectors in zip(first_of_model.values(), embedded, strict=True):
        _require_same_model(store, vectors)
    return dict(zip(first_of_model, embedded, strict=True))


def _given(stores: Sequence[VectorStore], vector: Sequence[float]) -> dict[str, QueryVectors]:
    """Return the request's vector, scaled to length 1. Check that all stores have vectors of one model, and
    that the request's vector has the dimension of this model.
    """
    fingerprint = stores[0].fingerprint
    other = next((store for store in stores if store.fingerprint.id != fingerprint.id), None)
    if other is not None:
        raise InvalidInput(
            f"a vector belongs to one model, but vector store {stores[0].id!r} holds vectors of "
            f"{fingerprint.id} and {other.id!r} of {other.fingerprint.id}; search these stores one by one",
            param="vector",
        )
    vectors = unit_vector(vector, fingerprint.dim)[None]
    return {fingerprint.id: QueryVectors(vectors=vectors, fingerprint=fingerprint.id)}


def find_stores(connection: Connection[Any], organisation: str, names: Sequence[str]) -> list[VersionedStore]:
    """Find the stores with their versions, and record that the stores are in use.

    Args:
        connection: each statement is a transaction of its own.
        organisation: id of the organisation.
        names: ids or names of the stores.

    Raises:
        NotFound: the organisation does not have one of the stores.
        NotPermitted: the caller's key is limited to other stores.
    """
    found: dict[str, VersionedStore] = {}
    for id_or_name in dict.fromkeys(names):
        one = find_versioned_store(connection, organisation, id_or_name)
        if one.store.id not in found:
            touch_store(connection, one.store)
            found[one.store.id] = one
    return list(found.values())


def _require_same_model(store: VectorStore, embedded: QueryVectors) -> None:
    if store.fingerprint.id != embedded.fingerprint:
        raise Conflict(
            f"vector store {store.name or store.id!r} holds vectors of {store.fingerprint.id}, but the "
            f"query was embedded with {embedded.fingerprint}; ask a server that serves the store's model"
        )


async def _rerank(rerank: RerankTexts, question: str, hits: Sequence[Hit]) -> list[Hit]:
    if not hits:
        return []
    scores = await rerank(question, [hit.text for hit in hits])
    return [replace(hit, score=float(score)) for hit, score in zip(hits, scores, strict=True)]
