"""POST /v1/vector_stores/{id or name}/search, as OpenAI's API reference describes it.

By default three rankings are fused: by meaning (vectors), by words, and by phrase; a score of 1 means first in each. With
``ranker: "none"`` the vectors alone decide, and the score is their cosine, the negative ones, which mean nothing to a
person, shown as 0. With the name of the cross-encoder (``CLUSTER_RERANKER_PATH``) as ranker that reads the best of them again,
each with the query, and the score is its own.
"""

import asyncio
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool
from pydantic import AfterValidator, Field
from starlette.convertors import StringConvertor, register_url_convertor

from cluster.database import snapshot, translated
from cluster.documents.stores import VectorStore, find_store, touch_store
from cluster.errors import Conflict, InvalidInput
from cluster.organisations.usage import Source
from cluster.text.graphemes import boundary
from cluster.vector_index import Hit, Mode, VectorIndex
from cluster.vector_index.attributes import FILE, own_of, owners_of
from cluster.vector_index.filters import parse_filter
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import RequestModel, Text, Whole, must
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.prompts import prompt_of
from serve_app.embedding.ranking import by_cross_encoder
from serve_app.embedding.served_model import RequestContext
from serve_app.routes.snippets import Wanted, snippet
from serve_app.service import Service

MAX_QUERIES = 32
FILTERS_OF_OTHERS = frozenset({"filter", "where", "metadata_filter", "attribute_filter"})
NO_RANKER = "none"
#: What OpenAI calls its own, and here the fusion of rankings.
FUSION = ("auto", "default-2024-11-15")
#: The rankings by words read so much of a query, about as much as a model does of a text; each further word would cost a look-up.
WORDS_CHARACTERS = 2_048
#: Results of a query that the cross-encoder reads: it takes as long for each as the whole search before.
RERANKED = 50

router = json_router(404, 409, 429)


class StoreName(StringConvertor):
    """A name in a path, with the slashes and line breaks it may have."""

    regex = r"[\s\S]+"


register_url_convertor("store", StoreName())

#: A hit, and the query it answers best.
Found = tuple[Hit, str]


def _as_it_is(rewrite: bool) -> bool:
    if rewrite:
        raise must(
            "be false or left out: a query is searched for as it is here; rewrite it before you send it"
        )
    return rewrite


class RankingOptions(RequestModel):
    """Which results are good enough."""

    ranker: Annotated[str, Field(description="none, auto, or the name of the cross-encoder")] = "auto"
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0


class SearchRequest(RequestModel):
    """OpenAI's VectorStoreSearchRequest, and a field of ours: ``mode``."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """False for other servers' names for ``filters``: without them more would be found than is meant."""
        return name not in FILTERS_OF_OTHERS

    query: Text | list[Text]
    filters: dict[str, Any] | None = None
    max_num_results: Annotated[Whole, Field(ge=1, le=50)] = 10
    ranking_options: RankingOptions = RankingOptions()
    rewrite_query: Annotated[bool, AfterValidator(_as_it_is)] = False
    mode: Mode = "ann"


@router.post("/v1/vector_stores/{vector_store:store}/search", summary="The chunks that answer best")
async def search(
    vector_store: str, body: SearchRequest, service: ServiceDep, context: ContextDep, response: Response
) -> dict[str, Any]:
    """Chunks of the store by their meaning and their words, best first, each with its file, page and place on it."""
    queries = [body.query] if isinstance(body.query, str) else body.query
    if not 1 <= len(queries) <= MAX_QUERIES or not all(query.strip() for query in queries):
        raise InvalidInput(
            f"query must be a text or a list of 1 to {MAX_QUERIES} texts, none of them empty", param="query"
        )
    if body.filters is not None:
        parse_filter(body.filters)  # refused before it costs a vector
    reranks = _reranks(service, body.ranking_options.ranker)
    prompt = prompt_of(service.main, input_type="query")
    context = replace(context, source=Source.SEARCH)
    made = await service.main.embed_texts(queries, context, prompt=prompt)

    def find(pool: ConnectionPool, index: VectorIndex) -> list[list[Hit]]:
        # One state of the store for all queries: a document that is being replaced is found old or new, never both.
        with translated(), snapshot(pool) as connection:
            store = find_store(connection, context.organisation, vector_store)
            _require_same_space(service, store)
            k = max(RERANKED, body.max_num_results) if reranks else body.max_num_results
            hits = [
                _hits(index, store, query, vector, body, k, connection)
                for query, vector in zip(queries, made.vectors, strict=True)
            ]
        with translated(), pool.connection() as connection:
            touch_store(connection, store)
        return hits

    hits = await service.in_database(find)
    if cut := sum(map(bool, made.truncated)):
        response.headers["x-truncated-inputs"] = str(cut)
    if reranks:
        hits = list(
            await asyncio.gather(
                *(_reranked(service, *one, context) for one in zip(queries, hits, strict=True))
            )
        )
    best = [
        found
        for found in _best(queries, hits)[: body.max_num_results]
        if found[0].score >= body.ranking_options.score_threshold
    ]
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": await asyncio.to_thread(_results, best),
        "has_more": False,
        "next_page": None,
    }


def _reranks(service: Service, ranker: str) -> bool:
    """Whether the ranker is the cross-encoder.

    Raises:
        InvalidInput: it is none there is.
    """
    name = None if service.reranker is None else service.reranker.name
    if ranker in (NO_RANKER, *FUSION):
        return False
    if ranker != name:
        names = ", ".join([NO_RANKER, *FUSION, *([name] if name else [])])
        raise InvalidInput(
            f"ranking_options.ranker is {ranker!r}; it may be {names}", param="ranking_options.ranker"
        )
    return True


def _require_same_space(service: Service, store: VectorStore) -> None:
    ours = service.engine.fingerprint.id
    if store.fingerprint.id != ours:
        raise Conflict(
            f"vector store {store.name!r} holds vectors of {store.fingerprint.id}; this server embeds with {ours}"
        )


def _hits(
    index: VectorIndex,
    store: VectorStore,
    query: str,
    vector: NDArray[np.float32],
    body: SearchRequest,
    k: int,
    connection: Any,
) -> list[Hit]:
    return index.search(
        store.organisation,
        store.id,
        collection=store.collection,
        vector=vector,
        text=None if body.ranking_options.ranker == NO_RANKER else query[: boundary(query, WORDS_CHARACTERS)],
        k=k,
        filter=body.filters,
        mode=body.mode,
        connection=connection,
    )


async def _reranked(service: Service, query: str, hits: list[Hit], context: RequestContext) -> list[Hit]:
    if not hits:
        return []
    scored = await by_cross_encoder(service, query, [hit.text for hit in hits], context)
    return [replace(hit, score=float(score)) for hit, score in zip(hits, scored.scores, strict=True)]


def _best(queries: list[str], hits: list[list[Hit]]) -> list[Found]:
    """Of all queries together: a chunk counts by the query it answers best."""
    best: dict[str, Found] = {}
    for query, found in zip(queries, hits, strict=True):
        for hit in found:
            if hit.id not in best or hit.score > best[hit.id][0].score:
                best[hit.id] = hit, query
    return sorted(best.values(), key=lambda found: (-found[0].score, found[0].id))


def _results(found: list[Found]) -> list[dict[str, Any]]:
    wanted = {
        query: Wanted(query[: boundary(query, WORDS_CHARACTERS)]) for query in {query for _, query in found}
    }
    return [_result(hit, wanted[query]) for hit, query in found]


def _result(hit: Hit, wanted: Wanted) -> dict[str, Any]:
    """OpenAI's search result, with fields of ours: of an attached file its owner's attributes, of an ingested document all."""
    own = own_of(hit.attributes)
    return {
        "file_id": own.get(FILE, hit.document),
        "filename": own.get("filename", ""),
        "score": min(1.0, max(0.0, hit.score)),
        "attributes": {
            key: value
            for key, value in owners_of(hit.attributes).items()
            if isinstance(value, str | int | float | bool)
        },
        "content": [{"type": "text", "text": hit.text}],
        "chunk_id": hit.id,
        "page": own.get("page"),
        "start": own.get("start"),
        "end": own.get("end"),
        "snippet": snippet(hit.text, wanted),
        "keywords": own.get("keywords", []),
    }
