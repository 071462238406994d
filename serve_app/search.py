"""POST /v1/vector_stores/{id or name}/search, as OpenAI's API reference describes it.

By default three rankings are fused: by meaning (vectors), by words, and by phrase; a score of 1 means first in each. With
``ranker: "none"`` the vectors alone decide, and the score is their cosine, the negative ones, which mean nothing to a
person, shown as 0.
"""

from typing import Any, Literal

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from psycopg_pool import ConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from cluster.database import translated
from cluster.errors import Conflict, InvalidInput
from cluster.ledger.stores import VectorStore, find_store
from cluster.vector_index import Hit, Mode, VectorIndex
from cluster.vector_index.filters import parse_filter
from serve_app.description import refusals
from serve_app.prompts import prompt_of
from serve_app.service import Service
from serve_app.state import ServiceOf
from serve_app.terms import Terms

MAX_QUERIES = 32

router = APIRouter(responses=refusals(404, 409, 429))


class RankingOptions(BaseModel):
    """Which results are good enough."""

    model_config = ConfigDict(extra="forbid")

    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: float = Field(default=0.0, ge=0, le=1)


class SearchRequest(BaseModel):
    """OpenAI's VectorStoreSearchRequest, and a field of ours: ``mode``."""

    model_config = ConfigDict(extra="forbid")

    query: str | list[str]
    filters: dict[str, Any] | None = None
    max_num_results: int = Field(default=10, ge=1, le=50)
    ranking_options: RankingOptions = RankingOptions()
    rewrite_query: bool = False
    mode: Mode = "ann"


@router.post("/v1/vector_stores/{vector_store}/search", summary="The chunks that answer best")
async def search(vector_store: str, body: SearchRequest, service: ServiceOf, terms: Terms) -> dict[str, Any]:
    """Chunks of the store by their meaning and their words, best first, each with its document, page and place on it."""
    queries = [body.query] if isinstance(body.query, str) else body.query
    if not 1 <= len(queries) <= MAX_QUERIES or not all(query.strip() for query in queries):
        raise InvalidInput(f"query must be a text or a list of 1 to {MAX_QUERIES} texts, none of them empty", param="query")
    if body.filters is not None:
        parse_filter(body.filters)  # refused before it costs a vector
    prompt = prompt_of(service.main, input_type="query", prompt_name=None)
    vectors = (await service.main.embed_texts(queries, terms, prompt=prompt)).vectors

    def find(pool: ConnectionPool, index: VectorIndex) -> list[Hit]:
        with translated(), pool.connection() as connection:
            store = find_store(connection, terms.organisation, vector_store)
        _require_same_space(service, store)
        return _best(index, store, queries, vectors, body)

    hits = await service.in_database(find)
    return {
        "object": "vector_store.search_results.page",
        "search_query": queries,
        "data": [_result(hit) for hit in hits if hit.score >= body.ranking_options.score_threshold],
        "has_more": False,
        "next_page": None,
    }


def _require_same_space(service: Service, store: VectorStore) -> None:
    ours = service.engine.fingerprint.id
    if store.fingerprint.id != ours:
        raise Conflict(f"vector store {store.name!r} holds vectors of {store.fingerprint.id}; this server embeds with {ours}")


def _best(index: VectorIndex, store: VectorStore, queries: list[str], vectors: NDArray[np.float32], body: SearchRequest) -> list[Hit]:
    """Of all queries together: a chunk counts by the query it answers best."""
    best: dict[str, Hit] = {}
    for query, vector in zip(queries, vectors, strict=True):
        for hit in index.search(
            store.organisation,
            store.id,
            collection=store.collection,
            vector=vector,
            text=None if body.ranking_options.ranker == "none" else query,
            k=body.max_num_results,
            filter=body.filters,
            mode=body.mode,
        ):
            if hit.id not in best or hit.score > best[hit.id].score:
                best[hit.id] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.id))[: body.max_num_results]


def _result(hit: Hit) -> dict[str, Any]:
    return {
        "file_id": hit.document,
        "filename": hit.attributes.get("filename", ""),
        "score": min(1.0, max(0.0, hit.score)),
        "attributes": {key: value for key, value in hit.attributes.items() if isinstance(value, str | int | float | bool)},
        "content": [{"type": "text", "text": hit.text}],
        "chunk_id": hit.id,
        "page": hit.attributes.get("page"),
        "start": hit.attributes.get("start"),
        "end": hit.attributes.get("end"),
        "keywords": hit.attributes.get("keywords", []),
    }
