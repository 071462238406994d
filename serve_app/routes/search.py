"""POST /v1/vector_stores/{id or name}/search, as OpenAI's API reference describes it.

By default three rankings are fused: by meaning (vectors), by words, and by phrase; a score of 1 means first
in each. With ``ranker: "none"`` the vectors alone decide, and the score is their cosine. With the name of the
cross-encoder (``CLUSTER_RERANKER_PATH``) as ranker, the cross-encoder scores the best chunks again, each
together with the question. This module reads the request and writes the response; ``cluster.retrieval``
searches.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from starlette.convertors import StringConvertor, register_url_convertor

from cluster.organisations.usage import UsageSource
from cluster.retrieval import (
    EmbedQuestions,
    QueryVectors,
    Ranker,
    RerankTexts,
    RetrievalOptions,
    Retrieved,
    RetrievedChunk,
    retrieve,
)
from cluster.vector_index import Mode
from serve_app.edge.json_route import json_router
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.edge.response_model import ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.embedding.prompts import prompt_of
from serve_app.embedding.ranking import by_cross_encoder
from serve_app.embedding.served_model import RequestContext
from serve_app.messages import must
from serve_app.service import Service

FILTERS_OF_OTHERS = frozenset({"filter", "where", "metadata_filter", "attribute_filter"})

router = json_router(404, 409, 429)


class StoreName(StringConvertor):
    """A store's name in a path; it may hold slashes and line breaks."""

    regex = r"[\s\S]+"


register_url_convertor("store", StoreName())


def _no_rewriting(rewrite: bool) -> bool:
    if rewrite:
        raise must(
            "be false or left out: a query is searched for as it is here; rewrite it before you send it"
        )
    return rewrite


class RankingOptions(RequestModel):
    """How results are ranked, and which scores are good enough."""

    ranker: str = "auto"
    """`auto` fuses three rankings, `none` uses the vectors alone; or the name of the cross-encoder."""
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Lowest score of a result, from 0 to 1."""


class SearchRequest(RequestModel):
    """OpenAI's VectorStoreSearchRequest, with `mode` added."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """False for other servers' names for ``filters``: a search without its filter would find too much."""
        return name not in FILTERS_OF_OTHERS

    query: Text | list[Text]
    """A question, or a list of questions whose results are merged."""
    filters: dict[str, Any] | None = None
    """A comparison (`type`, `key`, `value`) or a compound of them (`type`, `filters`), as OpenAI has them."""
    max_num_results: Annotated[Whole, Field(ge=1, le=50)] = 10
    """Number of results at most."""
    ranking_options: RankingOptions = RankingOptions()
    """The ranker, and the lowest score of a result."""
    rewrite_query: Annotated[bool, AfterValidator(_no_rewriting)] = False
    """Only `false` is accepted: a query is searched for as it is."""
    mode: Mode = "ann"
    """`ann` uses the vector index; `exact` compares every vector."""


class TextContent(ResponseModel):
    """The text of a result."""

    type: Literal["text"] = "text"
    """Always `text`."""
    text: str
    """The chunk's text."""


class SearchResult(ResponseModel):
    """A chunk that answers the query: OpenAI's VectorStoreSearchResultItem, with more fields."""

    file_id: str
    """Id of the attached file; of a document that a bulk ingest brought in, the document's id."""
    filename: str
    """Name of the file, or of the ingested document."""
    score: float
    """0 to 1, higher is better. Compare scores within one answer only."""
    attributes: dict[str, str | int | float | bool]
    """The attributes that the file's owner gave it; of an ingested document, all attributes."""
    content: list[TextContent]
    """The chunk's text, as one item."""
    chunk_id: str
    """Id of the chunk."""
    page: int | None
    """Page of the document, from 1; null where the document has no pages."""
    start: int | None
    """Character of the page at which the chunk starts, from 0."""
    end: int | None
    """Character of the page behind the chunk's last one."""
    snippet: str
    """The part of the chunk with most of the query's words."""
    keywords: list[str]
    """Keywords of the document that occur in the chunk."""

    @classmethod
    def of(cls, chunk: RetrievedChunk) -> Self:
        """The chunk as JSON."""
        return cls(
            file_id=chunk.file,
            filename=chunk.filename,
            score=chunk.score,
            attributes=dict(chunk.attributes),
            content=[TextContent(text=chunk.text)],
            chunk_id=chunk.id,
            page=chunk.page,
            start=chunk.start,
            end=chunk.end,
            snippet=chunk.snippet,
            keywords=list(chunk.keywords),
        )


class SearchResults(ResponseModel):
    """OpenAI's VectorStoreSearchResultsPage. All results are on one page."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    """Always `vector_store.search_results.page`."""
    search_query: list[str]
    """The queries, as they were searched for."""
    data: list[SearchResult]
    """The results, best first."""
    has_more: Literal[False] = False
    """Always false."""
    next_page: None = None
    """Always null."""

    @classmethod
    def of(cls, queries: Sequence[str], retrieved: Retrieved) -> Self:
        """The chunks as JSON."""
        return cls(search_query=list(queries), data=[SearchResult.of(chunk) for chunk in retrieved.chunks])


@router.post("/v1/vector_stores/{vector_store:store}/search", summary="Search a vector store")
async def search(
    vector_store: str, body: SearchRequest, service: ServiceDep, context: ContextDep, response: Response
) -> SearchResults:
    """Returns the chunks that answer the query best, each with its file, its page and its position there."""
    queries = [body.query] if isinstance(body.query, str) else body.query
    cross_encoder = None if service.models.reranker is None else service.models.reranker.name
    options = RetrievalOptions(
        max_chunks=body.max_num_results,
        score_threshold=body.ranking_options.score_threshold,
        filters=body.filters,
        mode=body.mode,
        ranker=Ranker.named(
            body.ranking_options.ranker, cross_encoder=cross_encoder, param="ranking_options.ranker"
        ),
    )
    context = replace(context, source=UsageSource.SEARCH)
    retrieved = await retrieve(
        context.organisation,
        vector_store,
        queries,
        options,
        in_database=service.in_database,
        embed=_embed(service, context, vector_store),
        rerank=None if cross_encoder is None else _rerank(service, context),
    )
    if retrieved.truncated_questions:
        response.headers["x-truncated-inputs"] = str(retrieved.truncated_questions)
    return SearchResults.of(queries, retrieved)


def _embed(service: Service, context: RequestContext, vector_store: str) -> EmbedQuestions:
    async def embed(questions: Sequence[str]) -> QueryVectors:
        model = await service.model_of_store(context.organisation, vector_store)
        prompt = prompt_of(model, input_type="query")
        made = await model.embed_texts(questions, context, prompt=prompt)
        return QueryVectors(
            vectors=made.vectors,
            fingerprint=model.engine.fingerprint.id,
            truncated=sum(map(bool, made.truncated)),
        )

    return embed


def _rerank(service: Service, context: RequestContext) -> RerankTexts:
    async def rerank(question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        return (await by_cross_encoder(service.models, question, texts, context)).scores

    return rerank
